"""The main notebook: what is committed is whole, and it runs as its users run it."""

import ast
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
from conftest import run

from helpers.config import Study

ROOT = Path(__file__).resolve().parent.parent
MAIN = ROOT / "notebooks" / "mnist_normalization.ipynb"
SECTIONS = ["In brief", "Parameters and environment", "The data", "Three ways to normalise", "The network", "Training",
            "Validation loss", "Validation accuracy", "Beside the historical run", "The last epoch in numbers",
            "Misclassified images", "Confusion matrices", "Wrong together, wrong alone", "Findings and limits",
            "Exercises", "References"]
FIGURES = {"normalization_axes.svg", "samples.png", "validation_loss.svg", "validation_accuracy.svg", "confusion.svg",
           "misclassified_layer.png", "misclassified_group.png", "misclassified_batch.png", "augmentation.png",
           "errors_overlap.svg"}
MNIST_FIGURES = FIGURES | {"beside_historical.svg"}  # the historical run was on MNIST
SPEED_FIGURES = {"speed.svg", "speed_profile.svg", "speed_growth.svg"}
ABLATION_FIGURES = {f"ablation_{name}.svg" for name in (
    "penalty", "affine", "groups", "batch_size", "inside", "luck", "original")}
every_notebook = pytest.mark.parametrize("path", sorted(MAIN.parent.glob("*.ipynb")), ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(MAIN, as_version=4)


def code_cells(nb) -> list:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def literals(source: str) -> dict:
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(source).body}


# --- as committed ---------------------------------------------------------------------------------------------------


def test_sections_are_in_order(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert len(re.findall(r"^# .+$", text, re.MULTILINE)) == 1


def test_parameters_are_the_studys_own_defaults(notebook):
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    given = {name: tuple(v) if isinstance(v, list) else v for name, v in literals(cell.source).items()}
    assert given == {field.name: field.default for field in fields(Study)}
    assert list(given) == [field.name for field in fields(Study)]
    shown = papermill.inspect_notebook(MAIN)
    assert list(shown) == list(given) and all(entry["help"] for entry in shown.values()), "papermill --help-notebook"


@every_notebook
def test_cells_are_short_and_define_nothing(path):
    for place, cell in enumerate(code_cells(nbformat.read(path, as_version=4))):
        if "parameters" not in cell.metadata.get("tags", []):  # the first one finds helpers/: it can't import them
            assert len(list(filter(None, cell.source.splitlines()))) <= (20 if place else 25), cell.source
        kinds = {type(node) for node in ast.walk(ast.parse(cell.source))}
        assert not kinds & {ast.FunctionDef, ast.ClassDef, ast.Lambda}, cell.source


@every_notebook
def test_committed_notebook_was_executed_top_to_bottom(path):
    notebook = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    text = json.dumps(outputs)
    for trace in (str(ROOT), str(Path.home()), "/home/", "/tmp/", "/Users/", "C:\\\\", "it/s", "Warning",
                  "widget-view", "not MNIST"):
        assert trace not in text, trace
    assert path.with_suffix(".html").exists()


@every_notebook
def test_links_of_a_published_page_lead_to_what_is_there(path):
    links = re.findall(r'<a [^>]*href="([^"]+)"', path.with_suffix(".html").read_text())
    assert links
    for link in links:
        assert re.match(r"#|https?:", link) or (path.parent / link).is_file(), link


def test_committed_figures_have_an_alt_text(notebook):
    shown = [o for cell in code_cells(notebook) for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(shown) == len(MNIST_FIGURES)
    assert all(len(o.metadata["image/png"]["alt"]) > 40 for o in shown)
    there = {path.name for path in (ROOT / "figures").iterdir()}
    assert MNIST_FIGURES | SPEED_FIGURES <= there <= MNIST_FIGURES | SPEED_FIGURES | ABLATION_FIGURES


# --- as run ---------------------------------------------------------------------------------------------------------


def test_report_holds_all_that_is_promised(digits_report):
    folder, done = digits_report
    out = folder / "out"
    assert {path.name for path in out.iterdir()} == {
        "mnist_normalization.html", "mnist_normalization.ipynb", "figures", "records", "results.csv", "summary.json"}
    assert {path.name for path in (out / "figures").iterdir()} == FIGURES
    table = pd.read_csv(out / "results.csv")
    assert len(table) == 3 * 2 * 1 and set(table.dataset) == {"digits"}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["num_runs"] == 6 and summary["dataset"] == "digits" and len(summary["findings"]) >= 5
    closing = done.stdout.strip().splitlines()
    assert len(closing) == 1 and "mnist_normalization.html" in closing[0] and summary["findings"][0] in closing[0]
    for seed in (0, 1):
        assert f"layer, seed {seed}" in done.stderr, "a progress bar for each run"


def test_nobody_mistakes_the_digits_for_mnist(digits_report):
    out = digits_report[0] / "out"
    page = (out / "mnist_normalization.html").read_text()
    brief = page[page.index("In brief"):page.index("Parameters and environment")]
    assert "Notice" in brief and "not on MNIST" not in brief and "embedded digits" in brief
    for name in FIGURES - {"normalization_axes.svg"}:
        if name.endswith(".svg"):
            assert "embedded digits (not MNIST)" in (out / "figures" / name).read_text(), name
    assert all("digits" in output.metadata["image/png"]["alt"]
               for cell in code_cells(nbformat.read(out / "mnist_normalization.ipynb", 4)) for output in cell.outputs
               if "image/png" in output.get("data", {}) and "Diagram of an activation" not in str(output.metadata))


def test_executed_notebook_has_no_debris(digits_report):
    nb = nbformat.read(digits_report[0] / "out" / "mnist_normalization.ipynb", 4)
    outputs = [output for cell in code_cells(nb) for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert "it/s" not in json.dumps(outputs) and "widgets" not in nb.metadata


def test_findings_stand_first_and_are_those_of_the_summary(digits_report):
    folder, _ = digits_report
    nb = nbformat.read(folder / "out" / "mnist_normalization.ipynb", 4)
    summary = json.loads((folder / "out" / "summary.json").read_text())
    first = next(o for cell in code_cells(nb) for o in cell.outputs)
    text = "".join(first.data["text/markdown"])
    assert all(finding in text for finding in summary["findings"])


def test_again_from_inside_notebooks_trains_nothing(digits_report):
    """Plain papermill, from the notebook's own folder, on the same runs."""
    folder, _ = digits_report
    records = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("record.json")}
    assert len(records) == 6
    done = run("papermill", "mnist_normalization.ipynb", str(folder / "out.ipynb"), "-p", "dataset", "digits",
               "-p", "num_epochs", "1", "-p", "seeds", "[0, 1]", "-p", "runs_dir", str(folder / "runs"),
               "--no-progress-bar", cwd=MAIN.parent)
    assert done.returncode == 0, done.stderr
    assert records == {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("record.json")}
    outputs = json.dumps([cell.outputs for cell in code_cells(nbformat.read(folder / "out.ipynb", 4))])
    assert "it/s" not in outputs and '"stderr"' not in outputs


@pytest.mark.parametrize(("name", "value", "says"), [
    ("sede", "3", "did you mean seeds"), ("num_groups", "3", "1, 2, 4"), ("batch_size", "2000", "at most the 1,437")])
def test_bad_input_stops_plain_papermill(tmp_path, name, value, says):
    runs_dir = tmp_path / "runs"
    done = run("papermill", str(MAIN), str(tmp_path / "out.ipynb"), "-p", "dataset", "digits", "-p", name, value,
               "-p", "runs_dir", str(runs_dir), "--no-progress-bar")
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0 and last.startswith(f"ParameterError: {name}: ") and says in last
    assert not runs_dir.exists() or not list(runs_dir.iterdir()), "nothing was trained"


def test_bad_input_stops_the_report(tmp_path):
    done = run("helpers.report", "-p", "dataset", "digits", "-p", "batch_size", "2000", "-p", "runs_dir",
               str(tmp_path / "runs"), "--output-dir", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: batch_size: got 2000, takes at most the 1,437")
    assert not (tmp_path / "out" / "summary.json").exists()


@pytest.mark.slow
def test_ablations_train_a_small_grid(tmp_path):
    """On the digits, where nothing is published: one seed and one epoch of every question."""
    parameters = {"dataset": "digits", "seeds": [0], "num_epochs": 1, "num_images": 256, "study_seeds": [0, 1],
                  "study_epochs": 1, "original_seeds": [0], "runs_dir": tmp_path / "runs"}
    done = run("helpers.report", str(MAIN.with_name("ablations.ipynb")), "--output-dir", str(tmp_path / "out"),
               *(word for name, value in parameters.items() for word in ("-p", name, str(value))))
    assert done.returncode == 0, done.stderr[-2000:]
    out = tmp_path / "out"
    assert {path.name for path in (out / "figures").iterdir()} == ABLATION_FIGURES - {"ablation_original.svg"}
    summary = json.loads((out / "summary.json").read_text())
    assert len(summary["findings"]) == 8 and not any("not there yet" in finding for finding in summary["findings"])
    table = pd.read_csv(out / "results.csv")
    assert set(table.question) == {"penalty", "parameters", "groups", "batch size", "inside", "luck",
                                   "the study's own penalty", "historical run"}
    assert any("can't stand beside it" in finding for finding in summary["findings"]), "the digits are not MNIST"
    assert set(table[table.question == "penalty"].l1_lambda) == {0, 1e-5, 1e-4, 1e-3, 1e-2}
    kept = [json.loads(line) for line in (out / "records" / "ablations.jsonl").read_text().splitlines()]
    assert len(kept) == summary["num_runs"] - 4 == len({record["run_id"] for record in kept})
    nb = nbformat.read(out / "ablations.ipynb", 4)
    assert not [o for cell in code_cells(nb) for o in cell.outputs if o.get("name") == "stderr"]


@pytest.mark.slow
def test_eight_papermill_runs_at_once_lose_nothing(tmp_path):
    """As a shell loop starts them, on the same folder of runs; the parameters of each from a file.

    Two kernels that start at once may pick the same port, and one dies before its first cell: a race of Jupyter's own
    (papermill's issue 511). Then the same command again, as the README says.
    """
    def one(seed: int):
        (tmp_path / f"{seed}.yaml").write_text(f"dataset: digits\nnorms: [group]\nseeds: [{seed}, 9]\nnum_epochs: 1\n"
                                               f"workers: 1\nruns_dir: {tmp_path / 'runs'}\n"
                                               f"output_dir: {tmp_path / f'out-{seed}'}\n")
        for _ in range(2):
            done = run("papermill", str(MAIN), str(tmp_path / f"{seed}.ipynb"), "-f", str(tmp_path / f"{seed}.yaml"),
                       "--no-progress-bar")
            if "Kernel died before replying to kernel_info" not in done.stderr:
                break
        return done

    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(one, range(8)))
    assert [done.returncode for done in ended] == [0] * 8, [done.stderr[-500:] for done in ended if done.returncode]
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 9, "eight seeds, and one that all of them ask for"
    shared = set()
    for seed in range(8):
        summary = json.loads((tmp_path / f"out-{seed}" / "summary.json").read_text())
        assert summary["seeds"] == [seed, 9] and summary["num_runs"] == 2
        table = pd.read_csv(tmp_path / f"out-{seed}" / "results.csv")
        shared.add(table[table.seed == 9].val_loss.item())
    assert len(shared) == 1
