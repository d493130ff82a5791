"""Runs are found again by their content; what is no record is set aside; published records are read anywhere."""

import json
import random
from dataclasses import replace

import pytest
from support import made_up_record, prefill

from helpers.config import ParameterError
from helpers.runs.store import Store, publish_records, published_records, run_id, seal, unseal


def test_identity_is_the_content(make_config):
    config = make_config()
    others = [replace(config, seed=1), replace(config, num_epochs=3), replace(config, num_groups=4),
              make_config("layer"), replace(config, device="cuda"), make_config(lr=0.3), make_config(batch_size=8),
              make_config(dropout=0.1), make_config(ema_decay=0.0), make_config(fill=1.0)]
    ids = {run_id(other, "data") for other in others}
    ids |= {run_id(config, "data"), run_id(make_config(), "data"), run_id(config, "other data")}
    assert len(ids) == len(others) + 2
    assert run_id(config, "data").startswith("group-seed0-")


def test_damaged_record_is_set_aside(store, make_config):
    prefill(store, [make_config()])
    run = store.run(make_config())
    record = store.find(run.config)
    assert record == run.read_record()
    assert record["run_id"] == run.id == run.folder.name
    path = run.folder / "record.json"
    debris = run.folder / ".checkpoint.pt.abc.tmp"
    debris.write_bytes(b"half")  # of a killed process
    another = seal(made_up_record(make_config(seed=1), store.data)).encode()
    outside = seal({**record, "run_id": "../../outside"}).encode()  # a run id leads nowhere else
    for content in (b"", b"\xff\xfe", b"[" * 100_000, json.dumps(record).encode(), another, outside):
        path.write_bytes(content)
        with run.locked():
            assert run.take_record() is None, content[:100]
        assert not debris.exists()
        assert not path.exists()
        assert path.with_suffix(".damaged").read_bytes() == content


@pytest.mark.parametrize("edit", [('"val_accuracy": 90.0', '"val_accuracy": 100.0'), ('"sha256"', '"sha257"')])
def test_a_changed_record_is_noticed_in_a_folder_and_published(edit, store, make_config, tmp_path):
    run = store.run(make_config("layer"))
    record = made_up_record(run.config, store.data)
    with run.locked():
        run.write_record(record)
    publish_records([record], "some", tmp_path)
    for path in (run.folder / "record.json", tmp_path / "some.jsonl"):
        text = path.read_text()
        assert edit[0] in text
        path.write_text(text.replace(*edit))
    assert run.read_record() is None
    with pytest.raises(ParameterError, match=r"line 1 of some\.jsonl is no published run \(it was changed after"):
        published_records(tmp_path)


def test_any_flipped_bit_in_a_record_is_noticed(tiny_data, make_config):
    line = bytearray(seal(made_up_record(make_config(), tiny_data)).encode())
    positions = random.Random(0)
    for _ in range(1000):
        damaged = line.copy()
        damaged[positions.randrange(len(line))] ^= 1 << positions.randrange(8)
        with pytest.raises(ValueError):
            unseal(damaged.decode())


def test_a_published_run_that_is_not_whole_or_not_sealed_is_refused(tiny_data, make_config, tmp_path):
    record = made_up_record(make_config("layer"), tiny_data)
    assert len(published_records(whole=False)) > 200, "those of this project are found"
    for line in (seal({**record, "history": record["history"][:1]}), json.dumps(record)):
        (tmp_path / "some.jsonl").write_text(line)
        with pytest.raises(ParameterError, match=r"line 1 of .* is no published run"):
            published_records(tmp_path)


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
