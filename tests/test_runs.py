"""Each run is trained once, found again by its content, and the same beside others as alone."""

import json
import multiprocessing
import time
from dataclasses import replace

import pytest

from helpers import progress
from helpers import records as kept
from helpers.config import ParameterError
from helpers.records import environment, read_record, run_id
from helpers.runs import train_all
from helpers.training import DivergedError


def numbers(record: dict) -> list:
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in record["history"]]
    return [record["run_id"], record["num_parameters"], rows, record["wrong"]]


@pytest.fixture
def fits(monkeypatch):
    """The configurations that were really trained in this process."""
    seen = []

    def counted(config, *args, **kwargs):
        seen.append(config)
        return real(config, *args, **kwargs)

    real = kept.fit
    monkeypatch.setattr(kept, "fit", counted)
    return seen


def test_runs_side_by_side_give_the_bits_of_runs_alone(tiny_data, make_config, tmp_path):
    configs = [make_config(norm, seed) for norm in ("layer", "group", "batch") for seed in (0, 1)]
    beside, failures = train_all(configs, tiny_data, tmp_path / "beside", workers=2)
    assert not failures
    assert [(r["config"]["norm"], r["config"]["seed"]) for r in beside] == [(c.norm, c.seed) for c in configs]
    for config, record in zip(configs, beside, strict=True):
        (alone,), _ = train_all([config], tiny_data, tmp_path / "alone")
        assert numbers(alone) == numbers(record)


def test_a_run_is_trained_once(tiny_data, make_config, tmp_path, fits):
    configs = [make_config("layer"), make_config("batch")]
    first, _ = train_all(configs, tiny_data, tmp_path, workers=1)
    assert fits == configs
    again, _ = train_all(configs[::-1], tiny_data, tmp_path, workers=1)
    assert len(fits) == 2 and again == first[::-1]
    train_all([replace(configs[0], seed=9)], tiny_data, tmp_path)
    assert len(fits) == 3


def test_identity_is_the_content(tiny_data, make_config):
    config, fingerprint = make_config(), tiny_data.fingerprint
    name = run_id(config, fingerprint)
    assert name == run_id(make_config(), fingerprint) and name.startswith("group-seed0-")
    others = [replace(config, seed=1), replace(config, num_epochs=3), replace(config, num_groups=4),
              replace(config, norm="layer", num_groups=None), replace(config, device="cuda"),
              *[replace(config, recipe=replace(config.recipe, **{field: value})) for field, value in
                [("lr", 0.3), ("batch_size", 8), ("dropout", 0.1), ("ema_decay", 0.0), ("fill", 1.0),
                 ("nesterov", False)]]]
    names = {run_id(other, fingerprint) for other in others} | {run_id(config, "other data"), name}
    assert len(names) == len(others) + 2


@pytest.mark.parametrize("damage", [
    b"", b"{}", b"[1]", b"\xff\xfe", b'{"history": []}', b"[" * 100_000, "foreign", {"history": []}, {"history": "a"},
    {"history": [{}]}, {"wrong": None}, {"wrong": [[1, 2]]}, {"wrong": []}, {"num_parameters": None},
    {"environment": "x"}, {"dataset": None}, {"config": {}}])
def test_damaged_record_is_set_aside_and_trained_again(tiny_data, make_config, tmp_path, damage):
    config = make_config(num_epochs=1)
    (record,), _ = train_all([config], tiny_data, tmp_path)
    path = tmp_path / record["run_id"] / "record.json"
    if damage == "foreign":
        (other,), _ = train_all([replace(config, seed=1)], tiny_data, tmp_path)
        damage = json.dumps(other).encode()
    elif isinstance(damage, dict):
        damage = json.dumps({**record, **damage}).encode()
    path.write_bytes(damage)
    (again,), _ = train_all([config], tiny_data, tmp_path)
    assert numbers(again) == numbers(record) and path.with_suffix(".damaged").exists()
    assert read_record(path.parent) == again


def _train(config, data, folder, queue):
    calls = []
    real = kept.fit
    kept.fit = lambda *args, **kwargs: calls.append(1) or time.sleep(0.5) or real(*args, **kwargs)
    (record,), _ = train_all([config], data, folder)
    queue.put((len(calls), numbers(record)))


def test_two_processes_that_want_the_same_run_train_it_once(tiny_data, make_config, tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_train, args=(make_config(), tiny_data, tmp_path, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    outcomes = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(count for count, _ in outcomes) == [0, 1]
    assert outcomes[0][1] == outcomes[1][1]


@pytest.mark.parametrize("workers", [1, 2])
def test_one_diverging_run_does_not_stop_the_others(tiny_data, make_config, tmp_path, workers):
    configs = [make_config("layer", lr=1e30), make_config("group"), make_config("batch")]
    records, failures = train_all(configs, tiny_data, tmp_path, workers=workers)
    assert [record["config"]["norm"] for record in records] == ["group", "batch"]
    assert len(failures) == 1 and "epoch 1" in failures[0] and "layer" in failures[0]


def test_when_no_run_finishes_that_is_the_error(tiny_data, make_config, tmp_path):
    said = r"no run finished: layer, seed 0.*; batch, seed 0.* or l1_lambda \(1e-05\)"
    with pytest.raises(DivergedError, match=said):
        train_all([make_config("layer", lr=1e30, l1_lambda=0.0), make_config("batch", lr=1e30, ema_decay=0.0)],
                  tiny_data, tmp_path, workers=1)


def test_refused_before_anything_is_trained(tiny_data, make_config, tmp_path, fits):
    with pytest.raises(ParameterError, match="batch_size"):
        train_all([make_config(), make_config(batch_size=1000)], tiny_data, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match=r"runs_dir: got .* takes a folder that can be written"):
        train_all([make_config()], tiny_data, tmp_path / "file")
    assert not fits


def test_every_run_has_its_bar_and_none_is_left(tiny_data, make_config, tmp_path, capsys):
    train_all([make_config("layer", seed=3, batch_size=2)], tiny_data, tmp_path)
    bars = capsys.readouterr().err
    assert "layer, seed 3" in bars and "epoch 2/2" in bars and bars.rstrip(" \r\n")[-5:] != "00:00"
    train_all([make_config("layer", seed=3, batch_size=2)], tiny_data, tmp_path)
    assert capsys.readouterr().err == "", "nothing is trained, so there is no bar"


def test_many_runs_share_one_bar(tiny_data, make_config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "MOST_BARS", 2)
    train_all([make_config("layer", seed=seed) for seed in range(3)], tiny_data, tmp_path, workers=1)
    shown = capsys.readouterr().err
    assert "3 runs" in shown and "layer, seed" not in shown


def test_environment_names_no_path_or_host():
    import getpass
    import socket

    text = json.dumps(environment())
    assert socket.gethostname() not in text and "/" not in text.replace("GB/s", "")
    assert environment()["torch"][0].isdigit() and getpass.getuser() != environment()["processor"]


def test_published_records_answer_the_same_question_on_any_device(tiny_data, make_config, tmp_path, fits):
    configs = [make_config(norm, seed) for norm in ("layer", "batch") for seed in (0, 1)]
    records, _ = train_all(configs[:3], tiny_data, tmp_path / "runs", workers=1)
    kept.publish_records(records, "some", tmp_path)
    assert len((tmp_path / "some.jsonl").read_text().splitlines()) == 3
    published = kept.published_records(tmp_path)
    asked = [replace(config, recipe=replace(config.recipe, precision="bfloat16")) for config in configs]
    answers, _ = train_all(asked, tiny_data, tmp_path / "elsewhere", workers=1, published=published)
    assert answers[:3] == records and fits == [*configs[:3], asked[3]], "what was not published is trained"
    other_question = replace(configs[0], recipe=replace(configs[0].recipe, lr=0.3))
    train_all([other_question], tiny_data, tmp_path / "elsewhere", published=published)
    assert fits[-1] == other_question
    kept.publish_records(records, "some", tmp_path, whole=False)  # without images: for accuracies, not for the study
    assert kept.published_records(tmp_path) == {}
    assert [r["history"] for r in kept.published_records(tmp_path, whole=False).values()] == [
        record["history"] for record in sorted(records, key=lambda r: r["run_id"])]
    stale = [{**record, "version": 0} for record in records]
    kept.publish_records(stale, "some", tmp_path)
    assert kept.published_records(tmp_path) == {}
