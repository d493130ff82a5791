"""Devices and precisions are found or refused; settings are restored; no path is published."""

import getpass
import io
import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from helpers.config import ParameterError
from helpers.machine import environment, most_workers, num_cores, reproducible, resolve_device, resolve_precision


@pytest.mark.parametrize("best", ["cuda", "mps", "cpu"])
def test_auto_is_the_best_device_and_a_missing_one_is_named(monkeypatch, best):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: best == "cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: best == "mps")
    assert resolve_device("auto") == resolve_device(best) == best
    missing = "mps" if best == "cuda" else "cuda"
    with pytest.raises(ParameterError, match=f"device: got '{missing}', .* 'auto' or .*'cpu'"):
        resolve_device(missing)


@pytest.mark.parametrize(("flags", "best"), [
    ("flags: avx2 amx_bf16", "bfloat16"), ("flags: avx512_bf16", "bfloat16"), ("", "float32")])
def test_auto_precision_follows_the_processor(monkeypatch, flags, best):
    monkeypatch.setattr(Path, "read_text", lambda path: flags)
    assert resolve_precision("auto", "cpu") == best
    assert resolve_precision("auto", "cuda") == "float32"
    assert resolve_precision("bfloat16", "cpu") == "bfloat16"
    with pytest.raises(ParameterError, match="precision: got 'bfloat16' on 'cuda', takes 'auto'"):
        resolve_precision("bfloat16", "cuda")


def test_reproducible_restores_random_state_and_threads(monkeypatch):
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    random_state = torch.get_rng_state()
    torch.set_num_threads(2)
    with pytest.raises(KeyboardInterrupt), reproducible("cpu"):
        assert torch.get_num_threads() == 1
        torch.manual_seed(5)
        raise KeyboardInterrupt
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in conftest.py
    assert threads == 2
    assert torch.equal(random_state, torch.get_rng_state())
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has control groups")
@pytest.mark.parametrize(("limits", "cores", "workers"), [
    ({"cpu.max": "50000 100000"}, 1, 2),
    ({"cpu.max": "max 100000"}, 8, 16),
    ({"cpu,cpuacct/cpu.cfs_quota_us": "150000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 2, 4),
    ({"memory.max": f"{17 * 10**8}"}, 8, 1),
    ({"memory/memory.limit_in_bytes": f"{8 * 2**30}"}, 8, 8),
    ({"cpu.max": "400000 100000", "memory.max": "max"}, 4, 8)])
def test_a_containers_share_is_what_counts(limits, cores, workers, monkeypatch):
    """Of a machine with 8 cores and 64 GB."""
    files = {f"/sys/fs/cgroup/{name}": content for name, content in limits.items()}
    files["/proc/self/cgroup"] = "0::/\n"

    def open_limit(path, *arguments, **options):
        if str(path) in files:
            return io.StringIO(files[str(path)])
        if str(path).startswith("/sys/fs/cgroup"):
            raise FileNotFoundError(path)
        return open(path, *arguments, **options)

    for module in ("dask.system", "distributed.system"):
        monkeypatch.setattr(f"{module}.open", open_limit, raising=False)
    memory = SimpleNamespace(total=64 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda process: list(range(8)))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr(os, "process_cpu_count", lambda: 8, raising=False)
    assert (num_cores(), most_workers()) == (cores, workers)


def test_environment_names_no_path_user_or_host():
    described = environment()
    assert set(described) == {"python", "torch", "system", "device", "processor", "cores"}
    assert int(described["cores"]) == num_cores() >= 1
    text = " ".join(described.values())
    assert os.sep not in text and "+" not in described["torch"]
    assert not {getpass.getuser(), socket.gethostname()} & set(text.split())
