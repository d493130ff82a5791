"""How fast the training is, beside the ordinary pipeline and beside the machine's limit.

The limit is the arithmetic of the convolutions at the rate of a large float32 matrix product on all
cores. Each pipeline has a process of its own, so that neither memory nor threads are shared.
"""

import math
import os
import resource
import statistics
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from helpers.config import DATA_DIR, DATASET, OUTPUT_DIR, VARIANTS
from helpers.data import Dataset
from helpers.machine import num_cores, resolve_precision
from helpers.model import build_model
from helpers.parameters import Parameters, integer, parameter
from helpers.speed.ordinary import RECIPE, WARM_UP, time_ordinary
from helpers.speed.ours import profile_ours, time_ours, time_to_accuracy

NUM_IMAGES = 60_000  # an epoch of MNIST: measured on fewer batches and scaled to it
EPOCH = NUM_IMAGES / RECIPE.batch_size  # batches
Processes = Sequence[ProcessPoolExecutor]  # of one worker each


@dataclass(frozen=True)
class SpeedParameters(Parameters):
    """What one execution of the speed notebook is asked for."""

    dataset: str = parameter("auto", DATASET)
    data_dir: str | None = parameter(None, DATA_DIR)
    num_batches: int = parameter(30, integer(1, 10_000))  # of one measurement: a few seconds
    repetitions: int = parameter(3, integer(1, 1000))     # the fewest with a middle one
    output_dir: str | None = parameter(None, OUTPUT_DIR)


def measure(data: Dataset, num_batches: int, repetitions: int) -> dict[str, pd.DataFrame]:
    """All measurements, by name.

    epochs: seconds an epoch, a column a pipeline, for each repetition and norm ("all": the three
    together); memory: peak above imports and data; profile: milliseconds a batch; growth: seconds
    an epoch; target: seconds and updates until 99 %.
    """
    os.environ["KINETO_LOG_LEVEL"] = "99"  # or the profiler reports on the terminal at each start
    cores = num_cores()
    with ExitStack() as stack:
        processes = []
        for number in [cores, cores] + [1] * max(len(VARIANTS), 2 * cores):
            process = ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (number,))
            processes.append(stack.enter_context(process))
        ours = processes[2:]
        before = _peaks(processes)
        epochs = {}
        for repetition in range(repetitions):  # interleaved: a slow minute falls on all alike
            epochs[repetition] = _repetition(processes, data, num_batches)
        extra = _peaks(processes) - before
        profile = {}
        target = []
        for norm in VARIANTS:
            profile[norm] = ours[0].submit(profile_ours, data, norm, num_batches).result()
            if data.name == "mnist":
                target.append((norm, *ours[0].submit(time_to_accuracy, data, norm, 99.0).result()))
        growth = _growth(ours, data, num_batches)
    return {
        "epochs": pd.concat(epochs, names=["repetition", "norm"]),
        "memory": pd.DataFrame({"pipeline": ["ordinary", "ours"], "megabytes": extra[[0, 2]]}),
        "profile": pd.DataFrame.from_dict(profile, "index").rename_axis("norm"),
        "growth": growth,
        "target": pd.DataFrame(target, columns=["norm", "seconds", "updates"]),
    }


def _peaks(processes: Processes) -> np.ndarray:
    return np.array([process.submit(peak_memory).result() for process in processes])


def peak_memory() -> float:
    """The most memory that this process has held so far, MB."""
    status = Path("/proc/self/status")  # Linux hands its parent's ru_maxrss on to a process
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def _repetition(processes: Processes, data: Dataset, num_batches: int) -> pd.DataFrame:
    """Seconds an epoch: a row for each norm, and one for all together; a column a pipeline."""
    ordinary, limit, *ours = processes
    batch = {}  # seconds
    for workers in (0, 2):
        one = partial(time_ordinary, data, num_batches=num_batches, num_workers=workers)
        seconds = list(ordinary.map(one, VARIANTS))
        batch[f"ordinary, {workers} workers"] = [*seconds, sum(seconds)]
    changes = {"ours": {}}
    if resolve_precision("auto", "cpu") == "bfloat16":
        changes["ours, bfloat16"] = {"precision": "bfloat16"}
    for pipeline, own in changes.items():
        one = partial(time_ours, data, num_batches=num_batches, changes=own)
        seconds = list(ours[0].map(one, VARIANTS))
        batch[pipeline] = [*seconds, _side_by_side(ours, data, VARIANTS, num_batches, own)]
    least = RECIPE.batch_size * flops_per_image() / limit.submit(matrix_rate).result()
    batch["limit"] = [least] * len(VARIANTS) + [least * len(VARIANTS)]
    return EPOCH * pd.DataFrame(batch, index=[*VARIANTS, "all"])


def flops_per_image() -> int:
    """Floating-point operations of the convolutions for one image and update."""
    with FlopCounterMode(display=False) as counter:
        build_model("batch")(torch.zeros(1, 1, 28, 28)).sum().backward()
    return counter.get_total_flops()


def matrix_rate() -> float:
    """Floating-point operations a second of a 1536x1536 float32 matrix product: the median."""
    a, b = torch.randn(2, 1536, 1536)
    rates = []
    for _ in range(12):
        start = time.perf_counter()
        torch.mm(a, b)
        rates.append(2 * 1536**3 / (time.perf_counter() - start))
    return statistics.median(rates)


def _side_by_side(
    ours: Processes, data: Dataset, norms: Iterable[str], num_batches: int, changes: dict
) -> float:
    """Seconds until each process has trained one batch of its norm, all at the same time."""

    def seconds(count: int) -> float:
        start = time.perf_counter()
        futures = []
        for process, norm in zip(ours, norms, strict=False):
            futures.append(process.submit(time_ours, data, norm, count, changes))
        for future in futures:
            future.result()
        return time.perf_counter() - start

    seconds(WARM_UP)
    few = seconds(num_batches)
    many = seconds(5 * num_batches)
    return (many - few) / (4 * num_batches)  # what starting costs cancels


def _growth(ours: Processes, data: Dataset, num_batches: int) -> pd.DataFrame:
    """Seconds of BatchNorm's network: columns varied, value, seconds."""
    rows = []
    start = partial(ours[0].submit, time_ours, data, "batch")
    for factor in (0.5, 1, 2):
        count = math.ceil(factor * num_batches)
        rows.append(("images", count * RECIPE.batch_size, count * start(count, {}).result()))
    for size in (16, 64, 256):
        count = max(4, num_batches * 64 // size)
        seconds = start(count, {"batch_size": size}).result()
        rows.append(("batch size", size, NUM_IMAGES / size * seconds))
    for number in range(1, 2 * num_cores() + 1):
        seconds = _side_by_side(ours, data, ["batch"] * number, num_batches, {})
        rows.append(("processes", number, EPOCH * seconds / number))
    return pd.DataFrame(rows, columns=["varied", "value", "seconds"])
