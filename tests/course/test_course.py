"""The exercises: right answers pass, each typical mistake fails its task alone and is told, nbgrader grades them so."""

import os
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


def test_a_students_copy_runs_to_its_end(capsys):
    """One line for each task; nothing of a solution or a hidden test is in it."""
    pytest.importorskip("nbgrader")
    from helpers.course.__main__ import student_copy

    nb = student_copy()
    text = nbformat.writes(nb)
    assert "SOLUTION" not in text and "HIDDEN" not in text and "binomtest(only_a" not in text and "grade(1" not in text
    assert failed_tasks(cells_of(nb)) == []
    assert capsys.readouterr().out.splitlines() == [f"Task {number}: not answered yet." for number in range(1, 10)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Object of type")  # nbgrader's own use of SQLAlchemy
def test_nbgrader_grades_them(source, tmp_path, monkeypatch):
    """Handed in with one task unanswered and two wrong."""
    pytest.importorskip("nbgrader")
    from nbgrader.apps import NbGraderAPI
    from nbgrader.coursedir import CourseDirectory

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # nbgrader calls alembic
    copies = [tmp_path / name / "exercises" / SOURCE.name for name in ("source", "release", "submitted/student")]
    original, released, handed_in = copies
    original.parent.mkdir(parents=True)
    original.write_bytes(SOURCE.read_bytes())
    api = NbGraderAPI(CourseDirectory(root=str(tmp_path)))
    assert api.generate_assignment("exercises")["success"]

    nb = nbformat.read(released, 4)
    for cell in nb.cells:
        name = cell.metadata.nbgrader.grade_id if cell.cell_type == "code" else ""
        if name in SLUGS and name != "layer_norm":
            cell.source = source[name].replace("16 * 24 * 9", "16 * 24 * 8").replace("conv.weight.abs()", "conv.weight")
    handed_in.parent.mkdir(parents=True)
    nbformat.write(nb, handed_in)
    done = api.autograde("exercises", "student")
    assert done["success"], done["log"]
    submission = api.get_submission("exercises", "student")
    assert (submission["score"], submission["max_score"]) == (30 - 3 - 3 - 2, 30)
