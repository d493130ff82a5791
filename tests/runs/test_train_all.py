"""Each run is trained once, and is the same beside others as alone."""

from dataclasses import replace
from unittest import mock

import pytest
import torch
from support import made_up_record, prefill, without_clock

from helpers.config import ParameterError
from helpers.runs import one
from helpers.runs import train_all as module
from helpers.runs.one import Outcome
from helpers.runs.store import Store
from helpers.runs.train_all import train_all
from helpers.training import DivergedError


@pytest.fixture
def store(tiny_data, tmp_path) -> Store:
    return Store(tmp_path / "runs", tiny_data)


@pytest.fixture
def fits(monkeypatch):
    """Counts what is really trained in this process."""
    monkeypatch.setattr(one, "fit", mock.Mock(wraps=one.fit))
    return one.fit


@pytest.mark.slow
def test_runs_side_by_side_give_the_bits_of_runs_alone(store, make_config, tmp_path):
    """The whole record, whatever number of threads the caller has."""
    configs = [make_config(norm, seed) for norm in ("layer", "group", "batch") for seed in (0, 1)]
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


def test_refused_before_anything_is_trained(store, make_config, tmp_path, fits):
    with pytest.raises(ParameterError, match="batch_size"):
        train_all([make_config(), make_config(batch_size=1000)], store)
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match=r"runs_dir: got .* takes a folder that can be written"):
        Store(tmp_path / "file", store.data)
    assert not fits.called


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
