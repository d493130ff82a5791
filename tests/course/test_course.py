"""The exercises: right answers pass, each typical mistake fails its task alone and is told, nbgrader grades them so."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from support import NOTEBOOKS, ROOT

SOURCE = NOTEBOOKS / "exercises.ipynb"
SLUGS = ("group_norm", "layer_norm", "batch_norm", "backward", "l1", "counts", "bugs", "mcnemar", "predict")

# Task, what a mistake replaces in its solution, by what, and what the student is told.
MISTAKES = [
    ("group_norm", "correction=0", "correction=1", "divided by n - 1"),
    ("group_norm", "(variance + EPS).sqrt()", "(variance.sqrt() + EPS)", "outside of the root"),
    ("group_norm", "(2, 3, 4)", "(0, 2, 3, 4)", "leave N out"),
    ("group_norm", ".flatten(1, 2)", "", "got shape (3, 2, 4, 4, 4), takes (3, 8, 4, 4)"),
    ("layer_norm", "(1, 2, 3)", "(1,)", "ConvNeXt"),
    ("layer_norm", "(1, 2, 3)", "(2, 3)", "InstanceNorm"),
    ("layer_norm", " * weight + bias", "", "weight and bias are missing"),
    ("layer_norm", 'return {"a"}', 'return {"a", "b"}', "got ['a', 'b']"),
    ("batch_norm", "if training:", "if True:", "evaluation takes running averages"),
    ("batch_norm", "x.var((0, 2, 3))", "var", "the running one takes n - 1"),
    ("batch_norm", "0.9 * running_mean + 0.1 * mean", "0.1 * running_mean + 0.9 * mean", "it is the batch that has"),
    ("batch_norm", "correction=0", "correction=1", "torch divides by n"),
    ("backward", " - y * (grad * y).mean(dims, keepdim=True)", "", "the term along y is missing"),
    ("backward", " - grad.mean(dims, keepdim=True)", "", "the gradient's mean is missing"),
    ("backward", "(grad * y).mean(dims, keepdim=True)) / std", "(grad * y).mean(dims, keepdim=True))", "division"),
    ("l1", ".abs()", "", "take absolute values"),
    ("l1", ".abs()", ".square()", "L2 penalty"),
    ("l1", "conv.weight.abs().sum() for conv in convs", "p.abs().sum() for p in net.parameters()",
     "γ and β are counted"),
    ("l1", "l1_lambda * ", "", "λ is missing"),
    ("counts", "16 * 24 * 9", "16 * 24 * 9 + 24", "conv: got 3480; there is no bias"),
    ("counts", "24 * 8 * 8", "24 * 10 * 10", "the norm sees 8×8"),
    ("counts", '"batch": 2 * 24', '"batch": 2 * 64', "never depends on the batch"),
    ("bugs", "p.abs().sum()", "p.sum()", "fall below zero"),
    ("bugs", "    net.eval()\n", "", "move BatchNorm's running averages"),
    ("bugs", "    net.train(was_training)\n", "", "stays in evaluation mode"),
    ("bugs", "fill=0", "fill=1", "blank paper gets ink of 1"),
    ("bugs", "    for norm in norms:\n        torch.manual_seed(1)", "    torch.manual_seed(1)\n    for norm in norms:",
     "seed each"),
    ("bugs", "batch_size=64", "batch_size=64, shuffle=True", "is the order that of the file?"),
    ("mcnemar", "binomtest(only_a, only_a + only_b)", "binomtest(only_a, only_a + only_b, alternative='greater')",
     "one-sided"),
    ("mcnemar", "len(wrong_a - wrong_b)\n    only_b = len(wrong_b - wrong_a)",
     "len(wrong_a)\n    only_b = len(wrong_b)",
     "both get wrong say nothing"),
    ("mcnemar", 'return "b"', 'return "c"', "neither a difference nor its absence"),
    ("predict", '"instance"', '"layer"', "LayerNorm is G = 1"),
    ("predict", "64 * 16", "16", "each image has its own"),
    ("predict", '"of_one_pixel": 0', '"of_one_pixel": 1', "x minus its mean is 0"),
]


def cells_of(nb) -> dict[str, str]:
    """The code cells by nbgrader's name."""
    return {cell.metadata.nbgrader.grade_id: cell.source for cell in nb.cells if cell.cell_type == "code"}


def failed_tasks(cells: dict[str, str]) -> list[str]:
    """Executes a copy; the tasks whose graded cell raises."""
    namespace = {}
    exec(cells["imports"], namespace)
    failed = []
    for slug in SLUGS:
        exec(cells[slug], namespace)
        try:
            exec(cells[f"{slug}-check"], namespace)
        except Exception:
            failed.append(slug)
    return failed


@pytest.fixture(scope="module")
def source() -> dict[str, str]:
    return cells_of(nbformat.read(SOURCE, 4))


def test_the_solution_is_right_and_tells_its_numbers(source, capsys):
    assert failed_tasks(source) == []
    said = capsys.readouterr().out.splitlines()
    assert [line.split(".")[0] for line in said] == [f"Task {number}: right" for number in range(1, 10)]
    assert "becomes 0.45" in said[0] and "8 and 200" in said[1] and "p = 0.077" in said[7]


@pytest.mark.parametrize("slug, old, new, told", MISTAKES, ids=[f"{row[0]}-{row[3][:20]}" for row in MISTAKES])
def test_a_mistake_fails_its_task_alone_and_is_told(source, capsys, slug, old, new, told):
    assert source[slug].count(old) >= 1
    assert failed_tasks({**source, slug: source[slug].replace(old, new)}) == [slug]
    line = capsys.readouterr().out.splitlines()[SLUGS.index(slug)]
    assert line.startswith(f"Task {SLUGS.index(slug) + 1}: not yet. ") and told in line


def test_each_task_has_three_mistakes_and_points(source):
    for slug in SLUGS:
        assert sum(row[0] == slug for row in MISTAKES) >= 3
    nb = nbformat.read(SOURCE, 4)
    assert sum(cell.metadata.nbgrader.get("points", 0) for cell in nb.cells) == 30


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    """`make course`'s student copy in an nbgrader course: nothing answered, the solution, and two wrong tasks."""
    pytest.importorskip("nbgrader")
    folder = tmp_path_factory.mktemp("course")
    (folder / "source" / "exercises").mkdir(parents=True)
    (folder / "source" / "exercises" / SOURCE.name).write_bytes(SOURCE.read_bytes())
    nbgrader(folder, "generate_assignment", "exercises")
    released = folder / "release" / "exercises" / SOURCE.name
    wrong = SOURCE.read_text().replace("16 * 24 * 9", "16 * 24 * 8").replace("conv.weight.abs()", "conv.weight")
    copies = {"right": SOURCE.read_text(), "untouched": released.read_text(), "wrong": wrong}
    for student, text in copies.items():
        handed_in = folder / "submitted" / student / "exercises"
        handed_in.mkdir(parents=True)
        (handed_in / SOURCE.name).write_text(text)
    nbgrader(folder, "autograde", "exercises")
    return folder


def nbgrader(folder: Path, *command: str) -> None:
    """As an instructor would call it, from an environment that is active."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["nbgrader", *command], cwd=folder, capture_output=True, text=True, timeout=280,
                          env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_nbgrader_grades_them(course):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        scores = {one.student.id: one.score for one in book.assignment_submissions("exercises")}
    assert scores == {"right": 30, "untouched": 0, "wrong": 30 - 3 - 2}


@pytest.mark.slow
def test_an_untouched_copy_runs_to_its_end(course):
    """One line for each task; nothing of a solution or a hidden test is in it."""
    released = course / "release" / "exercises" / SOURCE.name
    text = released.read_text()
    assert "SOLUTION" not in text and "HIDDEN" not in text and "binomtest(only_a" not in text and "grade(1" not in text
    cells = cells_of(nbformat.reads(text, 4))
    done = subprocess.run([sys.executable, "-c", "\n".join([cells["imports"], *unanswered(cells)])], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"Task {number}: not answered yet." for number in range(1, 10)], done.stderr


def unanswered(cells: dict[str, str]) -> list[str]:
    """The tasks' cells as Jupyter runs them."""
    return [cells[name] for slug in SLUGS for name in (slug, f"{slug}-check")]
