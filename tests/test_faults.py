"""Nothing lost, nothing wrong: kills, full disks, hostile parameters and files."""

import errno
import gzip
import hashlib
import io
import itertools
import json
import math
import multiprocessing
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from conftest import ROOT, run, without_clock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import data as data_module
from helpers import files
from helpers.config import RULES, ParameterError, RunConfig, Study
from helpers.data import DataError, load_dataset
from helpers.model import build_model
from helpers.records import run_id
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


FAULTS = {"a full disk": (os, "fsync", OSError(errno.ENOSPC, "No space left on device")),
          "a forbidden folder": (os, "replace", PermissionError(errno.EACCES, "Permission denied")),
          "no more open files": (tempfile, "mkstemp", OSError(errno.EMFILE, "Too many open files")),
          "a crash before the rename": (os, "replace", Crash())}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_write_fails_once(fault, tiny_data, make_config, tmp_path, monkeypatch):
    """Two runs of two epochs write three files each. Whichever write fails, the next start ends as if none had."""
    configs = [make_config("layer"), make_config("group")]
    whole, _ = train_all(configs, tiny_data, tmp_path / "whole", workers=1)
    module, name, error = FAULTS[fault]
    real = getattr(module, name)
    for number in range(1, 13 if name == "fsync" else 7):  # a write syncs its file and its folder
        calls = itertools.count(1)

        def failing(*arguments, number=number, calls=calls, **named):
            if next(calls) == number:
                raise error
            return real(*arguments, **named)

        folder = tmp_path / f"{number}"
        with monkeypatch.context() as patch:
            patch.setattr(module, name, failing)
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


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """A power cut between the two would leave an empty file under the right name; and one after, no name at all."""
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def noted(*arguments, name=name, real=real):
            target = arguments[0]
            kind = "folder" if isinstance(target, int) and stat.S_ISDIR(os.fstat(target).st_mode) else "file"
            done.append((name, kind))
            return real(*arguments)

        monkeypatch.setattr(os, name, noted)
    files.write_atomically(tmp_path / "record.json", b"{}")
    assert done == [("fsync", "file"), ("replace", "file"), ("fsync", "folder")]


def test_a_disk_that_can_not_be_read_spoils_nothing(tiny_data, make_config, tmp_path, monkeypatch):
    """It is told; what lies there is neither set aside nor trained anew."""
    done, begun = make_config("layer"), make_config("group")
    train_all([done, begun], tiny_data, tmp_path, workers=1)
    (tmp_path / run_id(begun, tiny_data.fingerprint) / "record.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/[cr]*")}

    def failing(path):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing)
        with pytest.raises(DivergedError, match=r"layer, seed 0: Input/output error.* group, seed 0: Input/output"):
            train_all([done, begun], tiny_data, tmp_path, workers=1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/[cr]*")} == before
    records, failures = train_all([done, begun], tiny_data, tmp_path, workers=1)
    assert len(records) == 2 and not failures


def test_a_file_where_a_folder_belongs_is_one_line(tiny_data, make_config, tmp_path):
    (tmp_path / run_id(make_config("layer"), tiny_data.fingerprint)).write_text("")
    records, failures = train_all([make_config("layer"), make_config("group")], tiny_data, tmp_path, workers=1)
    assert len(records) == 1 and failures[0].startswith("layer, seed 0: ") and "\n" not in failures[0]


def test_a_killed_report_goes_on(tmp_path):
    """SIGKILL to `python -m helpers.report` in the middle of the training, then the same command again."""
    command = ["helpers.report", "-p", "dataset", "digits", "-p", "norms", "['group']", "-p", "num_epochs", "6",
               "-p", "seeds", "[0]", "-p", "runs_dir", str(tmp_path / "runs"), "--output-dir", str(tmp_path / "out")]
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    while not list((tmp_path / "runs").glob("*/checkpoint.pt")) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)  # the kernel with it
    assert process.wait() == -signal.SIGKILL and not list((tmp_path / "runs").glob("*/record.json"))
    (checkpoint,) = (tmp_path / "runs").glob("*/checkpoint.pt")
    begun = torch.load(io.BytesIO(checkpoint.read_bytes()[:-32]), weights_only=True)["history"]
    again = run(*command)
    assert again.returncode == 0, again.stderr[-1000:]
    (record,) = (json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/record.json"))
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["num_runs"] == 1
    assert len(begun) < 6 and record["history"][:len(begun)] == begun, "the same seconds: it went on"
    whole, _ = train_all([RunConfig.from_dict(record["config"])], load_dataset("digits"), tmp_path / "whole")
    assert without_clock(record) == without_clock(whole[0])


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
        history = load_checkpoint(path, config, tiny_data, net, optimizer, None, "cpu")
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


def _momentum(change):
    def damage(content):
        state = content["optimizer"]["state"]
        state[0]["momentum_buffer"] = change(state[0]["momentum_buffer"])
    return damage


DAMAGES = {
    "momentum of another shape": _momentum(lambda m: m.flatten()[:3]), "no momentum": _momentum(lambda m: "x"),
    "momentum of another type": _momentum(lambda m: m.double()),
    "weights of another shape": lambda c: c["net"].update({next(iter(c["net"])): torch.zeros(3)}),
    "a weight less": lambda c: c["net"].popitem(), "no average": lambda c: c.update(average=None),
    "no optimizer": lambda c: c.pop("optimizer"), "history of text": lambda c: c.update(history="ab"),
    "empty history": lambda c: c.update(history=[]), "rows of nothing": lambda c: c.update(history=[{}, {}]),
    "too many rows": lambda c: c.update(history=c["history"] * 3),
    "not a number": lambda c: c["history"][0].update(lr=math.nan), "other order": lambda c: c["history"].reverse()}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_is_whole_but_wrong_is_not_used(damage, tiny_data, make_config, tmp_path):
    """Its digest and its run are right: what is in it is looked at too."""
    config, path = make_config("batch"), tmp_path / "checkpoint.pt"
    record = fit(config, tiny_data, path)
    content = torch.load(io.BytesIO(path.read_bytes()[:-32]), weights_only=True)
    DAMAGES[damage](content)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())
    with pytest.warns(UserWarning, match="stands aside as checkpoint.damaged"):
        assert without_clock(fit(config, tiny_data, path)) == without_clock(record)


def test_a_checkpoint_of_other_data_is_not_loaded(tiny_data, make_config, tmp_path):
    path, other = tmp_path / "checkpoint.pt", replace(tiny_data, train_labels=tiny_data.train_labels.flip(0))
    fit(make_config(), other, path)
    with pytest.warns(UserWarning, match=r"\(it is another run's\)"):
        assert without_clock(fit(make_config(), tiny_data, path)) == without_clock(fit(make_config(), tiny_data))


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
