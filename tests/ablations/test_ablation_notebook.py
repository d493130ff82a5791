"""The notebook of ablations: its parameters, what it trains, keeps and says."""

import json
from dataclasses import asdict

import pandas as pd
import pytest
from support import made_up_record, prefill

from helpers.ablations import affine, groups, inside
from helpers.ablations.common import TOO_FEW
from helpers.ablations.notebook import AblationNotebook, AblationParameters
from helpers.config import RECIPES, VARIANTS, ParameterError
from helpers.runs.store import Store, hardware_independent_id


@pytest.fixture
def make_notebook(tmp_path, monkeypatch):
    """The notebook of these parameters, on the digits; whoever asks for training gets made-up records."""
    def train(configs, store, workers):
        return [made_up_record(config, store.data) for config in configs], []

    def make(**changes) -> AblationNotebook:
        return AblationNotebook(AblationParameters.from_dict({
            "dataset": "digits", "seeds": [0], "num_epochs": 1, "num_images": 256,
            "original_epochs": 1, "original_seeds": [0], "reuse_records": False, "train_missing": True,
            "runs_dir": str(tmp_path / "runs"), "output_dir": str(tmp_path / "out"), **changes}))

    monkeypatch.setattr("helpers.ablations.notebook.train_all", train)
    return make


@pytest.mark.parametrize(("name", "value", "says"), [
    ("original_seeds", [], "one or more"), ("num_images", 32, "at least 64"), ("dataset", "cifar", "'mnist'"),
    ("train_missing", 1, "or None for True, but False where a part is published")])
def test_it_refuses_in_one_line(tmp_path, make_notebook, name, value, says):
    with pytest.raises(ParameterError, match=f"^{name}: got .*{says}"):
        make_notebook(**{name: value})
    assert not (tmp_path / "runs").exists()


def test_it_keeps_what_was_run_and_said(tmp_path, make_notebook):
    notebook = make_notebook(seeds="[3]", original_seeds="[1]")  # as papermill hands a list on
    frame = notebook.train(groups.runs)
    notebook.train(affine.runs)  # GroupNorm of one group is asked for twice
    study, without_l1 = notebook.train_original()
    notebook.tell("groups", lambda frame, word: f"So {word} is.\n\nThe numbers.", frame, "it")
    notebook.save()
    out = tmp_path / "out"
    summary = json.loads((out / "summary.json").read_text())
    assert summary["findings"] == ["So it is.\n\nThe numbers."] and summary["num_runs"] == 4 + 2 + 4
    assert notebook.brief().startswith("> **Notice.**") and notebook.brief().endswith("- *Groups.* So it is.")
    assert set(frame.seed) == {3} and "groups" in (out / "results.csv").read_text()

    kept = pd.read_json(out / "records" / "ablations.jsonl", lines=True)
    assert len(kept) == 6 and kept.run_id.is_unique and "wrong" not in kept
    original = pd.read_json(out / "records" / "original.jsonl", lines=True)
    assert set(original.run_id) == {record["run_id"] for record in [*study, *without_l1]} and "wrong" in original
    assert [record["config"]["norm"] for record in study] == list(VARIANTS)
    assert without_l1[0]["config"]["recipe"] == asdict(RECIPES["original"].without_l1())
    assert {config["seed"] for config in original.config} == {1}


def test_a_grid_under_way_shows_its_gaps(tmp_path, make_notebook):
    """Asked to train nothing it takes what is published and what is in the folder of runs; else it trains."""
    notebook = make_notebook(train_missing=False)
    frame = notebook.train(affine.runs)
    notebook.show("affine", affine.plot, frame, "digits")
    notebook.tell("affine", affine.finding, frame)
    notebook.tell("again", affine.finding, frame)
    notebook.tell("inside", inside.finding, notebook.look_inside())
    told = f"**3 of 3 runs are not there yet.** {TOO_FEW}"
    assert notebook.answers == {"affine": told, "again": told, "inside": f"**These runs are not there yet.** {TOO_FEW}"}
    notebook.save()  # not one record to keep is no error

    configs = affine.runs(RECIPES["tuned"], (0,), 1)
    store = Store(tmp_path / "runs", notebook.data)
    prefill(store, configs[:1])
    cut = store.run(configs[2]).folder
    cut.mkdir()
    (cut / "record.json").write_text('{"run_id": ')
    published = {hardware_independent_id(configs[1], notebook.data.fingerprint): made_up_record(configs[1], store.data)}
    for train_missing in (False, None):  # None: it is published in part
        notebook = make_notebook(train_missing=train_missing)
        notebook.published = published
        assert list(notebook.train(affine.runs).norm) == ["layer", "layer_plain"]
        assert notebook.missing == "**1 of 3 runs is not there yet.** "
    assert len(notebook.train(groups.runs)) == 4 and notebook.missing == "", "nothing of it is published"
    notebook = make_notebook(train_missing=True)
    assert len(notebook.train(affine.runs)) == 3 and notebook.missing == ""
