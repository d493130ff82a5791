"""Nothing lost, nothing wrong: kills, full disks, hostile parameters and files."""

import errno
import gzip
import itertools
import json
import multiprocessing
import os
import random
import time
import warnings
from dataclasses import fields, replace

import pytest
from conftest import without_clock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import data as data_module
from helpers import files
from helpers.config import RULES, ParameterError, Study
from helpers.data import DataError
from helpers.model import build_model
from helpers.runs import train_all
from helpers.training import DivergedError, fit, load_checkpoint, make_optimizer, resolve_device, resolve_precision

pytestmark = pytest.mark.slow


# --- killed, or without a disk --------------------------------------------------------------------------------------


def _checkpoints(folder) -> list[int]:
    return [path.stat().st_mtime_ns for path in (folder / "killed").glob("*/checkpoint.pt")]


def test_killed_at_twenty_random_moments(tiny_data, make_config, tmp_path):
    """SIGKILL: nothing is cleaned up. The next start goes on, and the end is that of an uninterrupted run."""
    config, moments = make_config("batch", num_epochs=120), random.Random(0)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["helpers.runs"])
    kills, epochs = 0, 0
    while kills < 20:
        process = context.Process(target=train_all, args=([config], tiny_data, tmp_path / "killed"))
        process.start()
        for _ in range(moments.randrange(3)):  # that many epochs later, and a bit
            before = _checkpoints(tmp_path)
            while process.is_alive() and _checkpoints(tmp_path) == before:
                time.sleep(0.001)
            epochs += 1
        time.sleep(moments.uniform(0, 0.1))
        assert process.is_alive(), "it is killed at work"
        process.kill()
        process.join()
        kills += 1
    assert epochs > 10, "each start went on where the one before was killed"
    (killed,), _ = train_all([config], tiny_data, tmp_path / "killed")
    (whole,), _ = train_all([config], tiny_data, tmp_path / "whole")
    assert without_clock(killed) == without_clock(whole)
    (place,) = (path for path in (tmp_path / "killed").iterdir() if path.is_dir())
    assert {path.name for path in place.iterdir()} == {".lock", "checkpoint.pt", "record.json"}, "no debris, no damage"


class Crash(BaseException):
    """As if the process ended here: nothing catches it."""


FAULTS = {"a full disk": ("fsync", OSError(errno.ENOSPC, "No space left on device")),
          "a forbidden folder": ("replace", PermissionError(errno.EACCES, "Permission denied")),
          "a crash before the rename": ("replace", Crash())}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_write_fails_once(fault, tiny_data, make_config, tmp_path, monkeypatch):
    """Two runs of two epochs write three files each. Whichever write fails, the next start ends as if none had."""
    configs = [make_config("layer"), make_config("group")]
    whole, _ = train_all(configs, tiny_data, tmp_path / "whole", workers=1)
    name, error = FAULTS[fault]
    real = getattr(os, name)
    for number in range(1, 7):
        calls = itertools.count(1)

        def failing(*arguments, number=number, calls=calls):
            if next(calls) == number:
                raise error
            return real(*arguments)

        folder = tmp_path / f"{number}"
        with monkeypatch.context() as patch:
            patch.setattr(files.os, name, failing)
            if isinstance(error, Crash):
                with pytest.raises(Crash):
                    train_all(configs, tiny_data, folder, workers=1)
            else:
                records, failures = train_all(configs, tiny_data, folder, workers=1)
                assert len(records) == len(failures) == 1, "the other run goes on"
                assert error.strerror in failures[0] and "goes on from the last finished epoch" in failures[0]
        assert not list(folder.rglob("*.tmp")) and not list(folder.rglob("*.damaged"))
        after, failures = train_all(configs, tiny_data, folder, workers=1)
        assert not failures and list(map(without_clock, after)) == list(map(without_clock, whole))


def test_a_half_written_file_of_a_killed_process_is_cleared(tiny_data, make_config, tmp_path):
    (record,), _ = train_all([make_config(num_epochs=1)], tiny_data, tmp_path)
    debris = tmp_path / record["run_id"] / ".checkpoint.pt.abc.tmp"
    debris.write_bytes(b"half")
    (tmp_path / record["run_id"] / "record.json").unlink()
    train_all([make_config(num_epochs=1)], tiny_data, tmp_path)
    assert not debris.exists()


# --- hostile files --------------------------------------------------------------------------------------------------


def test_a_checkpoint_with_a_flipped_bit_is_not_used(tiny_data, make_config, tmp_path):
    config, path = make_config("batch"), tmp_path / "checkpoint.pt"
    fit(config, tiny_data, path)
    content, places = path.read_bytes(), random.Random(0)

    def load():
        net = build_model(config.norm, seed=9)
        optimizer = make_optimizer(net, config.recipe)
        history = load_checkpoint(path, config, net, optimizer, None, "cpu")
        return history, [value.tolist() for value in net.state_dict().values()]

    saved = load()
    fresh = [value.tolist() for value in build_model(config.norm, seed=9).state_dict().values()]
    for _ in range(100):
        damaged = bytearray(content)
        damaged[places.randrange(len(damaged))] ^= 1 << places.randrange(8)
        path.write_bytes(bytes(damaged))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            history, state = load()
        assert saved[0] and (history, state) == ([], fresh), "never loaded half"


def test_another_runs_checkpoint_is_not_loaded(tiny_data, make_config, tmp_path):
    path = tmp_path / "checkpoint.pt"
    fit(make_config(seed=1), tiny_data, path)  # fits in every shape
    with pytest.warns(UserWarning, match=r"checkpoint of group, seed 0 .* stands aside .* \(it is another run's\)"):
        record = fit(make_config(seed=0), tiny_data, path)
    assert without_clock(record) == without_clock(fit(make_config(seed=0), tiny_data))


@settings(max_examples=200, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_an_altered_idx_file_is_one_line(mnist_dir, tmp_path, data):
    """Cut, flipped, repeated or random bytes, packed or not: never other labels than MNIST's."""
    name = "t10k-labels-idx1-ubyte"
    archive = (mnist_dir / f"{name}.gz").read_bytes()
    packed = data.draw(st.booleans())
    content = archive if packed else gzip.decompress(archive)
    place = data.draw(st.integers(0, len(content) - 1))
    altered = data.draw(st.sampled_from([
        content[:place], content[:place] + bytes([content[place] ^ 1]) + content[place + 1:], content + content[place:],
        content[place:], b"\x1f\x8b" + content[place:]]) | st.binary(max_size=60))
    for path in tmp_path.iterdir():
        path.unlink()
    (tmp_path / (f"{name}.gz" if packed else name)).write_bytes(altered)
    try:
        found = data_module._find(name, tmp_path)
    except DataError as error:
        assert name in str(error) and "\n" not in str(error)
    else:
        assert found == gzip.decompress(archive), "a byte of gzip's header may say anything"


def test_an_archive_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    with gzip.open(path, "wb", 1) as file:
        for _ in range(64):
            file.write(bytes(2**20))
    seen = []
    real = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: seen.append(size) or real(self, size))
    with pytest.raises(DataError, match="SHA-256"):
        data_module._find("t10k-labels-idx1-ubyte", tmp_path)
    assert seen == [10_009], "one byte more than there should be"


# --- hostile parameters ---------------------------------------------------------------------------------------------

JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary(max_size=4),
                 st.lists(st.integers(-2, 5), max_size=3), st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
                 st.sampled_from(["../../etc", "[0, 1]", "layer", "cuda", "auto", "1e400", "\0", "~nobody/x"]))
SANE = {"batch_size": st.integers(1, 40), "num_epochs": st.integers(1, 1000), "lr": st.floats(1e-6, 10),
        "momentum": st.floats(0, 0.999), "dropout": st.floats(0, 0.99), "seeds": st.lists(st.integers(0, 2**31 - 1)),
        "l1_lambda": st.floats(0, 1), "ema_decay": st.floats(0, 0.999), "rotation": st.floats(0, 180),
        "num_groups": st.sampled_from([1, 2, 3, 4]), "label_smoothing": st.floats(0, 0.99),
        "norms": st.lists(st.sampled_from(["layer", "group", "batch", "none"]), max_size=3),
        "schedule": st.sampled_from(["step", "one_cycle", "constant"]),
        "precision": st.sampled_from(["auto", "bfloat16"])}


@settings(max_examples=500, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_any_parameters_train_two_steps_or_are_refused_in_one_line(tiny_data, data):
    names = [field.name for field in fields(Study)]
    chosen = data.draw(st.lists(st.sampled_from(names), unique=True, max_size=4))
    values = {name: data.draw(SANE[name] if name in SANE and data.draw(st.integers(0, 3)) else JUNK)
              for name in chosen}
    size = (values.get("batch_size") or 64) if isinstance(values.get("batch_size"), int) else 64
    two_steps = replace(tiny_data, train_images=tiny_data.train_images[:2 * min(size, 35)],
                        train_labels=tiny_data.train_labels[:2 * min(size, 35)], val_images=tiny_data.val_images[:3],
                        val_labels=tiny_data.val_labels[:3])
    try:
        study = Study.from_dict(values)
        device = resolve_device(study.device)
        configs = study.run_configs(device, resolve_precision(study.training_recipe().precision, device))
        record = fit(replace(configs[-1], num_epochs=1), two_steps)
        assert record["num_parameters"] > 10_000
    except ParameterError as error:
        assert "\n" not in str(error) and any(str(error).startswith(f"{name}: ") for name in (*chosen, "batch_size"))
    except DivergedError as error:
        assert "\n" not in str(error) and "learning rate" in str(error)


def test_every_parameter_may_be_junk(tiny_data):
    """What no rule accepts is refused by each parameter's own name."""
    for name in (field.name for field in fields(Study)):
        with pytest.raises(ParameterError, match=f"^{name}: got .*takes "):
            Study.from_dict({name: object()})
        assert not RULES[name].accepts({})


def test_a_run_id_leads_nowhere_else(tiny_data, make_config, tmp_path):
    """A record that names another folder, or a path, is not taken for the run's own."""
    (record,), _ = train_all([make_config(num_epochs=1)], tiny_data, tmp_path)
    for name in ("../../outside", "/etc/passwd", record["run_id"] + "/.."):
        path = tmp_path / record["run_id"] / "record.json"
        path.write_text(json.dumps({**record, "run_id": name}))
        (again,), _ = train_all([make_config(num_epochs=1)], tiny_data, tmp_path)
        assert again["run_id"] == record["run_id"]
    assert {path.name for path in tmp_path.iterdir()} == {record["run_id"]}
