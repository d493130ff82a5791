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
from papermill.exceptions import PapermillExecutionError

from helpers.files import ROOT, clear_results, write_atomically
from helpers.report.content import ReportError
from helpers.report.page import failure, to_html


class LiveProgress:
    """The notebook's stderr: bars live on a terminal; in a file or pipe each once, full."""

    def __init__(self, stream):
        self.stream = stream
        self.flush = stream.flush
        self.rest = ""
        self.shown = set()

    def write(self, text: str) -> None:
        if self.stream.isatty():
            self.stream.write(text)
            self.rest = text
            return
        *lines, self.rest = re.split(r"\r|\n|\x1b\[\d*[A-K]", self.rest + text)  # cursor movements
        for line in lines:
            label, bar, _ = line.rstrip().partition("%|")
            is_done = not bar or label.endswith("100")
            if label and is_done and label not in self.shown:
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
    """Executes `notebook` in the project's folder; returns it, with the error that it ended in.

    It goes into `folder` with its page. Raises ReportError when there can be no page.
    """
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # its errors come as exceptions too
    executed = folder / notebook.name
    progress = LiveProgress(sys.stderr)
    stopped = None
    try:
        papermill.execute_notebook(
            nbformat.read(notebook, 4), executed, parameters, kernel_name="python3", cwd=ROOT,
            kernel_manager_class=QuietKernel, progress_bar=False, stderr_file=progress)
    except (PapermillExecutionError, RuntimeError) as error:
        stopped = error
    finally:
        progress.close()
    nb = nbformat.read(executed, 4)
    if stopped and not failure(nb):  # the kernel died, and papermill keeps nothing of it
        code = [cell for cell in nb.cells if cell.cell_type == "code"]
        last = max(code, key=lambda cell: cell.metadata.papermill.start_time or "")
        message = f"{stopped}; perhaps it ran out of memory"
        error = {"ename": type(stopped).__name__, "evalue": message}
        last.outputs = [nbformat.v4.new_output("error", **error)]
    page = to_html(nb, executed)
    write_atomically(executed, nbformat.writes(nb).encode())
    write_atomically(executed.with_suffix(".html"), page.encode())
    return nb


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
    """Puts the outputs in `new` into the committed notebook, and its page and files beside it.

    Raises ReportError when an output holds a path of this machine.
    """
    nb = nbformat.read(notebook, 4)
    nb.metadata.get("language_info", {}).pop("version", None)
    executed = nbformat.read(new / notebook.name, 4)
    pairs = zip(_code_cells(nb), _code_cells(executed), strict=True)
    for count, (cell, done) in enumerate(pairs, 1):
        cell.outputs = done.outputs
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
        text = json.dumps(cell.outputs)
        for path in (ROOT, Path.home()):
            if path.name and json.dumps(str(path))[1:-1] in text:
                raise ReportError(f"not published: an output of cell {count} holds the path {path}")
    page = to_html(nb, notebook)  # it can fail, so nothing is written before
    copy_files(new / "figures", notebook.parent.parent / "figures")
    copy_files(new / "records", notebook.parent / "records")
    write_atomically(notebook.with_suffix(".html"), page.encode())
    write_atomically(notebook, (nbformat.writes(nb) + "\n").encode())


def _code_cells(nb) -> list:
    """The cells with code, without the one in which papermill sets parameters."""
    code = [cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()]
    return [cell for cell in code if "injected-parameters" not in cell.metadata.get("tags", [])]
