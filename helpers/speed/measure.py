"""How fast the training is, beside the ordinary pipeline and beside the machine's limit.

The limit is the arithmetic of the convolutions at the rate of a large float32 matrix product on all
cores. Each pipeline has a process of its own, so that neither memory nor threads are shared.
"""

import os
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from timeit import repeat

import numpy as np
import torch
from pandas import DataFrame, Index, concat

from helpers.config import DATA_DIR, DATASET, OUTPUT_DIR, VARIANTS
from helpers.data import Dataset
from helpers.machine import num_cores, resolve_precision
from helpers.parameters import Parameters, integer, parameter
from helpers.runs.progress import progress_of_steps
from helpers.speed.pipelines import RECIPE, profile_ours, time_ordinary, time_ours, time_to_accuracy

NUM_IMAGES = 60_000  # an epoch of MNIST: measured on fewer batches and scaled to it
EPOCH = NUM_IMAGES / RECIPE.batch_size  # batches
FLOPS = 19_220_352  # of the convolutions for one image and update, as torch.utils.flop_counter counts them


@dataclass(frozen=True)
class SpeedParameters(Parameters):
    """What one execution of the speed notebook is asked for."""

    dataset: str = parameter("auto", DATASET)
    data_dir: str | None = parameter(None, DATA_DIR)
    num_batches: int = parameter(30, integer(1, 10_000))  # of one measurement: a few seconds
    repetitions: int = parameter(3, integer(1, 1000))     # the fewest with a middle one
    output_dir: str | None = parameter(None, OUTPUT_DIR)


def measure(data: Dataset, num_batches: int, repetitions: int) -> dict[str, DataFrame]:
    """All measurements, by name.

    epochs: seconds an epoch, a column a pipeline, for each repetition and norm ("all": the three together);
    memory: peak above imports and data; profile: milliseconds a batch; growth: seconds; target: seconds and
    updates until 99 %.
    """
    os.environ["KINETO_LOG_LEVEL"] = "99"  # or the profiler reports on the terminal at each start
    cores = num_cores()
    results = {}
    most = max(len(VARIANTS), 2 * cores)  # runs side by side
    with (_pool(1, cores) as ordinary, _pool(1, 1) as alone, _pool(most, 1) as together,
          progress_of_steps(repetitions + 4, "measuring") as done):
        pools = (ordinary, alone, together)
        list(together.map(partial(time_ours, data, 1), ["batch"] * most))  # starts all its processes
        done()
        before = _peaks(pools)
        epochs = []
        for _ in range(repetitions):  # interleaved: a slow minute falls on all alike
            epochs.append(_repetition(pools, data, num_batches))
            done()
        results["epochs"] = concat(epochs, keys=range(repetitions), names=["repetition", "norm"])
        megabytes = (_peaks(pools) - before)[:2]
        results["memory"] = DataFrame({"pipeline": ["ordinary", "ours"], "megabytes": megabytes})
        profiles = alone.map(partial(profile_ours, data, num_batches), VARIANTS)
        results["profile"] = DataFrame(profiles, Index(VARIANTS, name="norm"))
        done()
        results["growth"] = _growth(together, data, num_batches)
        done()
        norms = VARIANTS if data.name == "mnist" else []
        rows = alone.map(partial(time_to_accuracy, data, 99.0), norms)
        results["target"] = DataFrame(rows, columns=["norm", "seconds", "updates"])
        done()
    return results


def _pool(num_processes: int, num_threads: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(num_processes, get_context("spawn"), torch.set_num_threads, (num_threads,))


def _peaks(pools: tuple) -> np.ndarray:
    return np.array([pool.submit(peak_memory).result() for pool in pools])


def peak_memory() -> float:
    """The most memory that this process has held so far, MB."""
    status = Path("/proc/self/status")  # Linux hands its parent's ru_maxrss on to a process
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def _repetition(pools: tuple, data: Dataset, num_batches: int) -> DataFrame:
    """Seconds an epoch: a row for each norm, and one for all together; a column a pipeline."""
    ordinary, alone, together = pools
    seconds = {}  # a batch
    for workers in (0, 2):
        train = partial(time_ordinary, data, num_batches, workers)
        seconds[f"ordinary, {workers} workers"] = list(ordinary.map(train, VARIANTS))
    side_by_side = {}
    for precision in dict.fromkeys(["float32", resolve_precision("auto", "cpu")]):
        pipeline = "ours" if precision == "float32" else f"ours, {precision}"
        train = partial(time_ours, data, precision=precision)
        seconds[pipeline] = list(alone.map(partial(train, num_batches), VARIANTS))
        side_by_side[pipeline] = max(together.map(partial(train, 5 * num_batches), VARIANTS))
    seconds["limit"] = RECIPE.batch_size * FLOPS / ordinary.submit(matrix_rate).result()
    frame = DataFrame(seconds, index=[*VARIANTS])
    frame.loc["all"] = {**frame.sum(), **side_by_side}  # ours side by side, the others in turn
    return EPOCH * frame


def matrix_rate() -> float:
    """Floating-point operations a second of a 1536x1536 float32 matrix product: the median."""
    product = partial(torch.mm, *torch.randn(2, 1536, 1536))
    return 2 * 1536**3 / np.median(repeat(product, number=1, repeat=12))


def _growth(pool: ProcessPoolExecutor, data: Dataset, num_batches: int) -> DataFrame:
    """Seconds of BatchNorm's network: columns varied, value, seconds."""
    rows = []

    def train(num_batches: int, number: int = 1, **changes) -> float:
        """Seconds a batch of the slowest of `number` runs side by side."""
        return max(pool.map(partial(time_ours, data, num_batches, **changes), ["batch"] * number))

    for count in (num_batches // 2 or 1, num_batches, 2 * num_batches):
        rows.append(("images", count * RECIPE.batch_size, count * train(count)))
    for size in (16, 64, 256):
        count = max(4, num_batches * 64 // size)
        rows.append(("batch size", size, NUM_IMAGES / size * train(count, batch_size=size)))
    for number in range(1, 2 * num_cores() + 1):
        rows.append(("processes", number, EPOCH / number * train(5 * num_batches, number)))
    return DataFrame(rows, columns=["varied", "value", "seconds"])
