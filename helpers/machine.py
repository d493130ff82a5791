"""The machine: which device and precision, one thread, the same bits every time, and what this machine is."""

import contextlib
import ctypes
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from helpers.config import ParameterError


def resolve_device(device: str) -> str:
    """"cuda", "mps" or "cpu": the best there is for "auto". Raises ParameterError when the one asked for is missing."""
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if device == "auto":
        return available[0]
    if device not in available:
        allowed = " or ".join(map(repr, available))
        raise ParameterError(f"device: got {device!r}, but this machine has none; takes 'auto' or {allowed}")
    return device


def resolve_precision(precision: str, device: str) -> str:
    """"float32" or "bfloat16": for "auto" bfloat16 on a CPU with instructions for it. Raises ParameterError."""
    if precision == "bfloat16" and device != "cpu":
        raise ParameterError(f"precision: got 'bfloat16' on {device!r}, takes 'auto' or 'float32' there")
    if precision != "auto":
        return precision
    has_instructions = re.search("avx512_bf16|amx_bf16", _cpu_info())
    return "bfloat16" if device == "cpu" and has_instructions else "float32"


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread inside: runs side by side don't fight for cores, and the order of additions is always the same."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def deterministic(device: str) -> Iterator[None]:
    """The same bits every time inside. The caller's random state and settings are restored after.

    One CPU thread adds in one order by itself; CUDA must be told.
    """
    on_cuda = device == "cuda"
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when it is first used
    torch.use_deterministic_algorithms(on_cuda, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that writes every tensor twice
    try:
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if on_cuda else []):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]


@contextlib.contextmanager
def reproducible(device: str) -> Iterator[None]:
    """Inside, a run gives the same bits alone or beside others: one thread, deterministic, memory kept."""
    with one_thread(), deterministic(device):
        keep_freed_memory()
        yield


def keep_freed_memory() -> None:
    """Tells glibc to keep freed activations instead of returning them to the kernel: 20 % faster. Elsewhere nothing."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(-3, 32 * 1024**2)  # M_MMAP_THRESHOLD: blocks up to 32 MiB come from the heap
        mallopt(-1, 1024**3)       # M_TRIM_THRESHOLD: up to 1 GiB stays with the process


def environment(device: str = "cpu") -> dict[str, str]:
    """What a run was computed with. No path, user or host name: records are published."""
    return {
        "python": platform.python_version(),
        "torch": torch_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "processor": _processor(),
        "cores": str(num_cores()),
    }


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def torch_version() -> str:
    """Without the build behind the "+"."""
    return torch.__version__.split("+")[0]


def _processor() -> str:
    named = re.search(r"^model name\s*: (.+)", _cpu_info(), re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def _cpu_info() -> str:
    """Linux's description of the processor; empty on other systems."""
    with contextlib.suppress(OSError):
        return Path("/proc/cpuinfo").read_text()
    return ""
