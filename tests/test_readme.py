"""The README says what the published notebook found, and names what is there."""

import csv
import json
import re
import statistics
from itertools import combinations

import nbformat
from scipy import stats
from support import NOTEBOOKS, ROOT

from helpers.results.comparisons import cause, headline, pairs_frame
from helpers.results.words import p_text

RECORDS = NOTEBOOKS / "records"
README = (ROOT / "README.md").read_text()
NOTEBOOKS_README = (NOTEBOOKS / "README.md").read_text()
NAMES = {"layer": "LayerNorm", "group": "GroupNorm", "batch": "L1 + BatchNorm"}

# What records/plan.md announces: arms by normalisation and penalty, seeds, the margin for "equal" in images.
VARIANTS = [("layer", 0), ("group", 0), ("batch", 1e-5)]
CONTROL = ("batch", 0)
ARMS = [*VARIANTS, CONTROL]
ANNOUNCED = {(*arm, seed) for arm in ARMS for seed in range(100, 120)}
MARGIN = 5


def published_text(name: str = "mnist_normalization") -> str:
    nb = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    parts = [cell.source for cell in nb.cells if cell.cell_type == "markdown"]
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            parts += [output.get("text", ""), *map(str, output.get("data", {}).values())]
    return "\n".join(parts)


def section(title: str, page: str = README) -> str:
    return re.split(r"^## ", page.split(f"\n## {title}\n", 1)[1], flags=re.MULTILINE)[0]


def read_records(name: str) -> list[dict]:
    return [json.loads(line) for line in (RECORDS / f"{name}.jsonl").read_text().splitlines()]


def which_run(record: dict) -> tuple[str, float, int]:
    config = record["config"]
    return config["norm"], config["recipe"]["l1_lambda"], config["seed"]


def is_confirmed() -> bool:
    """All announced runs are there. Until then nothing but their names is looked at."""
    return set(map(which_run, read_records("confirmation"))) == ANNOUNCED


def results_records() -> list[dict]:
    """The runs that the README must report: the confirmation's, until it is whole the main notebook's."""
    records = read_records("confirmation" if is_confirmed() else "mnist_normalization")
    return [record for record in records if which_run(record)[:2] in VARIANTS]


def holm(p_values: list[float]) -> list[float]:
    """Holm's corrected p-values, in the order given."""
    corrected = []
    for p in p_values:
        steps = [other for other in sorted(p_values) if other <= p]
        corrected.append(min(1, max((len(p_values) - step) * other for step, other in enumerate(steps))))
    return corrected


def verdict_sentences(records: list[dict]) -> list[str]:
    """The beginnings of what must be said of the three pairs, by the tests of records/plan.md."""
    correct = {norm: {} for norm in NAMES}
    for record in records:
        norm, _, seed = which_run(record)
        correct[norm][seed] = record["history"][-1]["val_correct"]
    pairs = list(combinations(NAMES, 2))
    differences = [[correct[a][seed] - correct[b][seed] for seed in correct[a]] for a, b in pairs]
    p_values = holm([stats.ttest_1samp(values, 0).pvalue for values in differences])
    above = [stats.ttest_1samp(values, -MARGIN, alternative="greater").pvalue for values in differences]
    below = [stats.ttest_1samp(values, MARGIN, alternative="less").pvalue for values in differences]
    p_equal = holm(list(map(max, above, below)))

    sentences = []
    for pair, values, p, equal in zip(pairs, differences, p_values, p_equal, strict=True):
        mean = statistics.mean(values)
        ahead, behind = (NAMES[norm] for norm in (pair if mean >= 0 else pair[::-1]))
        half_width = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
        size = f"{abs(mean):.1f} ± {half_width:.1f} of 10,000 images ({p_text(p)}, {len(values)} seeds)"
        if p < 0.05:
            sentences.append(f"{ahead} is better than {behind} by {size}")
        elif equal < 0.05:
            sentences.append(f"{ahead} and {behind} are equal within {MARGIN} images: {ahead} leads by {size}")
        else:
            sentences.append(f"{ahead} and {behind} are not told apart: {ahead} leads by {size}")
    return sentences


def test_it_is_short_and_begins_with_figure_and_answer():
    assert len(README.split()) <= 900
    first_screen = README.split("```")[0]
    assert "](figures/" in first_screen and "**" in first_screen.split("](figures/")[1]
    assert len(first_screen.split()) < 150


def test_every_number_of_the_results_is_in_the_published_notebook():
    published = published_text()
    numbers = re.findall(r"\d[\d,]*\.\d+|\d{2,3},\d{3}", section("Results"))
    assert len(numbers) > 15 and not [number for number in numbers if number not in published]


def test_what_is_quoted_is_published_word_for_word():
    for page, title, name, least in (
            (README, "Results", "mnist_normalization", 3),
            (NOTEBOOKS_README, "What causes the difference", "ablations", 3),
            (NOTEBOOKS_README, "How the recipe was chosen", "ablations", 3),
            (NOTEBOOKS_README, "Speed", "speed", 3)):
        published = published_text(name)
        quoted = re.findall(r"^- (.+(?:\n  .+)*)", section(title, page), re.MULTILINE)
        assert len(quoted) >= least
        for finding in quoted:
            assert " ".join(finding.split()) in published, finding


def test_the_confirmation_is_whole_or_said_to_be_under_way():
    """All 80 announced runs are there and decide, or the answer says that they are not."""
    runs = list(map(which_run, read_records("confirmation")))
    assert set(runs) <= ANNOUNCED and len(runs) == len(set(runs))
    assert ("is under way" in README.split("```")[0]) == (not is_confirmed())


def test_the_table_of_results_is_the_published_records():
    """Computed here from the records themselves, with the standard library and scipy."""
    records = results_records()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section("Results").splitlines()
            if re.match(r"\| .*Normalization \|", line)]
    assert len(rows) == 3
    for norm, row in zip(NAMES, rows, strict=True):
        mine = [record for record in records if record["config"]["norm"] == norm]
        assert {record["config"]["num_epochs"] for record in mine} == {20}
        seeds = [record["config"]["seed"] for record in mine]
        assert len(set(seeds)) == len(mine) > 1
        assert f"seeds {min(seeds)} to {max(seeds)}" in " ".join(section("Results").split())
        last = [record["history"][-1] for record in mine]
        accuracies = [row["val_correct"] / 100 for row in last]  # of 10,000 images, in percent
        low, high = stats.t.interval(0.95, len(mine) - 1, statistics.mean(accuracies), stats.sem(accuracies))
        assert row[1:7] == [f"{mine[0]['num_parameters']:,}", f"{statistics.mean(accuracies):.2f}",
                            f"{statistics.stdev(accuracies):.2f}", f"{low:.2f} to {high:.2f}",
                            f"{statistics.mean(row['val_loss'] for row in last):.4f}",
                            f"{statistics.mean(10_000 - row['val_correct'] for row in last):.1f}"]


def test_verdicts_and_headline_are_the_published_records():
    """The verdicts with scipy alone, in the notebook's words; headline and cause once the confirmation is whole."""
    records = results_records()
    said = " ".join(section("Results").split())
    for sentence in verdict_sentences(records):
        assert sentence in said
    answer = " ".join(README.split("```")[0].split())
    if is_confirmed():
        control = [record for record in read_records("confirmation") if which_run(record)[:2] == CONTROL]
        pairs = pairs_frame(records)
        assert headline(pairs) in answer and cause(pairs, pairs_frame(records, control)) in said
    else:
        assert "exploratory" in answer and "No normalisation is shown to be the best" in answer


def test_the_historical_table_is_its_curves():
    with (RECORDS / "historical_curves.csv").open() as file:
        last = {row["variant"]: row for row in csv.DictReader(file)}
    for norm, name in NAMES.items():
        row = f"| {name} | {last[norm]['epoch']} | {last[norm]['val_accuracy']} |"
        assert row in section("The historical run", NOTEBOOKS_README)


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
