"""`make course`: the student's copy of the exercises, their solution executed, and the pages of both.

python -m helpers.course writes runs/course/student.ipynb and solution.ipynb, each with its .html.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbgrader.preprocessors import ClearHiddenTests, ClearOutput, ClearSolutions

from helpers.files import ROOT, writable_folder, write_atomically
from helpers.report.__main__ import parse, report
from helpers.report.content import ReportError
from helpers.report.page import to_html

SOURCE = ROOT / "notebooks" / "exercises.ipynb"


def student_copy():
    """The notebook without solutions, hidden tests and outputs, as nbgrader hands it out."""
    nb = nbformat.read(SOURCE, 4)
    for preprocessor in (ClearSolutions, ClearHiddenTests, ClearOutput):
        nb, _ = preprocessor().preprocess(nb, {})
    return nb


def main() -> int:
    """Writes the four files; returns the exit status."""
    folder = writable_folder("runs/course", "output_dir")
    nb = student_copy()
    write_atomically(folder / "student.ipynb", nbformat.writes(nb).encode())
    write_atomically(folder / "student.html", to_html(nb, folder / "student.html").encode())
    with tempfile.TemporaryDirectory() as temporary:
        solution = shutil.copy(SOURCE, Path(temporary) / "solution.ipynb")
        try:
            report(parse([str(solution), "--output-dir", str(folder)]))
        except ReportError as error:
            print(f"error: the solution fails: {error}", file=sys.stderr)
            return 1
    print(f"{folder.relative_to(ROOT)}: student.ipynb and solution.ipynb, each with its page")
    return 0


if __name__ == "__main__":
    sys.exit(main())
