"""The confirmation: what the plan announces is what is trained, published and found again."""

import json
import re
from collections import Counter
from dataclasses import replace

import pytest
from support import NOTEBOOKS, made_up_record, prefill

from helpers.config import RECIPES, Study
from helpers.runs import confirm
from helpers.runs.store import Store, publish_records

PLAN = (NOTEBOOKS / "records" / "plan.md").read_text()


@pytest.fixture
def finished(tmp_path, tiny_data, monkeypatch):
    """A store in which every run of the confirmation is finished already; the confirmation is run in it."""
    mnist = replace(tiny_data, name="mnist")
    store = Store(tmp_path / "runs", mnist)
    monkeypatch.setattr(confirm, "load_dataset", lambda name: mnist)
    monkeypatch.setattr(confirm, "Study", lambda: Study(runs_dir=str(tmp_path / "runs")))
    prefill(store, confirm.announced_runs(Study()))
    return store


def test_the_runs_are_those_of_the_plan():
    variants, control = confirm.arms(Study(), confirm.SEEDS)
    assert len(variants) == 60 and len(control) == 20 and len({*variants, *control}) == 80
    tuned = RECIPES["tuned"]
    free = tuned.without_l1()
    cases = Counter((config.norm, config.recipe, config.num_epochs, config.num_groups) for config in variants + control)
    assert cases == dict.fromkeys([("layer", free, 20, None), ("group", free, 20, 2), ("batch", tuned, 20, None),
                                   ("batch", free, 20, None)], 20)
    first, last = map(int, re.search(r"Seeds (\d+) to (\d+) in each arm: 80 runs", PLAN).groups())
    assert {config.seed for config in variants} == set(range(first, last + 1))


def test_finished_runs_are_published_and_found(finished, tmp_path, capsys, monkeypatch):
    confirm.main(tmp_path)
    assert "80 of 80 runs are published" in capsys.readouterr().out
    lines = (tmp_path / "confirmation.jsonl").read_text().splitlines()
    assert len({json.loads(line)["run_id"] for line in lines}) == 80
    published = confirm.published_records(tmp_path)
    monkeypatch.setattr(confirm, "published_records", lambda **options: published)
    found = confirm.Confirmation.find(Study(), finished.data)
    assert found.is_complete and (len(found.records), len(found.control)) == (60, 20)
    assert not confirm.Confirmation.find(Study(num_epochs=19), finished.data).num_found, "another question"
    assert not confirm.Confirmation.find(Study(num_groups=4), finished.data).num_found, "of other groups"
    other = replace(finished.data, val_labels=finished.data.val_labels.flip(0))
    assert not confirm.Confirmation.find(Study(), other).num_found, "other data"
    published.pop(next(iter(published)))
    found = confirm.Confirmation.find(Study(), finished.data)
    assert not found.is_complete and found.state.startswith("79 of 80 runs of the confirmation are there; they are not")


def test_what_was_published_elsewhere_is_kept(finished, tmp_path):
    """A clone has the records that are published, and none of the runs' folders."""
    elsewhere = made_up_record(confirm.arms(Study(), (100,))[0][0], finished.data, num_wrong=7)
    publish_records([elsewhere], "earlier", tmp_path)
    confirm.main(tmp_path)
    lines = (tmp_path / "confirmation.jsonl").read_text().splitlines()
    [kept] = [record for record in map(json.loads, lines) if record["run_id"] == elsewhere["run_id"]]
    assert len(kept["wrong"]) == 7
