"""Runs on a Dask cluster of real processes: the same bits as here, whatever happens to a worker.

All tests share one scheduler with one worker; the last one kills it.
"""

import contextlib
import errno
import gc
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import dask
import pytest
from distributed import Client, LocalCluster
from support import ROOT, without_clock

from helpers.config import ParameterError
from helpers.runs import cluster, connect, one
from helpers.runs.store import Run, Store
from helpers.runs.train_all import train_all
from helpers.training import VERSION, DivergedError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The file of a scheduler with a nanny and its worker, started as the README says, where no helpers are."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    environment = {**os.environ, "PYTHONPATH": "", "DASK_DISTRIBUTED__WORKER__DAEMON": "false"}
    started = []
    for command in ("scheduler --host 127.0.0.1 --port 0 --no-dashboard", "worker --nthreads 1"):
        command = [sys.executable, "-m", "dask", *command.split(), "--scheduler-file", file]
        started.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL))
    wait_for(file)
    yield str(file)
    for process in started[::-1]:
        process.terminate()
    for process in started:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.01)


@pytest.fixture
def train_here(tiny_data, tmp_path):
    """Trains in this process; the records without the clock."""
    def train(configs):
        records, _ = train_all(configs, Store(tmp_path / "here", tiny_data), workers=1)
        return list(map(without_clock, records))
    return train


@pytest.fixture
def on_worker(monkeypatch):
    """Puts `value` under a name of helpers.runs.cluster while a worker trains."""
    def put(name, value):
        def train(*arguments):  # a local function travels whole
            with mock.patch.object(cluster, name, value):
                return cluster.train_on_worker(*arguments)
        monkeypatch.setattr(cluster, "train_on_worker", train)
    return put


def kill_when_it_trains(run, pid: int) -> None:
    """Kills a process after the run's first epoch."""
    def kill():
        wait_for(run.checkpoint.path)
        os.kill(pid, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()


def test_the_same_bits_as_here_and_the_folder_is_shared(scheduler, store, make_config, train_here):
    """A run that diverges is told, and the others go on."""
    configs = [make_config("layer"), make_config("batch", 1)]
    records, failures = train_all([*configs, make_config("group", lr=1e20)], store, scheduler=scheduler)
    assert list(map(without_clock, records)) == train_here(configs)
    for config, record in zip(configs, records, strict=True):
        assert store.run(config).read_record() == record
        assert store.run(config).checkpoint.load()
    (failure,) = failures
    assert failure.startswith("group, seed 0: the loss is no longer a number")


@pytest.mark.parametrize("folder_is", ["not there", "read-only"])
def test_results_travel_back_where_no_folder_is_shared(
        folder_is, scheduler, store, make_config, train_here, on_worker, monkeypatch):
    def refuse(run, on_progress):
        raise OSError(errno.EROFS, "Read-only file system")

    def elsewhere(config, data, folder, expected):
        return cluster.train_on_worker(config, data, f"{__file__}/no folder", expected)

    if folder_is == "read-only":
        on_worker("train_one", refuse)
    else:
        monkeypatch.setattr(cluster, "train_on_worker", elsewhere)
    config = make_config("group", 7)
    (record,), _ = train_all([config], store, scheduler=scheduler)
    assert [without_clock(record)] == train_here([config])
    assert store.run(config).read_record() == record
    assert store.run(config).checkpoint.load() is None


def test_a_run_that_fails_is_tried_again_and_told(scheduler, store, make_config, tmp_path, on_worker):
    """Twice it fails on whatever machine has no room, the third time it ends; what fails for good is one line."""
    def fail_twice(run, on_progress):
        seed = run.config.seed
        count = len(list(tmp_path.glob(f"{seed}-*")))
        (tmp_path / f"{seed}-{count}").touch()
        if seed == 1 or count < 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return one.train_one(run, on_progress)

    on_worker("train_one", fail_twice)
    records, failures = train_all([make_config(), make_config(seed=1)], store, scheduler=scheduler)
    assert [record["config"]["seed"] for record in records] == [0]
    (failure,) = failures
    assert failure.startswith("group, seed 1: No space left on device")
    assert len(list(tmp_path.glob("0-*"))) == len(list(tmp_path.glob("1-*"))) == 3


def test_a_record_that_can_not_be_kept_is_the_studys_all_the_same(
        scheduler, store, make_config, train_here, on_worker, monkeypatch):
    """Somebody else's lock file lies in the run's folder."""
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied", str(store.run(config).folder / ".lock"))

    config = make_config("group", 9)
    on_worker("train_one", refuse)
    monkeypatch.setattr(Run, "locked", refuse)
    with pytest.warns(UserWarning, match=r"group, seed 9: group-seed9-\w+/\.lock: Permission denied; .*study's alone"):
        (record,), failures = train_all([config], store, scheduler=scheduler)
    assert not failures
    monkeypatch.undo()
    assert [without_clock(record)] == train_here([config])


@pytest.mark.parametrize("address", [
    "127.0.0.1:9", "ucx://127.0.0.1:9", "x".ljust(300, "x"), "nowhere.json", b"{bad", b"[]", b'{"address": 5}'])
def test_a_scheduler_that_is_not_there_is_one_line(address, store, make_config, tmp_path, monkeypatch):
    """bytes: what a scheduler file holds."""
    monkeypatch.setattr(connect, "SECONDS_TO_ANSWER", 1)
    says = "no Dask scheduler with a worker answers there"
    if isinstance(address, bytes):
        (tmp_path / "scheduler.json").write_bytes(address)
        address = str(tmp_path / "scheduler.json")
    elif address == "nowhere.json":
        says = "takes an address such as"
    with pytest.raises(ParameterError, match=f"^scheduler: got '{address}', .*{says}"):
        train_all([make_config()], store, scheduler=address)
    gc.collect()  # Dask's client closes here: in the thread of the next one it would wait for that one


@pytest.mark.parametrize("banner", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"])
def test_a_port_that_accepts_and_stays_silent_is_one_line(banner, store, make_config, monkeypatch):
    monkeypatch.setattr(connect, "SECONDS_TO_ANSWER", 1)
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        def accept():
            with contextlib.suppress(OSError):  # it is closed
                while True:
                    taken.append(server.accept()[0])
                    taken[-1].sendall(banner)

        threading.Thread(target=accept, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(ParameterError, match="no Dask scheduler with a worker answers there"):
            train_all([make_config()], store, scheduler=address)
        assert time.monotonic() - start < 10
    assert taken


def test_no_workers_left_is_told_and_comes_to_an_end(store, make_config, monkeypatch):
    for name, seconds in (("CHECK_SECONDS", 0.2), ("TOLD_SECONDS", 0.5), ("END_SECONDS", 1.5)):
        monkeypatch.setattr(cluster, name, seconds)
    told = pytest.warns(UserWarning, match=r"^the scheduler has had no worker for \d+ s; the runs go on when one comes")
    ended = pytest.raises(DivergedError, match="group, seed 0: there are no workers; the same command goes on")
    with LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as empty, Client(empty) as client:
        monkeypatch.setattr(cluster, "connect", lambda *_: contextlib.nullcontext(client))
        with told, ended:
            train_all([make_config(), make_config(seed=1)], store, workers=2)


def test_the_private_cluster_is_its_users_alone_and_knows_no_sites_settings():
    site = {"distributed.comm.require-encryption": True, "distributed.worker.preload": ["no_such_module"],
            "temporary-directory": "/dev/null/no such folder"}
    with dask.config.set(site), connect.connect(1, None) as client:
        assert client.submit(int, "1").result() == 1
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        for other in (address, address.replace("tls", "tcp")):
            gc.collect()  # see connect.py: the client before failed
            with dask.config.set({"distributed.comm.require-encryption": None}), pytest.raises((OSError, TypeError)):
                Client(other, timeout=1)


SCRIPT = """
import pickle, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored
from helpers.runs.train_all import train_all
print("started", flush=True)
configs, store = pickle.load(open(sys.argv[1], "rb"))
train_all(configs, store, workers=2)
"""


def test_a_script_trains_once_and_ctrl_c_is_one_traceback(store, make_config, tmp_path):
    """Without `if __name__ == "__main__"`, as nbconvert makes one of a notebook; Ctrl-C reaches the whole group."""
    (tmp_path / "script.py").write_text(SCRIPT)
    configs = [make_config(seed=seed, num_epochs=100_000) for seed in (0, 1)]
    (tmp_path / "what").write_bytes(pickle.dumps((configs, store)))
    process = subprocess.Popen([sys.executable, "script.py", "what"], cwd=tmp_path, start_new_session=True, text=True,
                               env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    for config in configs:
        wait_for(store.run(config).checkpoint.path)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out == "started\n"
    assert err.count("Traceback") == 1, err
    assert err.rstrip().endswith("Stopped: run this again: it goes on from the last finished epoch")
    assert err.count('File "') < 8


def test_a_worker_with_another_torch_that_comes_later_is_refused_too(
        scheduler, store, make_config, on_worker, monkeypatch):
    on_worker("torch_version", lambda: "1.13.1")
    with pytest.raises(DivergedError, match=r"the worker at tcp.* has torch 1\.13\.1, this process has "):
        train_all([make_config()], store, scheduler=scheduler)
    monkeypatch.setattr(cluster, "torch_version", lambda: "2.0")  # here: all workers have another, from the start
    with pytest.raises(ParameterError, match=r"the worker at tcp.* has torch .*, this process has 2\.0;"):
        train_all([make_config()], store, scheduler=scheduler)
    assert not list(store.folder.glob("*/record.json"))


CLIENT = """
import pickle, sys
from helpers.runs.train_all import train_all
config, store = pickle.load(open(sys.argv[1], "rb"))
print(train_all([config], store, scheduler=sys.argv[2])[0][0]["version"])
"""


def test_a_worker_that_served_older_code_runs_the_clients(scheduler, store, make_config, tmp_path):
    """A worker keeps what it has imported: another version of this project must not answer for this one."""
    shutil.copytree(ROOT / "helpers", tmp_path / "helpers")
    training = tmp_path / "helpers" / "training.py"
    training.write_text(re.sub(r"(?m)^VERSION = .*", "VERSION = -1", training.read_text()))
    config = make_config("layer", 5)
    (tmp_path / "what").write_bytes(pickle.dumps((config, store)))
    command = [sys.executable, "-c", CLIENT, "what", scheduler]
    asked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert asked.stdout.split() == ["-1"], asked.stderr[-1000:]
    (record,), failures = train_all([config], store, scheduler=scheduler)
    assert not failures
    assert record["version"] == VERSION


def test_a_worker_killed_in_the_middle_loses_nothing(scheduler, store, make_config, train_here):
    config = make_config("batch", num_epochs=40)
    with Client(scheduler_file=scheduler) as client:
        (pid,) = client.run(os.getpid).values()
    kill_when_it_trains(store.run(config), pid)
    (record,), failures = train_all([config], store, scheduler=scheduler)
    assert not failures
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert [without_clock(record)] == train_here([config])


def test_a_scheduler_that_dies_is_told(scheduler, store, make_config):
    """What was computed stays, and the next start goes on."""
    config = make_config("batch", num_epochs=100_000)
    with Client(scheduler_file=scheduler) as client:
        kill_when_it_trains(store.run(config), client.run_on_scheduler(os.getpid))
    with pytest.raises(DivergedError, match="batch, seed 0: the scheduler is gone; the same command goes on"):
        train_all([config], store, scheduler=scheduler)
    assert store.run(config).checkpoint.load()
