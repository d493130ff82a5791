"""Nothing is lost and nothing is wrong after kills, full disks and disks that can't be read."""

import contextlib
import errno
import json
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from support import ROOT, prefill, run, without_clock

from helpers import files
from helpers.runs import one
from helpers.runs.store import Store
from helpers.runs.train_all import train_all
from helpers.training import DivergedError

pytestmark = pytest.mark.slow

# Its processes start with torch imported.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["helpers.runs.train_all", "torch._dynamo"])


@pytest.fixture
def store(tiny_data, tmp_path) -> Store:
    """For runs of short epochs, so that much of their time goes into writing."""
    small = replace(tiny_data, train_images=tiny_data.train_images[:20], train_labels=tiny_data.train_labels[:20])
    return Store(tmp_path / "runs", small)


def change_time(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


def test_killed_at_random_moments(store, make_config, tmp_path):
    """SIGKILL: nothing is cleaned up. The next start goes on, and the end is that of an uninterrupted run."""
    config = make_config("batch", num_epochs=60)
    folder = store.run(config).folder
    checkpoint = folder / "checkpoint.pt"
    moments = random.Random(0)
    num_epochs = 0
    for _ in range(10):
        process = FORKS.Process(target=train_all, args=([config], store))
        process.start()
        for _ in range(moments.randrange(3)):  # that many epochs later, and a bit
            before = change_time(checkpoint)
            while process.is_alive() and change_time(checkpoint) == before:
                time.sleep(0.001)
            num_epochs += 1
        time.sleep(moments.uniform(0, 0.03))
        assert process.is_alive(), "it is killed at work"
        process.kill()
        process.join()
    assert len(store.run(config).checkpoint.load().history) >= num_epochs > 5, "each start went on"
    (killed,), _ = train_all([config], store)
    (whole,), _ = train_all([config], Store(tmp_path / "whole", store.data))
    assert without_clock(killed) == without_clock(whole)
    left = {path.name for path in folder.iterdir()}
    assert left == {".lock", "checkpoint.pt", "record.json", "weights.safetensors"}, "no debris, no damage"


def train_and_count(config, store, queue) -> None:
    one.fit = mock.Mock(wraps=one.fit)
    (record,), _ = train_all([config], store)
    queue.put((one.fit.call_count, record))


def test_two_processes_that_want_the_same_run_train_it_once(store, make_config):
    queue = FORKS.Queue()
    config = make_config(num_epochs=40)
    processes = [FORKS.Process(target=train_and_count, args=(config, store, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    outcomes = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(num_fits for num_fits, _ in outcomes) == [0, 1]
    assert outcomes[0][1] == outcomes[1][1]


class Crash(BaseException):
    """As if the process ended here: nothing catches it."""


FAULTS = {
    "a full disk": (os, "fsync", OSError(errno.ENOSPC, "No space left on device")),
    "a forbidden folder": (os, "replace", PermissionError(errno.EACCES, "Permission denied")),
    "no more open files": (files, "open", OSError(errno.EMFILE, "Too many open files")),
    "a crash before the rename": (os, "replace", Crash())}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_write_fails_once(fault, store, make_config, tmp_path):
    """A run of two epochs writes four files. Whichever of them fails, the next start ends as if none had."""
    configs = [make_config("layer"), make_config("group")]
    whole, _ = train_all(configs, store, workers=1)
    module, name, error = FAULTS[fault]
    num_calls = 8 if name == "fsync" else 4  # a write syncs its file and its folder
    for number in range(1, num_calls + 1):
        effects = [mock.DEFAULT] * (number - 1) + [error] + [mock.DEFAULT] * 99
        failed = Store(tmp_path / f"{number}", store.data)
        real = getattr(module, name, open)
        with mock.patch.object(module, name, create=True, wraps=real, side_effect=effects), \
                contextlib.suppress(Crash):
            records, failures = train_all(configs, failed, workers=1)
            assert len(records) == len(failures) == 1, "the other run goes on"
            assert f"{error.strerror}; the next start goes on from the last finished epoch" in failures[0]
        assert not list(failed.folder.rglob("*.tmp"))
        after, failures = train_all(configs, failed, workers=1)
        assert not failures
        assert list(map(without_clock, after)) == list(map(without_clock, whole))
        assert not list(failed.folder.rglob("*.damaged"))


def test_a_disk_that_can_not_be_read_spoils_nothing(store, make_config):
    """It is told; what lies there is neither set aside nor trained anew."""
    done = make_config("layer")
    begun = make_config("group")
    prefill(store, [done])
    train_all([begun], store)
    (store.run(begun).folder / "record.json").unlink()
    files = [store.run(done).folder / "record.json", store.run(begun).folder / "checkpoint.pt"]
    before = list(map(change_time, files))
    with mock.patch.object(Path, "read_bytes", side_effect=OSError(errno.EIO, "Input/output error")), \
            pytest.raises(DivergedError, match=r"layer, seed 0: Input/output error.* group, seed 0: Input/output"):
        train_all([done, begun], store, workers=1)
    assert list(map(change_time, files)) == before
    records, failures = train_all([done, begun], store, workers=1)
    assert len(records) == 2
    assert not failures


TRAIN = """
import json, pickle
from pathlib import Path
from helpers.runs.train_all import train_all
configs, store = pickle.loads(Path(asked).read_bytes())
(record,), _ = train_all(configs, store)
Path(output_dir, "summary.json").write_text(json.dumps({"findings": ["trained"], "history": record["history"]}))
"""


def test_a_killed_report_goes_on(store, make_config, tmp_path):
    """SIGKILL to `python -m helpers.report` in the middle of the training, then the same command again."""
    config = make_config(num_epochs=100)
    checkpoint = store.run(config).checkpoint
    (tmp_path / "asked").write_bytes(pickle.dumps(([config], store)))
    parameters = new_code_cell("# Parameters\nasked = ''\noutput_dir = None", metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[parameters, new_code_cell(TRAIN)]), tmp_path / "small.ipynb")
    command = ["helpers.report", str(tmp_path / "small.ipynb"), "-p", "asked", str(tmp_path / "asked"),
               "--output-dir", str(tmp_path / "out")]
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    while not checkpoint.path.exists() and process.poll() is None:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)  # the kernel with it
    assert process.wait() == -signal.SIGKILL
    begun = checkpoint.load().history
    assert len(begun) < 100
    assert store.find(config) is None
    again = run(*command)
    assert again.returncode == 0, again.stderr[-1000:]
    history = json.loads((tmp_path / "out" / "summary.json").read_text())["history"]
    assert len(history) == 100
    assert history[:len(begun)] == begun, "the same seconds: it went on"
