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
from helpers.report.execute import copy_files, export, run
from helpers.report.page import failure, to_html

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
        source = Path(temporary) / "solution.ipynb"
        shutil.copy(SOURCE, source)
        new = Path(temporary) / "new"
        new.mkdir()
        executed = run(source, new, {})
        problem = export(executed, new / source.name)
        copy_files(new, folder)
    failed = failure(executed)
    if failed:
        problem = f"the solution fails in {failed[0]}: {failed[1].ename}: {failed[1].evalue}"
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print(f"{folder.relative_to(ROOT)}: student.ipynb and solution.ipynb, each with its page")
    return 0


if __name__ == "__main__":
    sys.exit(main())
