"""Devices and precisions are found or refused; settings are restored; no path is published."""

import getpass
import os
import socket
from pathlib import Path

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


@pytest.mark.parametrize(("cores", "memory", "workers"), [(8, 64e9, 16), (8, 8.2e9, 8), (8, 1.7e9, 1), (1, 64e9, 2)])
def test_two_workers_a_core_if_memory_allows(cores, memory, workers, monkeypatch):
    """Of a container's share, which Dask knows."""
    monkeypatch.setattr("dask.system.cpu_count", lambda: cores)
    monkeypatch.setattr("distributed.system.memory_limit", lambda: int(memory))
    assert (num_cores(), most_workers()) == (cores, workers)


def test_environment_names_no_path_user_or_host():
    described = environment()
    assert set(described) == {"python", "torch", "system", "device", "processor", "cores"}
    assert int(described["cores"]) == num_cores() >= 1
    text = " ".join(described.values())
    assert os.sep not in text and "+" not in described["torch"]
    assert not {getpass.getuser(), socket.gethostname()} & set(text.split())
