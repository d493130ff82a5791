"""Each run is trained once, and is the same beside others as alone."""

import os
import re
import sys
from dataclasses import replace
from unittest import mock

import pytest
import torch
from support import made_up_record, prefill, without_clock

from helpers.config import ParameterError
from helpers.files import MOST_BYTES
from helpers.runs import one
from helpers.runs import train_all as module
from helpers.runs.one import Outcome
from helpers.runs.store import Store
from helpers.runs.train_all import train_all
from helpers.runs.weights import FILE_NAME, read_weights
from helpers.training import DivergedError


@pytest.fixture
def fits(monkeypatch):
    """Counts what is really trained in this process."""
    monkeypatch.setattr(one, "fit", mock.Mock(wraps=one.fit))
    return one.fit


@pytest.mark.slow
def test_runs_side_by_side_give_the_bits_of_runs_alone(store, make_config, tmp_path):
    """The whole record, whatever number of threads the caller has."""
    configs = [make_config("layer"), make_config("group"), make_config("batch"), make_config("batch", 1)]
    beside, failures = train_all(configs, store, workers=2)
    assert not failures
    assert "batch_statistics" in beside[-1]
    for num_threads in (2, 1):  # the tests' own number in the end
        torch.set_num_threads(num_threads)
        elsewhere = Store(tmp_path / f"{num_threads}", store.data)
        for config, record in zip(configs, beside, strict=True):
            (alone,), _ = train_all([config], elsewhere)
            assert without_clock(alone) == without_clock(record)


def test_a_run_is_trained_once(store, make_config, fits, capsys):
    configs = [make_config("layer"), make_config("batch"), make_config("batch")]
    first, failures = train_all(configs, store, workers=1)
    assert not failures
    assert first[1] == first[2]
    assert fits.call_count == 2
    assert "batch, seed 0: 100%" in capsys.readouterr().err
    again, _ = train_all(configs[::-1], store, workers=1)
    assert again == first[::-1]
    assert fits.call_count == 2
    assert capsys.readouterr().err == "", "no bar"
    (store.run(configs[0]).folder / "record.json").write_text("{}")
    train_all(configs[:1], store)
    assert fits.call_count == 3, "a damaged record"


def make_sparse(path):
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)


THINGS = {
    "a folder": lambda path: (path / "inner").mkdir(parents=True),
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
    "more than a run writes": make_sparse}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes")
@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("name", ["record.json", "checkpoint.pt", "weights.safetensors"])
@pytest.mark.filterwarnings("ignore:the checkpoint of")
def test_what_is_no_file_of_ours_is_set_aside(thing, name, store, make_config, fits):
    """It neither hangs nor stops the run, and the next start finds it finished."""
    run = store.run(make_config(num_epochs=1))
    (run.folder / "record.damaged" / "earlier").mkdir(parents=True)
    THINGS[thing](run.folder / name)
    for _ in range(2):
        records, failures = train_all([run.config], store)
        assert len(records) == 1 and not failures
    assert fits.call_count == 1
    assert run.checkpoint.load()
    assert read_weights(run.folder / FILE_NAME)


def test_what_is_in_the_way_of_a_run_is_named(store, make_config):
    """A folder where its lock belongs, a file where its folder does; another run goes on."""
    first, second, other = (store.run(make_config(norm)) for norm in ("layer", "group", "batch"))
    (first.folder / ".lock" / "inner").mkdir(parents=True)
    second.folder.write_text("")
    records, failures = train_all([first.config, second.config, other.config], store, workers=1)
    assert [record["run_id"] for record in records] == [other.id]
    for run, place, failure in ((first, r"/\.lock", failures[0]), (second, "", failures[1])):
        assert re.search(rf"^{run.title}: .*{run.id}{place}: .*; mend that, or name another runs_dir$", failure)


def test_one_diverging_run_does_not_stop_the_others(store, make_config):
    """When no run finishes, that is the error."""
    configs = [make_config("layer", lr=1e30), make_config("group"), make_config("batch")]
    records, failures = train_all(configs, store, workers=1)
    assert [record["config"]["norm"] for record in records] == ["group", "batch"]
    (failure,) = failures
    assert failure.startswith("layer, seed 0: the loss is no longer a number in epoch 1")
    configs = [make_config("layer", lr=1e30, l1_lambda=0.0), make_config("batch", lr=1e30, ema_decay=0.0)]
    says = r"no run finished: layer, seed 0.*; batch, seed 0.* or l1_lambda \(1e-05\)"
    with pytest.raises(DivergedError, match=says):
        train_all(configs, store, workers=1)


def test_refused_before_anything_is_trained(store, make_config, fits):
    with pytest.raises(ParameterError, match="batch_size"):
        train_all([make_config(), make_config(batch_size=1000)], store)
    assert not fits.called


@pytest.mark.parametrize(("num_epochs", "options", "is_beside"), [
    (2, {}, False), (2, {"workers": 2}, True), (1000, {}, True), (1000, {"workers": 1}, False)])
def test_short_work_is_done_in_this_process(num_epochs, options, is_beside, store, make_config, monkeypatch):
    """A cluster of processes would take longer to start."""
    def beside(todo, on_progress, **_):
        return [(run, Outcome(made_up_record(run.config, run.data))) for run in todo]

    here = mock.Mock(side_effect=lambda run, on_progress: made_up_record(run.config, run.data))
    monkeypatch.setattr(module, "train_side_by_side", beside)
    monkeypatch.setattr(module, "train_one", here)
    monkeypatch.setattr(module, "most_workers", lambda: 4)
    train_all([make_config(seed=seed, num_epochs=num_epochs) for seed in (0, 1)], store, **options)
    assert here.called != is_beside


def test_runs_on_cuda_are_grouped_by_all_but_their_seed(store, make_config, monkeypatch):
    """The device's name is the only difference to a real GPU: the records are made up."""
    asked = []

    def made_up(runs, on_progress):
        asked.append([(run.config.norm, run.config.seed) for run in runs])
        prefill(store, [run.config for run in runs])
        return [Outcome(made_up_record(run.config, run.data)) for run in runs]

    monkeypatch.setattr(module, "train_together", made_up)
    monkeypatch.setattr(module, "MOST_TOGETHER", 2)
    configs = [make_config(norm, seed) for norm in ("layer", "batch") for seed in (0, 1, 2)]
    configs = [replace(config, device="cuda") for config in configs]
    configs.append(configs[0])  # asked for twice: trained once
    records, failures = train_all(configs, store)
    assert not failures
    assert [record["config"] for record in records] == [config.to_dict() for config in configs]
    assert asked == [[("layer", 0), ("layer", 1)], [("layer", 2)], [("batch", 0), ("batch", 1)], [("batch", 2)]]
    train_all(configs, store)
    assert len(asked) == 4
