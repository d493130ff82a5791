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

WORKER_BYTES = 900_000_000  # of memory for a process that trains on MNIST


def resolve_device(device: str) -> str:
    """"cuda", "mps" or "cpu": the best there is for "auto". Raises ParameterError when the one asked for is missing."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [name for name in found if found[name]]
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
    is_fast = device == "cpu" and re.search("avx512_bf16|amx_bf16", _cpu_info())
    return "bfloat16" if is_fast else "float32"


@contextlib.contextmanager
def deterministic(device: str) -> Iterator[None]:
    """CUDA gives the same bits every time inside. The caller's random state and settings are restored after."""
    on_cuda = device == "cuda"
    settings = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when it is first used
    torch.use_deterministic_algorithms(on_cuda, warn_only=True)
    settings.fill_uninitialized_memory = False  # a debugging aid that writes every tensor twice
    try:
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if on_cuda else []):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        settings.fill_uninitialized_memory = before[1]


@contextlib.contextmanager
def reproducible(device: str) -> Iterator[None]:
    """Inside, a run gives the same bits alone or beside others: one CPU thread adds in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    _keep_freed_memory()
    try:
        with deterministic(device):
            yield
    finally:
        torch.set_num_threads(before)


def _keep_freed_memory() -> None:
    """Tells glibc to keep freed activations instead of returning them to the kernel: 20 % faster."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # elsewhere there is no glibc
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(-3, 32 * 1024**2)  # M_MMAP_THRESHOLD: blocks up to 32 MiB come from the heap
        mallopt(-1, 1024**3)       # M_TRIM_THRESHOLD: up to 1 GiB stays with the process


def environment(device: str = "cpu") -> dict[str, str]:
    """What a run was computed with. No path, user or host name: records are published."""
    named = re.search(r"^model name\s*: (.+)", _cpu_info(), re.MULTILINE)
    processor = named[1].strip() if named else platform.processor() or platform.machine()
    name = torch.cuda.get_device_name() if device == "cuda" else device
    return {"python": platform.python_version(), "torch": torch_version(),
            "system": f"{platform.system()} {platform.machine()}", "device": name, "processor": processor,
            "cores": str(num_cores())}


def num_cores() -> int:
    """The cores that this process may use; in a container its share, rounded up."""
    from dask.system import cpu_count

    return cpu_count()


def most_workers() -> int:
    """Training processes for this machine or container: two a core, so that none is idle, if memory allows."""
    from distributed.system import memory_limit

    num_others = memory_limit() // WORKER_BYTES - 1  # this process needs as much
    return max(1, min(2 * num_cores(), num_others))


def torch_version() -> str:
    """Without the build behind the "+"."""
    return torch.__version__.split("+")[0]


def _cpu_info() -> str:
    """Linux's description of the processor; empty on other systems."""
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.is_file() else ""
