"""Runs are found again by their content; what is no record is set aside; published records are read anywhere."""

import json
from dataclasses import replace

import pytest
from support import made_up_record, prefill

from helpers.config import ParameterError
from helpers.runs.store import Store, publish_records, published_records, run_id


def test_identity_is_the_content(make_config):
    config = make_config()
    others = [replace(config, seed=1), replace(config, num_epochs=3), replace(config, num_groups=4),
              make_config("layer"), replace(config, device="cuda"), make_config(lr=0.3), make_config(batch_size=8),
              make_config(dropout=0.1), make_config(ema_decay=0.0), make_config(fill=1.0)]
    ids = {run_id(other, "data") for other in others}
    ids |= {run_id(config, "data"), run_id(make_config(), "data"), run_id(config, "other data")}
    assert len(ids) == len(others) + 2
    assert run_id(config, "data").startswith("group-seed0-")


DAMAGES = [
    b"", b"{}", b"[1]", b"\xff\xfe", b'{"history": []}', b"[" * 100_000, {"history": []}, {"history": "a"},
    {"history": [{}]}, {"wrong": None}, {"wrong": [[1, 2]]}, {"wrong": []}, {"wrong": [["x"] * 5] * 3},
    {"num_parameters": None},
    {"environment": "x"}, {"dataset": None}, {"config": {}},
    {"run_id": "../../outside"}, {"run_id": "/etc/passwd"}]  # a run id leads nowhere else


def test_damaged_record_is_set_aside(tiny_data, make_config, tmp_path):
    store = Store(tmp_path, tiny_data)
    prefill(store, [make_config()])
    run = store.run(make_config())
    record = store.find(run.config)
    assert record == run.read_record()
    assert record["run_id"] == run.id == run.folder.name
    path = run.folder / "record.json"
    debris = run.folder / ".checkpoint.pt.abc.tmp"
    debris.write_bytes(b"half")  # of a killed process
    for damage in [*DAMAGES, made_up_record(make_config(seed=1), tiny_data)]:
        content = damage if isinstance(damage, bytes) else json.dumps({**record, **damage}).encode()
        path.write_bytes(content)
        with run.locked():
            assert run.take_record() is None, damage
        assert not debris.exists()
        assert not path.exists()
        assert path.with_suffix(".damaged").read_bytes() == content


def test_published_records_answer_the_same_question_on_any_device(tiny_data, make_config, tmp_path):
    configs = [make_config(norm, seed) for norm in ("layer", "batch") for seed in (0, 1)]
    records = [made_up_record(config, tiny_data) for config in configs[:3]]
    publish_records(records, "some", tmp_path)
    assert len((tmp_path / "some.jsonl").read_text().splitlines()) == 3
    store = Store(tmp_path / "elsewhere", tiny_data, published_records(tmp_path))
    for config, record in zip(configs, [*records, None], strict=True):
        asked = replace(config, device="cuda", recipe=replace(config.recipe, precision="bfloat16"))
        assert store.find(asked) == record
    assert store.find(make_config("layer", lr=0.3)) is None
    publish_records(records, "some", tmp_path, whole=False)  # for accuracies, not for the study
    assert published_records(tmp_path) == {}
    found = [record["run_id"] for record in published_records(tmp_path, whole=False).values()]
    assert found == sorted(record["run_id"] for record in records)
    publish_records([{**record, "version": 0} for record in records], "some", tmp_path)
    assert published_records(tmp_path) == {}
    with (tmp_path / "some.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(ParameterError, match=r"reuse_records: line 4 of some\.jsonl is no published run"):
        published_records(tmp_path)
