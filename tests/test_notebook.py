"""The main notebook: what is committed is whole, and it runs as its users run it."""

import ast
import json
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
from support import MAIN, NOTEBOOKS, ROOT, prefill, run, without_pictures

from helpers.ablations import affine, batch_size, groups, penalty
from helpers.ablations.notebook import AblationParameters
from helpers.config import RECIPES, ParameterError, Study
from helpers.datasets import load_dataset
from helpers.files import NETWORKS
from helpers.report.__main__ import main
from helpers.runs.confirm import announced_runs
from helpers.runs.store import Store
from helpers.speed.measure import SpeedParameters

SECTIONS = ["The answer", "Parameters", "Why normalise at all?", "The idea", "The network", "The data", "The training",
            "Training and evaluation mode", "Learning curves", "How much does luck weigh?", "What all get wrong",
            "Try it", "The historical run", "Limits", "Exercises", "References", "Appendix"]
FIGURES = {"answer.svg", "dying.svg", "normalization_axes.svg", "samples.png", "augmentation.png",
           "validation_loss.svg", "validation_accuracy.svg", "errors_shared.svg", "misclassified.png", "confusion.svg"}
MNIST_FIGURES = FIGURES | {  # the historical run and the confirmation were on MNIST
    "beside_historical.svg", "comparisons.svg", "comparisons_penalty.svg"}
SPEED_FIGURES = {"speed.svg", "speed_profile.svg", "speed_growth.svg"}
ABLATION_FIGURES = {f"ablation_{name}.svg" for name in (
    "penalty", "affine", "groups", "batch_size", "inside", "original")}
every_notebook = pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(MAIN, as_version=4)


def code_cells(nb) -> list:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def is_parameters(cell) -> bool:
    return "parameters" in cell.metadata.get("tags", [])


def all_outputs(nb) -> list:
    return [output for cell in code_cells(nb) for output in cell.outputs]


def has_debris(outputs: list) -> bool:
    """An error, a word on stderr, or a progress bar."""
    errors = [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    return bool(errors) or "it/s" in without_pictures(json.dumps(outputs))


# --- as committed -----------------------------------------------------------------------------------


def test_sections_are_in_order(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert len(re.findall(r"^# .+$", text, re.MULTILINE)) == 1


@pytest.mark.parametrize("name, kind", [
    ("mnist_normalization", Study), ("ablations", AblationParameters), ("speed", SpeedParameters)])
def test_parameters_are_the_classs_own_defaults(name, kind):
    path = NOTEBOOKS / f"{name}.ipynb"
    (cell,) = filter(is_parameters, nbformat.read(path, as_version=4).cells)
    given = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}
    defaults = asdict(kind())
    assert list(given) == list(kind.rules())
    for parameter, value in given.items():  # None: as the recipe says
        assert value == (list(defaults[parameter]) if isinstance(value, list) else defaults.get(parameter))
    shown = papermill.inspect_notebook(path)
    assert list(shown) == list(given) and all(entry["help"] for entry in shown.values()), "papermill --help-notebook"


@every_notebook
def test_cells_are_short_and_define_nothing(path):
    for number, cell in enumerate(code_cells(nbformat.read(path, as_version=4))):
        if cell.metadata.get("nbgrader", {}).get("solution"):
            continue  # a student's own functions
        if not is_parameters(cell):  # the first one finds helpers/: it can't import them
            assert len(list(filter(None, cell.source.splitlines()))) <= (20 if number else 25), cell.source
        kinds = {type(node) for node in ast.walk(ast.parse(cell.source))}
        assert not kinds & {ast.FunctionDef, ast.ClassDef, ast.Lambda}, cell.source


@every_notebook
def test_committed_notebook_was_executed_top_to_bottom(path):
    nb = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in code_cells(nb)] == list(range(1, len(code_cells(nb)) + 1))
    assert not has_debris(all_outputs(nb))
    text = without_pictures(json.dumps(all_outputs(nb)))
    for trace in (str(ROOT), str(Path.home()), "/home/", "/tmp/", "/Users/", "C:\\\\", "Warning", "widget-view",
                  "not MNIST"):
        assert trace not in text, trace
    assert path.with_suffix(".html").exists()


@every_notebook
def test_links_of_a_published_page_lead_to_what_is_there(path):
    links = re.findall(r'<a [^>]*href="([^"]+)"', path.with_suffix(".html").read_text())
    assert links
    for link in links:
        assert re.match(r"#|https?:", link) or (path.parent / link).is_file(), link


def test_committed_figures_have_an_alt_text(notebook):
    shown = [output for output in all_outputs(notebook) if "image/png" in output.get("data", {})]
    assert len(shown) == len(MNIST_FIGURES)
    assert all(len(output.metadata["image/png"]["alt"]) > 40 for output in shown)
    there = {path.name for path in (ROOT / "figures").iterdir()}
    assert MNIST_FIGURES | SPEED_FIGURES <= there <= MNIST_FIGURES | SPEED_FIGURES | ABLATION_FIGURES


# --- as run -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def executed(digits_report):
    return nbformat.read(digits_report[0] / "out" / "mnist_normalization.ipynb", 4)


def test_report_holds_all_that_is_promised(digits_report, executed):
    folder, done = digits_report
    out = folder / "out"
    assert {path.name for path in out.iterdir()} == {
        "mnist_normalization.html", "mnist_normalization.ipynb", NETWORKS, "figures", "records", "results.csv",
        "summary.json"}
    assert {path.name for path in (out / "figures").iterdir()} == FIGURES
    table = pd.read_csv(out / "results.csv")
    assert len(table) == 3 * 2 * 1 and set(table.dataset) == {"digits"}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["num_runs"] == 6 and summary["dataset"] == "digits" and len(summary["findings"]) >= 5
    assert done.stdout == f"{out / 'mnist_normalization.html'}: {summary['findings'][0]}\n"
    bars = done.stderr.splitlines()
    assert len(bars) == len(set(bars)) and all("100%|" in bar for bar in bars), "each bar once, no warning"
    for seed in (0, 1):
        assert f"layer, seed {seed}" in done.stderr, "a progress bar for each run"


def test_executed_notebook_holds_findings_and_no_debris(digits_report, executed):
    out = digits_report[0] / "out"
    assert not has_debris(all_outputs(executed)) and "widgets" not in executed.metadata
    findings = json.loads((out / "summary.json").read_text())["findings"]
    first, second = ("".join(output.data.get("text/markdown", "")) for output in all_outputs(executed)[:2])
    assert all(finding in first for finding in findings[:3]) and not second, "the answer stands first"
    assert "image/svg+xml" in all_outputs(executed)[1].data, "its figure second"
    cells = json.dumps(executed.cells)
    assert all(json.dumps(finding)[1:-1] in cells for finding in findings)
    assert '# Parameters\\ndataset = \\"digits\\"' in cells and "100%|" not in cells
    for text in (cells, (out / "mnist_normalization.html").read_text()):
        assert tempfile.gettempdir() not in without_pictures(text), "a folder of this machine"


def test_nobody_mistakes_the_digits_for_mnist(digits_report, executed):
    out = digits_report[0] / "out"
    page = (out / "mnist_normalization.html").read_text()
    brief = page[page.index("The answer</h2>"):page.index("Parameters</h2>")]
    assert "Notice" in brief and "not on MNIST" not in brief and "embedded digits" in brief
    for name in FIGURES - {"normalization_axes.svg"}:
        if name.endswith(".svg"):
            assert "embedded digits (not MNIST)" in (out / "figures" / name).read_text(), name
    alt_texts = [output.metadata["image/png"]["alt"] for output in all_outputs(executed)
                 if "image/png" in output.get("data", {})]
    assert all("digits" in alt or "Which elements share one mean" in alt for alt in alt_texts)


@pytest.fixture
def without_figures(notebook, tmp_path) -> Path:
    """The main notebook, shortened: the parameters, the training and the files, no figures and tables."""
    kept = [cell for cell in code_cells(notebook) if is_parameters(cell) or not re.search(
        r"show\(|_table\(|readings import|summarize|getsource|one_step", cell.source)]
    path = tmp_path / "short.ipynb"
    nbformat.write(nbformat.v4.new_notebook(metadata=notebook.metadata, cells=kept), path)
    return path


def test_again_from_inside_notebooks_trains_nothing(digits_report, without_figures, tmp_path):
    """Plain papermill, from the notebook's own folder, on the same runs; its parameters from a file."""
    runs_dir = digits_report[0] / "runs"
    records = {path: path.stat().st_mtime_ns for path in runs_dir.rglob("record.json")}
    assert len(records) == 6
    asked = tmp_path / "asked.yaml"
    asked.write_text(f"dataset: digits\nnum_epochs: 1\nseeds: [0, 1]\nruns_dir: {runs_dir}\n")
    done = run("papermill", str(without_figures), str(tmp_path / "out.ipynb"), "-f", str(asked), "--no-progress-bar",
               cwd=NOTEBOOKS)
    assert done.returncode == 0, done.stderr
    assert records == {path: path.stat().st_mtime_ns for path in runs_dir.rglob("record.json")}
    assert not has_debris(all_outputs(nbformat.read(tmp_path / "out.ipynb", 4)))


@pytest.mark.parametrize(("name", "value", "says"), [
    ("sede", 3, "no such parameter; did you mean seeds"), ("batch_size", 2000, "got 2000, takes at most the 1,437"),
    ("dataset", "cifar10", "got 'cifar10' .*takes one of 'auto', 'mnist', 'digits'")])
def test_bad_input_stops_the_notebook_before_any_training(notebook, tmp_path, name, value, says):
    """The cells as a kernel executes them, `In` and papermill's cell among them."""
    given = {"dataset": "digits", "runs_dir": str(tmp_path), name: value}
    injected = "\n".join(["# Parameters", *(f"{key} = {given[key]!r}" for key in given)])
    namespace = {"In": []}
    with pytest.raises(ParameterError, match=f"^{name}: {says}"):
        for cell in code_cells(notebook)[:4]:
            for source in [cell.source, injected] if is_parameters(cell) else [cell.source]:
                namespace["In"].append(source)
                exec(source, namespace)
    assert not list(tmp_path.iterdir()), "nothing was trained"


@pytest.mark.slow
def test_bad_input_stops_plain_papermill(tmp_path):
    done = run("papermill", str(MAIN), str(tmp_path / "out.ipynb"), "--no-progress-bar", "-p", "dataset", "digits",
               "-p", "sede", "3")
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0 and last.startswith("ParameterError: sede: ") and "did you mean seeds" in last


@pytest.mark.slow
def test_ablations_find_their_runs_and_answer_every_question(tmp_path):
    """On the digits, where nothing is published. All runs but the looks inside are made up: none is trained."""
    data = load_dataset("digits")
    store = Store(tmp_path / "runs", data)
    tuned = RECIPES["tuned"]
    ablations = [config for question in (penalty, affine, groups) for config in question.runs(tuned, (0,), 1)]
    prefill(store, ablations + announced_runs(Study(recipe="original", num_epochs=1), (0,)))
    few = batch_size.few_images(data, 256)
    fewer = batch_size.runs(tuned, (0,), 1)
    prefill(Store(tmp_path / "runs", few), fewer)
    given = {"dataset": "digits", "seeds": [0], "num_epochs": 1, "num_images": 256, "original_epochs": 1,
             "original_seeds": [0], "train_missing": False, "runs_dir": tmp_path / "runs"}
    parameters = [word for name, value in given.items() for word in ("-p", name, str(value))]
    assert main([str(NOTEBOOKS / "ablations.ipynb"), "--output-dir", str(tmp_path / "out"), *parameters]) == 0
    out = tmp_path / "out"
    # train_missing = False trains nothing, so the looks inside are the one gap
    assert {path.name for path in (out / "figures").iterdir()} == ABLATION_FIGURES - {
        "ablation_original.svg", "ablation_inside.svg"}
    summary = json.loads((out / "summary.json").read_text())
    missing = [finding for finding in summary["findings"] if "not there yet" in finding]
    assert len(summary["findings"]) == 6 and len(missing) == 1
    assert any("can't stand beside it" in finding for finding in summary["findings"]), "the digits are not MNIST"
    table = pd.read_csv(out / "results.csv")
    assert set(table.question) == {"penalty", "parameters", "groups", "batch size", "historical run"}
    assert set(table[table.question == "penalty"].l1_lambda) == {0, 1e-5, 1e-4, 1e-3, 1e-2}
    kept = [json.loads(line) for line in (out / "records" / "ablations.jsonl").read_text().splitlines()]
    assert {record["run_id"] for record in kept} == {
        *(store.run(config).id for config in ablations),
        *(Store(tmp_path / "runs", few).run(config).id for config in fewer)}
    assert not has_debris(all_outputs(nbformat.read(out / "ablations.ipynb", 4)))


@pytest.mark.slow
def test_eight_papermill_runs_at_once_lose_nothing(without_figures, tmp_path, monkeypatch):
    """On the same folder of runs.

    Two kernels that start at once may pick the same port, and one dies before its first cell: a race of Jupyter's own
    (papermill's issue 511). Then the same run again, as the README says.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads that wait for a core cost time

    def one(seed: int):
        given = {"dataset": "digits", "norms": ["group"], "seeds": [seed, 9], "num_epochs": 1, "holdout": 1000,
                 "workers": 1, "runs_dir": str(tmp_path / "runs"), "output_dir": str(tmp_path / f"out-{seed}")}
        try:
            papermill.execute_notebook(without_figures, tmp_path / f"{seed}.ipynb", given, progress_bar=False)
        except RuntimeError as error:
            assert "Kernel died before replying to kernel_info" in str(error)
            papermill.execute_notebook(without_figures, tmp_path / f"{seed}.ipynb", given, progress_bar=False)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(8)))
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 9, "eight seeds, and one that all of them ask for"
    shared = set()
    for seed in range(8):
        summary = json.loads((tmp_path / f"out-{seed}" / "summary.json").read_text())
        assert summary["seeds"] == [seed, 9] and summary["num_runs"] == 2
        table = pd.read_csv(tmp_path / f"out-{seed}" / "results.csv")
        shared.add(table[table.seed == 9].val_loss.item())
    assert len(shared) == 1
