"""The README says what the published notebook found, and names what is there."""

import json
import re
import statistics

import nbformat
from scipy import stats
from support import NOTEBOOKS, ROOT

README = (ROOT / "README.md").read_text()
NOTEBOOKS_README = (NOTEBOOKS / "README.md").read_text()


def published_text(name: str = "mnist_normalization") -> str:
    nb = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    parts = [cell.source for cell in nb.cells if cell.cell_type == "markdown"]
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            parts += [output.get("text", ""), *map(str, output.get("data", {}).values())]
    return "\n".join(parts)


def section(title: str, page: str = README) -> str:
    return re.split(r"^## ", page.split(f"\n## {title}\n", 1)[1], flags=re.MULTILINE)[0]


def test_it_is_short():
    assert len(README.split()) <= 900


def test_every_number_of_the_results_is_in_the_published_notebook():
    published = published_text()
    numbers = re.findall(r"\d[\d,]*\.\d+|\d{2,3},\d{3}", section("Results"))
    assert len(numbers) > 15 and not [number for number in numbers if number not in published]


def test_what_is_quoted_is_published_word_for_word():
    for page, title, name, least in (
            (README, "Results", "mnist_normalization", 3),
            (NOTEBOOKS_README, "What causes the difference", "ablations", 3),
            (NOTEBOOKS_README, "Speed", "speed", 3)):
        published = published_text(name)
        quoted = re.findall(r"^- (.+(?:\n  .+)*)", section(title, page), re.MULTILINE)
        assert len(quoted) >= least
        for finding in quoted:
            assert " ".join(finding.split()) in published, finding


def test_the_confirmation_is_whole_or_said_to_be_under_way():
    """All 80 announced runs are there and decide, or the README says that they are not."""
    lines = (NOTEBOOKS / "records" / "confirmation.jsonl").read_text().splitlines()
    runs = set()
    for config in (json.loads(line)["config"] for line in lines):
        runs.add((config["norm"], config["recipe"]["l1_lambda"], config["seed"]))
    arms = [("layer", 0), ("group", 0), ("batch", 1e-5), ("batch", 0)]
    announced = {(*arm, seed) for arm in arms for seed in range(100, 120)}
    assert runs <= announced and len(lines) == len(runs)
    assert ("under way" in README) == (runs != announced)


def test_the_table_of_results_is_the_published_records():
    """Computed here from the records themselves, with the standard library and scipy."""
    lines = (NOTEBOOKS / "records" / "mnist_normalization.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section("Results").splitlines()
            if re.match(r"\| .*Normalization \|", line)]
    assert len(rows) == 3
    for norm, row in zip(("layer", "group", "batch"), rows, strict=True):
        mine = [record for record in records if record["config"]["norm"] == norm]
        assert {record["config"]["num_epochs"] for record in mine} == {20}
        assert len({record["config"]["seed"] for record in mine}) == len(mine) > 1
        last = [record["history"][-1] for record in mine]
        accuracies = [row["val_correct"] / 100 for row in last]  # of 10,000 images, in percent
        low, high = stats.t.interval(0.95, len(mine) - 1, statistics.mean(accuracies), stats.sem(accuracies))
        assert row[1:7] == [f"{mine[0]['num_parameters']:,}", f"{statistics.mean(accuracies):.2f}",
                            f"{statistics.stdev(accuracies):.2f}", f"{low:.2f} to {high:.2f}",
                            f"{statistics.mean(row['val_loss'] for row in last):.4f}",
                            f"{statistics.mean(10_000 - row['val_correct'] for row in last):.1f}"]


def test_links_lead_to_files():
    for page in (ROOT / "README.md", *ROOT.glob("*/README.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), target


def test_the_map_lists_every_module():
    listed = re.findall(r"`(\w+\.py)`", (ROOT / "helpers" / "README.md").read_text())
    there = [path.name for path in (ROOT / "helpers").rglob("*.py") if path.name != "__init__.py"]
    assert set(listed) - {"reference.py"} == set(there)


def test_the_two_commands_come_first():
    first = README.split("```")[1]
    assert [line.split("#")[0].strip() for line in first.strip().splitlines()] == ["make report", "make test"]
    for line in ("pip install -r requirements.txt", "papermill notebooks/mnist_normalization.ipynb", "\npytest"):
        assert line in README


def test_worked_example_is_the_notebooks():
    published = published_text()
    example = section("How each normalisation is performed")
    steps = re.findall(r"\(5 − (\d)\) / √([\d.]+) = (−?[\d.]+)", example)
    assert len(steps) == 3
    for mean, variance, value in steps:
        assert f"5 becomes (5 - {mean}) / sqrt({variance}) = {value.replace('−', '-')}" in published


def test_each_promise_names_a_test_that_is_there():
    there = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    table = section("What is promised", (ROOT / "tests" / "README.md").read_text())
    promises = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(promises) > 12
    for promise in promises:
        named = re.findall(r"`(test_\w+)`", promise)
        assert named and all(f"def {name}(" in there for name in named), promise
