"""Executes a notebook through papermill and exports it as one HTML page: `python -m helpers.report --help`."""

import argparse
import contextlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from papermill.cli import _resolve_type as resolve  # so that -p means here what it means to papermill itself
from papermill.exceptions import PapermillExecutionError

from helpers.config import ParameterError, Study, check_name
from helpers.export import ReportError, export, failure, tidy, to_html
from helpers.files import ROOT, clear_results, writable_folder, write_atomically

MAIN = ROOT / "notebooks" / "mnist_normalization.ipynb"
REFUSALS = ("ParameterError", "DataError")  # raised by the notebook about what it was given: exit status 2, not 1


class _Progress:
    """The notebook's stderr, live. Bars redraw themselves on a terminal; in a file or pipe each comes once, full."""

    def __init__(self, stream):
        self.stream, self.rest, self.shown = stream, "", set()

    def write(self, text: str) -> None:
        if self.stream.isatty():
            self.stream.write(text)
            self.rest = text
            return
        *lines, self.rest = re.split(r"\r|\n|\x1b\[\d*[A-K]", self.rest + text)  # the codes that move the cursor
        for line in map(str.rstrip, lines):
            label, bar, _ = line.partition("%|")
            if line and (not bar or label.endswith("100")) and (label if bar else line) not in self.shown:
                self.shown.add(label if bar else line)
                self.stream.write(line + "\n")

    def flush(self) -> None:
        self.stream.flush()

    def close(self) -> None:
        self.write("" if self.rest.endswith("\n") or not self.rest else "\n")  # what comes next starts a line
        self.flush()


class _Kernels(AsyncKernelManager):
    """Kernels without a terminal: what a notebook writes comes as a message; what is left are libraries' last words."""

    async def start_kernel(self, **options) -> None:
        await super().start_kernel(**options, stderr=subprocess.DEVNULL)


def _check_parameters(notebook: Path, parameters: dict) -> list[str]:
    """The names of the notebook's parameters. Raises ParameterError for one that it does not have or can't take."""
    try:
        known = list(papermill.inspect_notebook(notebook))
    except Exception as error:  # no JSON, no language, no cells
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ReportError(f"{_shown(notebook)} can't be read as a notebook: {reason}", 2) from error
    if "output_dir" in parameters:
        raise ParameterError("output_dir: give it as --output-dir")
    if notebook == MAIN:
        Study.from_dict(parameters)
    for name in parameters:
        check_name(name, known)
    return known


def _install(new: Path, folder: Path) -> list[Path]:
    """Puts what a run left in `new` in the place of an earlier run's, and returns where it now lies.

    summary.json goes first and comes last.
    """
    clear_results(folder)
    with contextlib.suppress(OSError):  # somebody else's figures are in it
        (folder / "figures").rmdir()
    files = [path for path in new.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.name == "summary.json"):
        target = folder / path.relative_to(new)
        target.parent.mkdir(exist_ok=True)
        os.replace(path, target)
    return [folder / path.relative_to(new) for path in files]


def run(notebook: Path, folder: Path, parameters: dict) -> None:
    """Executes `notebook` in the project's folder; leaves the executed one and its page in `folder`.

    Raises ReportError when the notebook fails; its page then says at the top what failed and where.
    """
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # no word of the debugger's about frozen modules
    logging.getLogger("papermill").setLevel(logging.CRITICAL)     # what it logs, comes back as an exception too
    executed = folder / notebook.name
    literal = str(executed).replace("{", "{{").replace("}", "}}")  # papermill fills parameters into paths
    progress, stopped = _Progress(sys.stderr), None
    try:
        papermill.execute_notebook(nbformat.read(notebook, 4), literal, parameters, kernel_name="python3",
                                   language="python", progress_bar=False, stderr_file=progress, cwd=ROOT,
                                   kernel_manager_class=_Kernels, extra_arguments=["--log-level=CRITICAL"])
    except (PapermillExecutionError, RuntimeError) as error:  # a kernel that dies is a RuntimeError
        stopped = error
    finally:
        progress.close()
    nb = nbformat.read(executed, as_version=4)
    if stopped and not failure(nb):  # papermill keeps nothing of a dead kernel, and calls every cell completed
        code = [cell for cell in nb.cells if cell.cell_type == "code"]
        last = ([cell for cell in code if cell.metadata.papermill.start_time] or code[:1])[-1]
        last.outputs = [nbformat.v4.new_output("error", ename=type(stopped).__name__, traceback=[],
                                               evalue=f"{stopped}; perhaps it ran out of memory")]
    tidy(nb)
    page = executed.with_suffix(".html")
    write_atomically(executed, nbformat.writes(nb).encode())
    try:
        export(executed, page)
    except ReportError:
        (folder / "summary.json").unlink(missing_ok=True)  # it means that all of it is there
        raise
    if failure(nb):
        where, error = failure(nb)
        if error.ename in REFUSALS:
            raise ReportError(error.evalue, 2)
        raise ReportError(f"{where}: {error.ename}: {error.evalue}")


def publish(executed: Path, notebook: Path, installed: list[Path]) -> None:
    """Puts an executed notebook, its page, and of `installed` the figures and records where they are committed.

    Raises ReportError when an output holds a path of this machine.
    """
    nb = nbformat.read(executed, as_version=4)
    nb.cells = [cell for cell in nb.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    nb.metadata.pop("papermill", None)
    nb.metadata.get("language_info", {}).pop("version", None)
    nb.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    for count, cell in enumerate((cell for cell in nb.cells if cell.cell_type == "code" and cell.source.strip()), 1):
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
        for path in (ROOT, Path.home()):
            if len(path.parts) > 1 and json.dumps(str(path))[1:-1] in json.dumps(cell.outputs):
                raise ReportError(f"not published: an output of cell {count} holds the path {path}")
    for cell in nb.cells:
        cell.metadata = nbformat.from_dict({key: value for key, value in cell.metadata.items()
                                            if key not in ("papermill", "execution") and value != []})
    page = to_html(nb, notebook.stem, notebook.parent)  # before anything is written: it can still fail
    figures = notebook.parent.parent / "figures"
    figures.mkdir(exist_ok=True)
    for place in (figures, notebook.parent / "records"):
        for path in sorted(installed):  # not all that lies there: another notebook's may
            if path.parent == executed.parent / place.name:
                write_atomically(place / path.name, path.read_bytes())
    write_atomically(notebook.with_suffix(".html"), page.encode())
    write_atomically(notebook, (nbformat.writes(nb) + "\n").encode())


def _shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.report", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Executes a notebook and exports it as one HTML page that needs nothing else to be read.",
        epilog="""\
examples:
  python -m helpers.report                                      MNIST, or the embedded digits without a network
  python -m helpers.report -p seeds '[0, 1]' -p num_epochs 5    two seeds, five epochs
  python -m helpers.report -p recipe original --output-dir runs/original
  papermill --help-notebook notebooks/mnist_normalization.ipynb     all parameters

In the output folder: the page (.html), the executed notebook (.ipynb), figures/, results.csv and summary.json.
The last one is written only when the notebook ran to its end.
exit status: 0 done, 1 the notebook failed (its page says where), 2 refused before any training, 130 interrupted""")
    parser.add_argument("notebook", nargs="?", type=Path, default=MAIN,
                        help="default: notebooks/mnist_normalization.ipynb")
    parser.add_argument("-p", "--parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
                        help="set a parameter of the notebook; may be given several times")
    parser.add_argument("--output-dir", type=Path, help="default: runs/report in the project's folder")
    parser.add_argument("--publish", action="store_true",
                        help="run on MNIST with every parameter at its default, then refresh what is committed: the "
                             "notebook with its outputs, its page and figures/; of the ablations what has been trained")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    notebook = options.notebook.resolve()
    folder = (options.output_dir or ROOT / "runs" / ("publish" if options.publish else "report")).resolve()
    parameters = {name: resolve(value) for name, value in options.parameters}
    try:
        if not notebook.is_file() or notebook.suffix != ".ipynb":
            raise ReportError(f"{_shown(notebook)}: no such notebook; takes an .ipynb file", 2)
        if options.output_dir and str(options.output_dir) == ".":  # what an empty name comes to, too
            raise ParameterError("output_dir: takes a folder other than the one you are in")
        if folder == notebook.parent:
            raise ReportError("the output folder is the notebook's own: the executed one would replace it", 2)
        if options.publish and parameters:
            raise ReportError("--publish takes no parameters: what is committed is the notebook as it stands", 2)
        known = _check_parameters(notebook, parameters)
        if options.publish:  # a grid under way is published with its gaps
            parameters.update({name: value for name, value in (("dataset", "mnist"), ("train_missing", False))
                               if name in known})
        writable_folder(folder, "output_dir")
        page = folder / f"{notebook.stem}.html"
        for debris in folder.glob(".new-*"):  # of a process that was killed, not of one that is at work
            if time.time() - debris.stat().st_mtime > 24 * 3600:
                shutil.rmtree(debris, ignore_errors=True)
        # In a folder of its own until it is done: what is refused or interrupted leaves the earlier report as it was.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as temporary:
            new = Path(temporary)
            if "output_dir" in known:  # relative where it can be: the notebook runs in the project's folder
                parameters["output_dir"] = str(new.relative_to(ROOT) if new.is_relative_to(ROOT) else new)
            try:
                run(notebook, new, parameters)
            except ReportError as error:
                if error.status == 2 or not (new / page.name).exists():
                    raise
                _install(new, folder)
                raise ReportError(f"{error} (see {_shown(page)})") from error
            installed = _install(new, folder)
        if options.publish:
            if (folder / "summary.json").exists() and json.loads((folder / "summary.json").read_text()).get("failures"):
                raise ReportError("not published: a run failed")
            publish(folder / notebook.name, notebook, installed)
            page = notebook.with_suffix(".html")
    except (ReportError, ParameterError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "status", 2 if isinstance(error, ParameterError) else 1)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from the last finished epoch", file=sys.stderr)
        return 130
    summary = folder / "summary.json"
    findings = json.loads(summary.read_text())["findings"] if summary.exists() else []
    print(f"{_shown(page)}: {findings[0] if findings else 'done'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
