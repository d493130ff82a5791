"""Runs on a Dask cluster of real processes: the same bits as here, whatever happens to a worker."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from conftest import without_clock
from distributed import Client

from helpers import runs
from helpers.config import ParameterError
from helpers.runs import read_record, run_id, train_all

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
    assert not list((tmp_path / "there").glob(".shared-*"))


def test_results_travel_back_where_no_folder_is_shared(scheduler, tiny_data, make_config, tmp_path, monkeypatch):
    elsewhere = contextlib.nullcontext(SimpleNamespace(name="/no/such/folder/.shared"))
    monkeypatch.setattr(runs.tempfile, "NamedTemporaryFile", lambda **_: elsewhere)
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


@pytest.mark.parametrize(("scheduler", "says"), [
    ("127.0.0.1:9", "no Dask scheduler with a worker answers there"), ("nowhere.json", "takes an address such as")])
def test_a_scheduler_that_is_not_there_is_one_line(scheduler, says, tiny_data, make_config, tmp_path):
    with pytest.raises(ParameterError, match=f"^scheduler: got '{scheduler}', .*{says}"):
        train_all([make_config()], tiny_data, tmp_path, scheduler=scheduler)


def test_a_worker_with_another_torch_is_refused(tiny_data, make_config, tmp_path):
    (tmp_path / "older.py").write_text("import torch\ntorch.__version__ = '1.13.1'\n")
    with (cluster(tmp_path, "--preload", str(tmp_path / "older.py")) as file,
          pytest.raises(ParameterError, match=r"has torch 1\.13\.1, this process has ")):
        train_all([make_config()], tiny_data, tmp_path / "runs", scheduler=file)
    assert not list((tmp_path / "runs").glob("*/record.json"))
