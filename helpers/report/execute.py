"""Executes a notebook through papermill, installs what it left in a folder, publishes it."""

import contextlib
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
from jupyter_client import AsyncKernelManager

from helpers.files import NETWORKS, ROOT, clear_results, write_atomically
from helpers.report.content import ReportError
from helpers.report.page import failure, to_html


class LiveProgress:
    """The notebook's stderr: bars live on a terminal; in a file or pipe each once, full."""

    def __init__(self, stream):
        self.stream = stream
        self.flush = stream.flush
        self.rest = ""
        self.shown = {""}

    def write(self, text: str) -> None:
        if self.stream.isatty():
            self.stream.write(text)
            self.rest = text
            return
        *lines, self.rest = re.split(r"\r|\n|\x1b\[\d*[A-K]", self.rest + text)  # cursor movements
        for line in lines:
            label, bar, _ = line.rstrip().partition("%|")
            if label not in self.shown and (not bar or label.endswith("100")):
                self.shown.add(label)
                self.stream.write(line.rstrip() + "\n")

    def close(self) -> None:
        if self.rest and not self.rest.endswith("\n"):
            self.write("\n")  # what comes next starts a line


class QuietKernel(AsyncKernelManager):
    """A kernel without a terminal: a notebook's stderr comes as a message, the rest is debris."""

    async def start_kernel(self, **options) -> None:
        await super().start_kernel(**options, stderr=subprocess.DEVNULL)


def run(notebook: Path, folder: Path, parameters: dict):
    """Executes `notebook` into `folder`, with its page; returns its `failure`, None without one."""
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # its errors come as exceptions too
    executed = folder / notebook.name
    stopped = None
    with contextlib.closing(LiveProgress(sys.stderr)) as progress:
        try:
            papermill.execute_notebook(
                nbformat.read(notebook, 4), executed, parameters, kernel_name="python3", cwd=ROOT,
                kernel_manager_class=QuietKernel, progress_bar=False, stderr_file=progress)
        except (papermill.PapermillExecutionError, RuntimeError) as error:
            stopped = error
    nb = nbformat.read(executed, 4)
    if stopped and not failure(nb):  # the kernel died, and papermill keeps nothing of it
        last = max(_code_cells(nb), key=lambda cell: cell.metadata.papermill.start_time or "")
        message = f"{stopped}; perhaps it ran out of memory"
        last.outputs = [nbformat.v4.new_output("error", ename=type(stopped).__name__, evalue=message)]
    executed.with_suffix(".html").write_bytes(to_html(nb, executed, read_networks(folder)).encode())
    executed.write_bytes(nbformat.writes(nb).encode())
    return failure(nb)


def read_networks(folder: Path) -> bytes:
    """The trained networks that the notebook left for its page; empty where it left none."""
    path = folder / NETWORKS
    return path.read_bytes() if path.exists() else b""


def copy_files(source: Path, target: Path) -> None:
    """Copies what lies in a folder, each file whole or not at all, summary.json last."""
    for path in sorted(source.rglob("*"), key=lambda path: path.name == "summary.json"):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            write_atomically(copy, path.read_bytes())


def install(new: Path, folder: Path) -> None:
    """Replaces an earlier report's files in `folder` by those in `new`; summary.json goes first."""
    clear_results(folder)
    with contextlib.suppress(OSError):  # somebody else's figures are in it
        (folder / "figures").rmdir()
    copy_files(new, folder)


def publish(new: Path, notebook: Path) -> None:
    """Puts the outputs in `new` into the committed notebook, and its page and files beside it."""
    nb = nbformat.read(notebook, 4)
    nb.metadata.get("language_info", {}).pop("version", None)
    executed = nbformat.read(new / notebook.name, 4)
    for count, (cell, done) in enumerate(zip(_code_cells(nb), _code_cells(executed), strict=True), 1):
        cell.outputs = done.outputs
        for part in (cell, *cell.outputs):
            if "execution_count" in part:
                part.execution_count = count
        text = json.dumps(cell.outputs)
        for path in (ROOT, Path.home()):  # of this machine
            if path.name and json.dumps(str(path))[1:-1] in text:
                raise ReportError(f"not published: an output of cell {count} holds the path {path}")
    page = to_html(nb, notebook, read_networks(new))  # it can fail, so nothing is written before
    copy_files(new / "figures", notebook.parent.parent / "figures")
    copy_files(new / "records", notebook.parent / "records")
    write_atomically(notebook.with_suffix(".html"), page.encode())
    write_atomically(notebook, (nbformat.writes(nb) + "\n").encode())


def _code_cells(nb) -> list:
    """The cells with code, without the one in which papermill sets parameters."""
    return [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()
            and "injected-parameters" not in cell.metadata.get("tags", [])]
