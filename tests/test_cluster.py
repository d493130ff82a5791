"""Runs on a Dask cluster of real processes: the same bits as here, whatever happens to a worker."""

import contextlib
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT, without_clock
from distributed import Client

from helpers import cluster as module
from helpers.config import ParameterError
from helpers.records import read_record, run_id
from helpers.runs import train_all
from helpers.training import VERSION, DivergedError

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def cluster(folder, *worker_options: str):
    """A scheduler and one nanny with its worker, started as the README says, from a folder that holds no helpers."""
    environment = {**os.environ, "PYTHONPATH": "", "DASK_DISTRIBUTED__WORKER__DAEMON": "false"}
    file = folder / "scheduler.json"
    commands = [("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)),
                ("worker", "--scheduler-file", str(file), "--nthreads", "1", *worker_options)]
    started = [subprocess.Popen([sys.executable, "-m", "dask", *command], cwd=folder, env=environment,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands]
    try:
        for _ in range(300):
            if file.exists():
                break
            time.sleep(0.1)
        yield str(file)
    finally:
        for process in started[::-1]:
            process.terminate()
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster")) as file:
        yield file


def test_the_same_bits_as_here_and_the_folder_is_shared(scheduler, tiny_data, make_config, tmp_path):
    configs = [make_config(norm, seed) for norm in ("layer", "batch") for seed in (0, 1)]
    there, failures = train_all(configs, tiny_data, tmp_path / "there", scheduler=scheduler)
    here, _ = train_all(configs, tiny_data, tmp_path / "here", workers=1)
    assert not failures and list(map(without_clock, there)) == list(map(without_clock, here))
    for config in configs:
        folder = tmp_path / "there" / run_id(config, tiny_data.fingerprint)
        assert read_record(folder) and (folder / "checkpoint.pt").exists()


def test_results_travel_back_where_no_folder_is_shared(scheduler, tiny_data, make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_mark", lambda folder: "another machine's")
    config = make_config("group", 3)
    (there,), _ = train_all([config], tiny_data, tmp_path / "there", scheduler=scheduler)
    (here,), _ = train_all([config], tiny_data, tmp_path / "here")
    folder = tmp_path / "there" / run_id(config, tiny_data.fingerprint)
    assert without_clock(there) == without_clock(here) and read_record(folder) == there
    assert not (folder / "checkpoint.pt").exists()


def test_a_diverged_run_is_told_and_the_others_go_on(scheduler, tiny_data, make_config, tmp_path):
    good, bad = make_config("layer", 0), make_config("group", 0, lr=1e20)
    records, failures = train_all([good, bad], tiny_data, tmp_path, scheduler=scheduler)
    assert len(records) == 1 and len(failures) == 1 and "no longer a number" in failures[0]


def test_a_worker_killed_in_the_middle_loses_nothing(scheduler, tiny_data, make_config, tmp_path):
    config = make_config("batch", 0, num_epochs=60)
    checkpoint = tmp_path / "there" / run_id(config, tiny_data.fingerprint) / "checkpoint.pt"
    killed = []

    def kill():
        with Client(scheduler_file=scheduler) as client:
            (pid,) = client.run(os.getpid).values()
        while not checkpoint.exists():
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    (there,), failures = train_all([config], tiny_data, tmp_path / "there", scheduler=scheduler)
    killer.join(10)
    (here,), _ = train_all([config], tiny_data, tmp_path / "here")
    assert killed and not failures and without_clock(there) == without_clock(here)


NOBODY, NO_ADDRESS = "no Dask scheduler with a worker answers there", "takes an address such as"


@pytest.mark.parametrize(("scheduler", "says"), [
    ("127.0.0.1:9", NOBODY), ("ucx://127.0.0.1:9", NOBODY), ("inproc://x:1", NOBODY), ("nowhere.json", NO_ADDRESS),
    ("x" * 300, NOBODY)])
def test_a_scheduler_that_is_not_there_is_one_line(scheduler, says, tiny_data, make_config, tmp_path):
    with pytest.raises(ParameterError, match=f"^scheduler: got '{scheduler}', .*{says}"):
        train_all([make_config()], tiny_data, tmp_path, scheduler=scheduler)


@pytest.mark.parametrize("content", ["", "{}", "null", "[]", "{bad", '{"address": 5}'])
def test_a_scheduler_file_of_anything_is_one_line(content, tiny_data, make_config, tmp_path):
    (tmp_path / "scheduler.json").write_text(content)
    with pytest.raises(ParameterError, match=f"^scheduler: got .*{NOBODY}"):
        train_all([make_config()], tiny_data, tmp_path, scheduler=str(tmp_path / "scheduler.json"))


def test_a_worker_that_served_older_code_runs_the_clients(scheduler, tiny_data, make_config, tmp_path):
    """A worker keeps what it has imported: another version of this project must not answer for this one."""
    older = tmp_path / "older"
    shutil.copytree(ROOT / "helpers", older / "helpers")
    training = older / "helpers" / "training.py"
    training.write_text(re.sub(r"^VERSION = .*", "VERSION = -1", training.read_text(), flags=re.MULTILINE))
    script = ("import sys; from helpers.config import RunConfig; from helpers.runs import train_all\n"
              "import pickle; data, config = pickle.load(open(sys.argv[1], 'rb'))\n"
              "print(train_all([config], data, sys.argv[2], scheduler=sys.argv[3])[0][0]['version'])")
    config = make_config("layer", 5)
    (tmp_path / "what").write_bytes(pickle.dumps((tiny_data, config)))
    asked = subprocess.run([sys.executable, "-c", script, str(tmp_path / "what"), str(tmp_path / "runs"), scheduler],
                           cwd=older, capture_output=True, text=True, timeout=100)
    assert asked.stdout.split() == ["-1"], asked.stderr[-1000:]
    (record,), failures = train_all([config], tiny_data, tmp_path / "runs", scheduler=scheduler)
    assert not failures and record["version"] == VERSION


def test_a_run_that_fails_is_tried_again_and_told(scheduler, tiny_data, make_config, tmp_path, monkeypatch):
    """Twice it fails on whatever machine has no room, the third time it ends; what fails for good is one line."""
    passing, failing = make_config("layer", 0), make_config("layer", 1)
    counts = tmp_path / "counts"
    counts.mkdir()

    def train(name, config, *rest):  # a local function travels whole
        import errno

        from helpers.cluster import _train_on_worker
        tries = len(list(counts.glob(f"{config.seed}-*")))
        (counts / f"{config.seed}-{tries}").touch()
        if config.seed == 1 or tries < 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return _train_on_worker(name, config, *rest)

    monkeypatch.setattr(module, "_train_on_worker", train)
    records, failures = train_all([passing, failing], tiny_data, tmp_path / "runs", scheduler=scheduler)
    assert [record["config"]["seed"] for record in records] == [0]
    (failure,) = failures
    assert failure.startswith("layer, seed 1: No space left on device")
    assert len(list(counts.glob("0-*"))) == 3 == len(list(counts.glob("1-*")))


def test_a_scheduler_that_dies_is_told(tiny_data, make_config, tmp_path):
    """What was computed stays, and the next start goes on."""
    config = make_config("batch", 0, num_epochs=100_000)
    checkpoint = tmp_path / "runs" / run_id(config, tiny_data.fingerprint) / "checkpoint.pt"
    with cluster(tmp_path) as file:
        def kill():
            while not checkpoint.exists():
                time.sleep(0.01)
            pid = Client(scheduler_file=file).run_on_scheduler(os.getpid)
            os.kill(pid, signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
        with pytest.raises(DivergedError, match="batch, seed 0: the scheduler is gone"):
            train_all([config], tiny_data, tmp_path / "runs", scheduler=file)
    assert checkpoint.exists()


def test_a_folder_that_the_worker_can_only_read(scheduler, tiny_data, make_config, tmp_path, monkeypatch):
    """As where nothing is shared: the result travels back."""
    def train(*arguments):
        import errno

        import helpers.cluster

        def refuse(*_):
            raise OSError(errno.EROFS, "Read-only file system")

        keep, helpers.cluster.train_one = helpers.cluster.train_one, refuse
        try:
            return helpers.cluster._train_on_worker(*arguments)
        finally:
            helpers.cluster.train_one = keep

    monkeypatch.setattr(module, "_train_on_worker", train)
    config = make_config("group", 7)
    (record,), failures = train_all([config], tiny_data, tmp_path / "runs", scheduler=scheduler)
    assert not failures and read_record(tmp_path / "runs" / record["run_id"]) == record


def test_a_worker_with_another_torch_is_refused(tiny_data, make_config, tmp_path):
    (tmp_path / "older.py").write_text("import torch\ntorch.__version__ = '1.13.1'\n")
    with (cluster(tmp_path, "--preload", str(tmp_path / "older.py")) as file,
          pytest.raises(ParameterError, match=r"has torch 1\.13\.1, this process has ")):
        train_all([make_config()], tiny_data, tmp_path / "runs", scheduler=file)
    assert not list((tmp_path / "runs").glob("*/record.json"))


def test_a_worker_with_another_torch_that_comes_later_is_refused_too(scheduler, tiny_data, make_config, tmp_path,
                                                                     monkeypatch):
    def train(*arguments):
        import helpers.cluster
        keep, helpers.cluster.torch_version = helpers.cluster.torch_version, lambda: "1.13.1"
        try:
            return helpers.cluster._train_on_worker(*arguments)
        finally:
            helpers.cluster.torch_version = keep

    monkeypatch.setattr(module, "_train_on_worker", train)
    with pytest.raises(DivergedError, match=r"has torch 1\.13\.1, who asks has "):
        train_all([make_config()], tiny_data, tmp_path / "runs", scheduler=scheduler)
    assert not list((tmp_path / "runs").glob("*/record.json"))
