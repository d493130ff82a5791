"""Executes a notebook through papermill, exports it, installs what it left in a folder, publishes it."""

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from papermill.engines import NBClientEngine
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from papermill.utils import find_first_tagged_cell_index

from helpers.files import NETWORKS, ROOT, clear_results, write_atomically
from helpers.report.content import ReportError
from helpers.report.page import failure, tidy, to_html

INJECTED = "injected-parameters"  # papermill's tag of the cell in which it sets parameters


def say(text: str, stream) -> None:
    """Writes what a stream can take of `text`. One that is closed, or on a full disk, changes no result."""
    if stream is None:  # Python's word for one that was closed before the start
        return
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding))
        stream.flush()
    except (OSError, ValueError):  # ValueError: closed
        with contextlib.suppress(OSError, ValueError):  # what it still holds would end Python with status 120
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class LiveProgress:
    """The notebook's stderr: bars live on a terminal; in a file or pipe each once, full."""

    def __init__(self, stream):
        self.stream = stream
        self.rest = ""
        self.shown = {""}

    def write(self, text: str) -> None:
        if self.stream and self.stream.isatty():
            say(text, self.stream)
            self.rest = text
            return
        *lines, self.rest = re.split(r"\r|\n|\x1b\[\d*[A-K]", self.rest + text)  # cursor movements
        for line in lines:
            label, bar, _ = line.rstrip().partition("%|")
            if label not in self.shown and (not bar or label.endswith("100")):
                self.shown.add(label)
                say(line.rstrip() + "\n", self.stream)

    def flush(self) -> None:
        """Nothing waits: papermill asks for it."""

    def close(self) -> None:
        if self.rest and not self.rest.endswith("\n"):
            self.write("\n")  # what comes next starts a line


class OwnKernel(AsyncKernelManager):
    """The kernel of this interpreter, whatever is installed elsewhere, without the reader's own settings.

    A notebook's stderr comes as a message; what else a kernel writes there goes to a file.
    """

    folder: Path  # for its IPython profile and its stderr

    @property
    def kernel_spec(self) -> KernelSpec:
        """Never looked up: another environment may have installed one of the same name."""
        return KernelSpec(**get_kernel_dict())

    async def start_kernel(self, **options) -> None:
        environment = {**os.environ, "IPYTHONDIR": str(self.folder), "PYTHONUTF8": "1"}
        environment.pop("PYTHONSTARTUP", None)
        with open(self.folder / "stderr", "wb") as stderr:
            await super().start_kernel(**options, env=environment, stdout=subprocess.DEVNULL, stderr=stderr)


def read_notebook(path: Path):
    """A notebook as papermill takes it. It runs in our kernel, whichever it names or leaves out."""
    nb = load_notebook_node(str(path))
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return _as_text(nb)


def run(notebook: Path, folder: Path, parameters: dict):
    """Executes `notebook` into `folder`; returns it executed, without what is no result."""
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # its errors come as exceptions too
    nb = with_parameters(read_notebook(notebook), parameters)
    problem = "the kernel stopped"
    with tempfile.TemporaryDirectory() as private, contextlib.closing(LiveProgress(sys.stderr)) as progress:
        OwnKernel.folder = Path(private)
        try:
            NBClientEngine.execute_notebook(
                nb, "python3", progress_bar=False, stderr_file=progress, kernel_manager_class=OwnKernel,
                resources={"metadata": {"path": str(ROOT)}})
        except (RuntimeError, TimeoutError) as error:  # the kernel died, or is silent
            nb.metadata.papermill.exception = True
            problem = str(error)
            if isinstance(error, RuntimeError):
                problem += "; perhaps it ran out of memory"
            last_words = (OwnKernel.folder / "stderr").read_text("utf-8", "replace").splitlines()[-1:]
            problem += "".join(f" ({line.strip()})" for line in last_words)
    if nb.metadata.papermill.exception and not failure(nb):
        last = max(_code_cells(nb), key=lambda cell: cell.metadata.papermill.start_time or "")
        last.outputs.append(nbformat.v4.new_output("error", ename="KernelError", evalue=problem))
    tidy(nb)
    nb = _as_text(nb)
    (folder / notebook.name).write_bytes(nbformat.writes(nb).encode())
    return nb


def with_parameters(nb, parameters: dict):
    """Adds papermill's cell with `parameters`. Values of an earlier execution stay, unless asked for anew."""
    if not parameters:
        return nb
    index = find_first_tagged_cell_index(nb, INJECTED)
    earlier = nb.cells[index].source.rstrip() if index >= 0 else ""
    nb = parameterize_notebook(nb, parameters, kernel_name="python3", language="python")
    if earlier:
        title, _, values = nb.cells[index].source.partition("\n")
        nb.cells[index].source = f"{title}\n{earlier.removeprefix(title).strip()}\n{values}"
    return nb


def _as_text(nb):
    """The same with "?" for half a surrogate pair, which is no text and can't be written."""
    return nbformat.reads(nbformat.writes(nb).encode(errors="replace").decode(), 4)


def export(nb, executed: Path) -> str:
    """Writes the page of a notebook that was executed to `executed`; returns why there is none, or ""."""
    try:
        page = to_html(nb, executed, read_networks(executed.parent))
    except Exception as error:  # whatever the exporter meets
        reason = f"{_unshown_cell(nb, executed)}: {type(error).__name__}: {error}"
        return f"no page, but the executed notebook: {reason}"
    executed.with_suffix(".html").write_bytes(page.encode())
    return ""


def _unshown_cell(nb, path: Path) -> str:
    """The first cell that alone makes no page either, in words."""
    for cell in nb.cells:
        try:
            to_html(nbformat.v4.new_notebook(cells=[cell]), path)
        except Exception:
            return f"the {cell.cell_type} cell “{' '.join(cell.source.split())[:60]}”"
    return "all cells together"


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
            and INJECTED not in cell.metadata.get("tags", [])]
