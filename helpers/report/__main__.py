"""Executes a notebook and exports it as one HTML page that needs nothing else to be read.

examples:
  python -m helpers.report                                      MNIST, or the embedded digits without a network
  python -m helpers.report -p seeds '[0, 1]' -p num_epochs 5    two seeds, five epochs
  python -m helpers.report -p recipe original --output-dir runs/original
  papermill --help-notebook notebooks/mnist_normalization.ipynb     all parameters

In the output folder: the page (.html), the executed notebook (.ipynb), figures/, results.csv and summary.json.
The last one is written only when the notebook ran to its end.
exit status: 0 done, 1 the notebook failed (its page says where), 2 refused before any training, 130 interrupted
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

import papermill
from papermill.utils import find_first_tagged_cell_index

from helpers.config import ParameterError, Study, check_name
from helpers.files import ROOT, writable_folder
from helpers.report.content import ReportError
from helpers.report.execute import INJECTED, export, install, publish, read_notebook, run, say
from helpers.report.page import failure

MAIN = ROOT / "notebooks" / "mnist_normalization.ipynb"
REFUSALS = ("ParameterError", "DataError")  # raised by a notebook about what it was given
PUBLISHED = {"dataset": "mnist", "train_missing": False}  # ablations are published with their gaps


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    options = parse(arguments)
    try:
        closing_line = report(options)
    except (ReportError, ParameterError, OSError) as error:
        reason = " ".join(str(error).split())
        say(f"error: {''.join(filter(str.isprintable, reason))}\n", sys.stderr)
        return 2 if isinstance(error, ParameterError) else 1
    except KeyboardInterrupt:
        say("interrupted: the same command goes on from the last finished epoch\n", sys.stderr)
        return 130
    say(f"{closing_line}\n", sys.stdout)
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Returns the options, the notebook's path resolved."""
    description, _, epilog = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        "python -m helpers.report", description=description, epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", nargs="?", type=Path, default=MAIN,
                        help="default: notebooks/mnist_normalization.ipynb")
    parser.add_argument("-p", "--parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
                        help="set a parameter of the notebook; may be given several times")
    parser.add_argument("--output-dir", type=Path, help="default: runs/report in the project's folder")
    parser.add_argument("--publish", action="store_true", help=(
        "run on MNIST with every parameter at its default, then refresh what is committed: the notebook with "
        "its outputs, its page and figures/; of the ablations what has been trained"))
    options = parser.parse_args(arguments)
    options.notebook = options.notebook.resolve()
    options.parameters = {name: resolve(value) for name, value in options.parameters}
    return options


def resolve(text: str):
    """Returns the value of a parameter as papermill's own -p takes it: a word, a number, else the text."""
    words = {"True": True, "False": False, "None": None}
    for kind in (words.__getitem__, int, float):
        with contextlib.suppress(KeyError, ValueError):
            return kind(text)
    return text


def report(options: argparse.Namespace) -> str:
    """Executes, exports and publishes a notebook; returns the closing line."""
    notebook = options.notebook
    default = "publish" if options.publish else "report"
    folder = (options.output_dir or ROOT / "runs" / default).resolve()
    page = folder / f"{notebook.stem}.html"
    known = check(options, folder)
    writable_folder(folder, "output_dir")
    with tempfile.TemporaryDirectory() as temporary:
        new = Path(temporary)
        asked = PUBLISHED if options.publish else options.parameters
        if options.publish and notebook == MAIN:
            asked = {**asked, "reuse_records": False}
        asked = {**asked, "output_dir": temporary}
        nb = run(notebook, new, {name: value for name, value in asked.items() if name in known})
        problem = conclude(nb, new / notebook.name)
        left = page
        if not (new / page.name).exists():
            left = folder / notebook.name
            page.unlink(missing_ok=True)  # an earlier one
        install(new, folder)
        if problem:
            raise ReportError(f"{problem} (see {shown(left)})")
        summary = {}
        if (new / "summary.json").exists():
            summary = json.loads((new / "summary.json").read_bytes())
        if options.publish:
            if summary.get("failures"):
                raise ReportError("not published: a run failed")
            publish(new, notebook)
            page = notebook.with_suffix(".html")
    findings = summary.get("findings") or ["done"]
    return f"{shown(page)}: {findings[0]}"


def conclude(nb, executed: Path) -> str:
    """Writes the page of an executed notebook; returns what failed, or "". No summary stays with a failure.

    Raises ParameterError for what the notebook refused.
    """
    failed = failure(nb)
    if failed and failed[1].ename in REFUSALS:  # the earlier report stays as it was
        raise ParameterError(failed[1].evalue)
    problem = export(nb, executed)
    if failed:
        where, error = failed
        problem = " ".join([f"{where}: {error.ename}: {error.evalue}", problem]).rstrip()
    if problem:
        (executed.parent / "summary.json").unlink(missing_ok=True)  # it would mean success
    return problem


def check(options: argparse.Namespace, folder: Path) -> list[str]:
    """Returns the names of the notebook's parameters. Raises ParameterError for what can't be done."""
    notebook = options.notebook
    if not notebook.is_file() or notebook.suffix != ".ipynb":
        raise ParameterError(f"{shown(notebook)}: no such notebook; takes an .ipynb file")
    if options.output_dir == Path():  # what an empty name comes to, too
        raise ParameterError("output_dir: takes a folder other than the one you are in")
    if folder == notebook.parent:
        raise ParameterError("the output folder is the notebook's own: the executed one would replace it")
    if options.publish and options.parameters:
        raise ParameterError("--publish takes no parameters: what is committed is the notebook as it stands")
    if "output_dir" in options.parameters:
        raise ParameterError("output_dir: give it as --output-dir")
    try:
        nb = read_notebook(notebook)
        known = list(papermill.inspect_notebook(nb))
    except Exception as error:  # no JSON, no language, no cells
        reason = [*str(error).splitlines(), type(error).__name__][0]
        raise ParameterError(f"{shown(notebook)} can't be read as a notebook: {reason}") from error
    if options.publish and find_first_tagged_cell_index(nb, INJECTED) >= 0:
        raise ParameterError(f"{shown(notebook)}: --publish takes no notebook that papermill gave parameters")
    if notebook == MAIN:
        Study.from_dict(options.parameters)
    for name in options.parameters:
        check_name(name, known)
    return known


def shown(path: Path) -> str:
    """Returns a path as it is called from the reader's own folder, if it lies there."""
    return str(path).removeprefix(f"{Path.cwd()}{os.sep}")


if __name__ == "__main__":
    sys.exit(main())
