"""How fast the training is, beside the ordinary way to write it and beside what the machine could do at most.

(a) ordinary: what PyTorch's tutorials teach: PIL images, one transform an image, a DataLoader, torch.nn, all cores.
(b) ours: `helpers.training`, one thread a run, runs side by side; and the same with bfloat16 activations where the
    processor has instructions for them.
(c) limit: the network's floating-point operations at the rate of a large float32 matrix product on all cores.

Each pipeline lives in a process of its own, so that memory and thread settings can't reach the other. Repetitions are
interleaved, so that the machine's mood falls on all alike; what is reported are medians.
"""

import copy
import functools
import json
import math
import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil
import torch
import torch.nn.functional as F
from torch import nn

from helpers.config import RECIPES, VARIANTS, Recipe, RunConfig, Study
from helpers.data import MEAN, STD, Dataset, load_dataset
from helpers.files import ROOT, writable_folder, write_atomically
from helpers.intervals import half_width
from helpers.model import BLOCKS, build_model
from helpers.records import environment, num_cores, run_id
from helpers.runs import train_all
from helpers.training import (
    deterministic,
    evaluate,
    fit,
    keep_freed_memory,
    make_optimizer,
    one_thread,
    resolve_precision,
    train_one_epoch,
)

RECIPE = RECIPES["original"]  # the work measured: dropout and rotation included, the penalty for the third variant
NUM_IMAGES = 60_000           # an epoch of MNIST: measured on fewer batches and scaled to it
WARM_UP = 4                   # batches before the clock starts


# --- (a) the ordinary pipeline ---------------------------------------------------------------------------------------


def ordinary_model(norm: str, num_groups: int = 2, dropout: float = RECIPE.dropout) -> nn.Module:
    """The study's network of plain torch.nn layers."""
    def block(i: int, rate: float) -> list[nn.Module]:
        channels_in, channels, size, padding = BLOCKS[i]
        norms = {"layer": lambda: nn.LayerNorm([channels, size, size]),
                 "group": lambda: nn.GroupNorm(num_groups, channels), "batch": lambda: nn.BatchNorm2d(channels)}
        return [nn.Conv2d(channels_in, channels, 3, padding=padding, bias=False), nn.ReLU(), norms[norm](),
                nn.Dropout(rate)]

    return nn.Sequential(
        *block(0, dropout), *block(1, dropout / 2), nn.Conv2d(32, 10, 1, bias=False), nn.MaxPool2d(2),
        *block(2, dropout / 2), *block(3, dropout / 2), *block(4, dropout / 2), *block(5, dropout / 2),
        nn.AvgPool2d(6), nn.Conv2d(16, 10, 1, bias=False), nn.Flatten())


def plain_model(norm: str, num_groups: int = 2, dropout: float = 0.0, seed: int | None = None,
                precision: str = "float32") -> nn.Module:
    """`ordinary_model` with the weights of `build_model`: the plain path, float32 whatever the precision asked for."""
    ours, plain = build_model(norm, num_groups, dropout, seed), ordinary_model(norm, num_groups, dropout)
    plain.load_state_dict(dict(zip(plain.state_dict(), ours.state_dict().values(), strict=True)))
    return plain


class PilImages(torch.utils.data.Dataset):
    """Images as torchvision's MNIST hands them out: one PIL image at a time, transformed on its own."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, recipe: Recipe):
        from torchvision import transforms

        self.images, self.labels = images, labels
        self.transform = transforms.Compose([
            transforms.ToTensor(), transforms.RandomRotation(recipe.rotation, fill=recipe.fill),
            transforms.Normalize((MEAN,), (STD,))])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index].numpy())), int(self.labels[index])


def time_ordinary(norm: str, num_batches: int, num_workers: int, recipe: Recipe = RECIPE) -> float:
    """Seconds a batch of the ordinary pipeline, after the first batches."""
    data, size = _state["data"], recipe.batch_size
    count = (num_batches + WARM_UP) * size
    loader = torch.utils.data.DataLoader(
        PilImages(*_first(data, count), recipe), batch_size=size, shuffle=True, num_workers=num_workers)
    model = ordinary_model(norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=recipe.momentum)
    running_loss, start = 0.0, 0.0
    model.train()
    for batch, (images, labels) in enumerate(loader):
        if batch == WARM_UP:
            start = time.perf_counter()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        if VARIANTS[norm].l1:
            loss = loss + recipe.l1_lambda * sum(p.abs().sum() for p in model.parameters())
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    return (time.perf_counter() - start) / num_batches


# --- (b) ours ---------------------------------------------------------------------------------------------------------


def time_ours(norm: str, num_batches: int, recipe: Recipe = RECIPE) -> float:
    """Seconds a batch of `helpers.training`, on one thread."""
    with _our_settings():
        step = _epoch(norm, recipe)
        step(*_first(_state["data"], WARM_UP * recipe.batch_size))
        part = _first(_state["data"], num_batches * recipe.batch_size)
        start = time.perf_counter()
        step(*part)
        return (time.perf_counter() - start) / num_batches


def profile_ours(norm: str, num_batches: int, recipe: Recipe = RECIPE) -> dict[str, float]:
    """Milliseconds a batch by kind of operation, from torch's profiler (which slows all of them a little)."""
    from torch.profiler import ProfilerActivity, profile

    with _our_settings():
        step, part = _epoch(norm, recipe), _first(_state["data"], num_batches * recipe.batch_size)
        step(*part)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            step(*part)
    totals = dict.fromkeys(KINDS, 0.0)
    for event in profiled.key_averages():
        kinds = [kind for kind, names in KINDS.items() if any(name in event.key for name in names)]
        totals[(kinds or ["everything else"])[0]] += event.self_cpu_time_total / 1000 / num_batches
    return totals


# Kinds of operation, and what their events are called in the profile; the first that fits counts.
KINDS = {
    "convolutions, forward": ("mkldnn_convolution", "thnn_conv2d"), "convolutions, backward": ("convolution_backward",),
    "normalisation": ("layer_norm", "group_norm", "batch_norm"),
    "ReLU": ("threshold_backward", "clamp_min", "relu"), "pooling": ("pool2d",),
    "dropout": ("_Drop", "random_", "index_fill", "aten::log_", "cumsum", "searchsorted"),
    "augmentation": ("grid_sampler", "affine_grid", "aten::index"), "optimizer": ("Optimizer", "_foreach"),
    "everything else": (),
}


def time_to_accuracy(norm: str, target: float, num_epochs: int = 3) -> tuple[float, int]:
    """Seconds and updates of training until the averaged weights reach `target` percent on the validation images.

    The recipe `tuned` in `num_epochs` epochs, looked at every 100 updates of an epoch, with the clock stopped. The
    seconds are nan when the epochs do not suffice.
    """
    class Reached(Exception):
        pass

    data, config = _state["data"], Study(norms=(norm,), num_epochs=num_epochs).run_configs("cpu")[0]
    num_batches, paused, updates = math.ceil(len(data.train_images) / config.recipe.batch_size), 0.0, 0
    with _our_settings():
        net = build_model(norm, dropout=config.recipe.dropout, seed=0, precision=config.recipe.precision)
        average, optimizer, start = copy.deepcopy(net), make_optimizer(net, config.recipe), time.perf_counter()

        def on_batch(batch: int) -> None:
            nonlocal paused, updates
            updates = (epoch - 1) * num_batches + batch
            if batch % 100 == 0:
                now = time.perf_counter()
                accuracy = evaluate(average, data.val_images, data.val_labels).accuracy
                paused += time.perf_counter() - now
                if accuracy >= target:
                    raise Reached

        try:
            for epoch in range(1, num_epochs + 1):
                train_one_epoch(net, optimizer, data.train_images, data.train_labels, config, epoch, average, on_batch)
        except Reached:
            return time.perf_counter() - start - paused, updates
    return float("nan"), updates


def _epoch(norm: str, recipe: Recipe):
    """A function that trains a fresh network on the images and labels that it is given."""
    config = replace(Study(norms=(norm,)).run_configs("cpu")[0], recipe=recipe if VARIANTS[norm].l1 else
                     replace(recipe, l1_lambda=0.0))
    net = build_model(norm, dropout=recipe.dropout, seed=0, precision=recipe.precision)
    average = copy.deepcopy(net) if recipe.ema_decay else None
    return functools.partial(_train, net, make_optimizer(net, recipe), config, average)


def _ours() -> dict[str, Recipe]:
    """The names of our pipelines on this machine, and what each one trains with."""
    ours = {"ours": RECIPE}
    if resolve_precision("auto", "cpu") == "bfloat16":
        ours["ours, bfloat16"] = replace(RECIPE, precision="bfloat16")
    return ours


def _train(net, optimizer, config, average, images, labels) -> None:
    train_one_epoch(net, optimizer, images, labels, config, 1, average)


@contextmanager
def _our_settings() -> Iterator[None]:
    with one_thread(), deterministic("cpu"):
        keep_freed_memory()
        yield


# --- (c) the limit ----------------------------------------------------------------------------------------------------


def flops_per_image() -> int:
    """Floating-point operations of the convolutions for one image and update: forward, and two products backward.

    The first convolution has no gradient to hand on. A multiplication and an addition count as two.
    """
    forward = [2 * 9 * c_in * c_out * size**2 for c_in, c_out, size, _ in BLOCKS]
    pointwise = 2 * 32 * 10 * 24**2 + 2 * 16 * 10
    return 3 * (sum(forward) + pointwise) - forward[0]


def time_limit(repetitions: int = 12) -> float:
    """Floating-point operations a second of a 1536×1536 float32 matrix product, the median, on all our threads."""
    a, b = torch.randn(2, 1536, 1536)
    rates = []
    for _ in range(repetitions):
        start = time.perf_counter()
        torch.mm(a, b)
        rates.append(2 * 1536**3 / (time.perf_counter() - start))
    return statistics.median(rates)


# --- processes --------------------------------------------------------------------------------------------------------

_state: dict = {}  # of a measuring process: the data, and its memory before any training


def _set_up(data: Dataset, num_threads: int) -> None:
    torch.set_num_threads(num_threads)
    _state.update(data=data, memory=psutil.Process().memory_info().rss)


def _extra_memory() -> float:
    """The most memory this process has held so far, above what it held before any training, MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - _state["memory"]) / 1024**2


def _first(data: Dataset, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` training images and labels; the first ones again where there are fewer."""
    index = torch.arange(count) % len(data.train_images)
    return data.train_images[index], data.train_labels[index]


@contextmanager
def _processes(data: Dataset, threads: Sequence[int]) -> Iterator[list[ProcessPoolExecutor]]:
    """One measuring process for each entry of `threads`, with so many threads."""
    os.environ["KINETO_LOG_LEVEL"] = "99"  # or the profiler reports on the terminal each time that it starts
    with ExitStack() as stack:
        context = multiprocessing.get_context("spawn")
        pools = [stack.enter_context(ProcessPoolExecutor(1, context, _set_up, (data, number))) for number in threads]
        for pool in pools:
            pool.submit(_extra_memory).result()  # started, before anything is timed
        yield pools


def measure(data: Dataset, num_batches: int = 30, repetitions: int = 3) -> dict[str, pd.DataFrame]:
    """All measurements, by name.

    epochs: pipeline, norm ("all": the three together), repetition, seconds (an epoch of 60,000 images); memory:
    pipeline, megabytes above the imports and the data; growth: what is varied, its value, seconds an epoch; profile:
    norm, kind, milliseconds a batch; target: norm, seconds and updates until 99 %.
    """
    cores, norms, rows = num_cores(), list(VARIANTS), []
    scale = NUM_IMAGES / RECIPE.batch_size
    with _processes(data, [cores, cores, *[1] * len(norms)]) as (plain, limit, *ours):
        for repetition in range(repetitions):
            rate = limit.submit(time_limit).result()
            slowest = {0: 0.0, 2: 0.0}
            for norm in norms:
                for workers in slowest:
                    seconds = scale * plain.submit(time_ordinary, norm, num_batches, workers).result()
                    slowest[workers] += seconds
                    rows.append((f"ordinary, {workers} workers", norm, repetition, seconds))
                for name, recipe in _ours().items():
                    seconds = scale * ours[0].submit(time_ours, norm, num_batches, recipe).result()
                    rows.append((name, norm, repetition, seconds))
                rows.append(("limit", norm, repetition, NUM_IMAGES * flops_per_image() / rate))
            rows += [(f"ordinary, {workers} workers", "all", repetition, total) for workers, total in slowest.items()]
            for name, recipe in _ours().items():
                rows.append((name, "all", repetition, scale * _together(ours, norms, num_batches, recipe)))
            rows.append(("limit", "all", repetition, len(norms) * NUM_IMAGES * flops_per_image() / rate))
        memory = [("ordinary", plain.submit(_extra_memory).result()),
                  ("ours", max(pool.submit(_extra_memory).result() for pool in ours))]
        profile = [(norm, kind, value) for norm in norms
                   for kind, value in ours[0].submit(profile_ours, norm, num_batches).result().items()]
        growth = _growth(ours[0], num_batches)
        target = _targets(ours, norms) if data.name == "mnist" else []
    with _processes(data, [1] * 2 * cores) as pools:
        for number in range(1, 2 * cores + 1):
            seconds = scale * _together(pools[:number], ["batch"] * number, num_batches, RECIPE) / number
            growth.append(("processes", number, seconds))
    return {
        "epochs": pd.DataFrame(rows, columns=["pipeline", "norm", "repetition", "seconds"]),
        "memory": pd.DataFrame(memory, columns=["pipeline", "megabytes"]),
        "profile": pd.DataFrame(profile, columns=["norm", "kind", "milliseconds"]),
        "growth": pd.DataFrame(growth, columns=["varied", "value", "seconds"]),
        "target": pd.DataFrame(target, columns=["norm", "seconds", "updates"])}


def _together(pools: Sequence[ProcessPoolExecutor], norms: Sequence[str], num_batches: int, recipe: Recipe) -> float:
    """Seconds until all are done, a batch of each: every norm in a process of its own, at the same time."""
    def seconds(count: int) -> float:
        start = time.perf_counter()
        for future in [pool.submit(time_ours, norm, count, recipe) for pool, norm in zip(pools, norms, strict=True)]:
            future.result()
        return time.perf_counter() - start

    seconds(WARM_UP)
    return (seconds(5 * num_batches) - seconds(num_batches)) / (4 * num_batches)  # what starting costs cancels


def _growth(pool: ProcessPoolExecutor, num_batches: int) -> list[tuple]:
    """Seconds an epoch of BatchNorm's network for other numbers of images and other batch sizes."""
    rows = []
    for factor in (0.5, 1, 2):
        count = round(factor * num_batches)
        seconds = count * pool.submit(time_ours, "batch", count).result()
        rows.append(("images", count * RECIPE.batch_size, seconds))
    for size in (16, 64, 256):
        count = max(4, num_batches * 64 // size)
        seconds = pool.submit(time_ours, "batch", count, replace(RECIPE, batch_size=size)).result()
        rows.append(("batch size", size, NUM_IMAGES / size * seconds))
    return rows


def _targets(pools: Sequence[ProcessPoolExecutor], norms: Sequence[str]) -> list[tuple]:
    """The time to 99 % of each variant, one after the other, each alone on the machine."""
    return [(norm, *pools[0].submit(time_to_accuracy, norm, 99.0).result()) for norm in norms]


# --- the same results? ------------------------------------------------------------------------------------------------

SAME = ROOT / "notebooks" / "records" / "same_results.csv"
# What ours in float32 is compared with.
PATHS = {"plain": "the plain path of `torch.nn` layers", "bfloat16": "training in bfloat16"}


def record_same(path: str, num_epochs: int, seeds: Sequence[int] = (0, 1, 2), runs_dir: str = "runs") -> None:
    """Trains the recipe `tuned` on MNIST our way in float32 and along another path, and adds both to `SAME`.

    path: "bfloat16", or "plain": the same weights, batches and updates through torch.nn's own layers. Nine runs each:
    20 epochs take an hour on two cores.
    """
    data, study = load_dataset("mnist"), Study(seeds=tuple(seeds), num_epochs=num_epochs)
    ours, _ = train_all(study.run_configs("cpu"), data, runs_dir)
    if path == "bfloat16":
        theirs, _ = train_all(replace(study, precision=path).run_configs("cpu"), data, runs_dir)
    else:
        folder = writable_folder(runs_dir, "runs_dir") / "plain"
        with ProcessPoolExecutor(num_cores(), multiprocessing.get_context("spawn")) as pool:
            theirs = list(pool.map(functools.partial(_train_plain, data=data, folder=folder), study.run_configs("cpu")))
    rows = [(name, record["config"]["norm"], record["config"]["seed"], num_epochs, record["history"][-1]["val_correct"],
             record["history"][-1]["val_loss"], len(data.val_labels))
            for name, records in (("ours", ours), (path, theirs)) for record in records]
    columns = ["path", "norm", "seed", "num_epochs", "val_correct", "val_loss", "num_val"]
    table = pd.concat([pd.read_csv(SAME) if SAME.is_file() else None, pd.DataFrame(rows, columns=columns)])
    table = table.drop_duplicates(columns[:4], keep="last")
    write_atomically(SAME, table.to_csv(index=False, lineterminator="\n").encode())


def _train_plain(config: RunConfig, data: Dataset, folder: Path) -> dict:
    """A run on the plain path, resumable like all others."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{run_id(config, data.fingerprint)}.pt"
    return {"config": config.to_dict(), **fit(config, data, checkpoint, build=plain_model)}


def same_differences(table: pd.DataFrame) -> pd.DataFrame:
    """For each path beside ours, and each norm or "all": the runs' epochs, mean accuracy (percent) of ours and of the
    path, the mean difference over the runs in images, path minus ours, the half width of its 95 % t-interval, the
    number of pairs. A pair has the same norm, seed and number of epochs."""
    table = table.assign(accuracy=100 * table.val_correct / table.num_val)
    table = table.pivot(index=["norm", "seed", "num_epochs"], columns="path", values=["val_correct", "accuracy"])
    rows = []
    for path in PATHS:
        if path not in table["accuracy"]:
            continue
        pairs = table.loc[:, (slice(None), ["ours", path])].dropna()
        epochs = ", ".join(map(str, pairs.index.unique("num_epochs")))
        for norm in [*VARIANTS, "all"]:
            part = pairs if norm == "all" else pairs[pairs.index.get_level_values("norm") == norm]
            if len(part):
                difference = (part["val_correct"][path] - part["val_correct"]["ours"]).to_list()
                rows.append((path, norm, epochs, part["accuracy"]["ours"].mean(), part["accuracy"][path].mean(),
                             statistics.mean(difference), half_width(difference), len(difference)))
    return pd.DataFrame(rows, columns=["path", "norm", "epochs", "ours", "theirs", "difference", "half_width", "n"])


def same_table() -> pd.DataFrame:
    """`same_differences` of the recorded runs, for readers."""
    table = same_differences(pd.read_csv(SAME))
    return pd.DataFrame({
        "beside": table.path.map({path: name.replace("`", "") for path, name in PATHS.items()}),
        "variant": [VARIANTS[norm].title if norm in VARIANTS else "all" for norm in table.norm],
        "epochs": table.epochs, "ours (%)": table.ours.map("{:.3f}".format),
        "the other (%)": table.theirs.map("{:.3f}".format),
        "the other − ours (images)": [f"{row.difference:+.1f} ± {row.half_width:.1f}" for row in table.itertuples()],
        "pairs of runs": table.n}).set_index(["beside", "variant"])


def same_findings(table: pd.DataFrame) -> list[str]:
    """A sentence for each path, computed from `same_differences`."""
    sentences = []
    for row in table[table.norm == "all"].itertuples():
        verdict = ("within the noise of the seeds" if abs(row.difference) <= row.half_width else
                   "more than the noise of the seeds")
        sentences.append(f"In {row.n} pairs of runs of {row.epochs} epochs, {PATHS[row.path]} gets "
                         f"{row.difference:+.1f} ± {row.half_width:.1f} images right beside ours in float32: "
                         f"{verdict}.")
    return sentences


# --- what they say ----------------------------------------------------------------------------------------------------


def medians(epochs: pd.DataFrame) -> pd.DataFrame:
    """Median seconds an epoch: columns norm, pipeline, seconds; of "ordinary" the faster number of loaders."""
    table = _chosen(epochs).groupby(["norm", "pipeline"], sort=False).seconds.median().reset_index()
    order = {norm: place for place, norm in enumerate([*VARIANTS, "all"])}
    return table.sort_values("norm", key=lambda norms: norms.map(order), kind="stable").reset_index(drop=True)


def ratios(epochs: pd.DataFrame, ours: str = "ours") -> pd.DataFrame:
    """For each norm the ratios of seconds, medians over the repetitions: `gain`, ordinary to ours, with its extremes
    `least` and `most`, and `distance`, ours to the limit.

    Ratios are taken within a repetition, so that a slow minute cancels. ours: which of our pipelines.
    """
    table = _chosen(epochs).pivot(index=["norm", "repetition"], columns="pipeline", values="seconds")
    table = pd.DataFrame({"gain": table["ordinary"] / table[ours], "distance": table[ours] / table["limit"]})
    table = table.groupby("norm").agg(gain=("gain", "median"), least=("gain", "min"), most=("gain", "max"),
                                      distance=("distance", "median"))
    return table.loc[[*VARIANTS, "all"]]


def _chosen(epochs: pd.DataFrame) -> pd.DataFrame:
    """Of the ordinary pipelines only the one that is faster for all three together, under the name "ordinary"."""
    together = epochs[epochs.norm == "all"].groupby("pipeline").seconds.median()
    fastest = together[together.index.str.startswith("ordinary")].idxmin()
    table = epochs[~epochs.pipeline.str.startswith("ordinary") | (epochs.pipeline == fastest)]
    return table.replace({"pipeline": {fastest: "ordinary"}})


def epochs_table(results: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """All pipelines side by side, for readers."""
    epochs = results["epochs"]
    names = list(dict.fromkeys(epochs.pipeline))  # as measured: the ordinary ones, ours, the limit
    table = epochs.groupby(["norm", "pipeline"]).seconds.median().unstack().loc[[*VARIANTS, "all"]]
    shown = table[names].map("{:.1f}".format).rename(columns=lambda name: f"{name} (s)")
    ratio = ratios(epochs)
    shown["ordinary : ours"] = ratio.gain.map("{:.1f}".format)
    shown["ours : limit"] = ratio.distance.map("{:.1f}".format)
    names = {**{norm: variant.short for norm, variant in VARIANTS.items()}, "all": "all three"}
    return shown.rename(index=names).rename_axis("an epoch", axis=0).rename_axis(None, axis=1)


def memory_table(results: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Peak memory of one training process, for readers."""
    table = results["memory"].set_index("pipeline").megabytes.map("{:.0f}".format)
    return table.rename("peak memory above imports and data (MB)").to_frame()


def target_table(results: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The time to 99 % validation accuracy, for readers; no rows without MNIST."""
    table = results["target"]
    return pd.DataFrame({"variant": [VARIANTS[norm].title for norm in table.norm],
                         "seconds to 99 %": table.seconds.map("{:.1f}".format),
                         "updates": table.updates.map("{:,}".format)}).set_index("variant")


def speed_findings(results: dict[str, pd.DataFrame], data: Dataset) -> list[str]:
    """The findings, each a sentence computed from the measurements."""
    seconds = medians(results["epochs"]).set_index(["norm", "pipeline"]).seconds
    ratio, memory = ratios(results["epochs"]), results["memory"].set_index("pipeline").megabytes
    sentences = [
        f"Three variants, one epoch each: {seconds['all', 'ours']:.0f} s instead of "
        f"{seconds['all', 'ordinary']:.0f} s, "
        f"{ratio.gain['all']:.1f} times as fast as the ordinary pipeline, on {num_cores()} cores (medians; "
        f"{ratio.least['all']:.1f} to {ratio.most['all']:.1f} times in single repetitions).",
        f"That is {ratio.distance['all']:.1f} times the limit of {seconds['all', 'limit']:.0f} s.",
        *_precision_finding(results["epochs"]),
        f"One training process needs {memory['ours']:.0f} MB at most beside its imports and data; the ordinary one "
        f"{memory['ordinary']:.0f} MB."]
    reached = results["target"].dropna()
    if len(reached):
        sentences.append("99 % validation accuracy is reached after " + ", ".join(
            f"{row.seconds:.0f} s ({VARIANTS[row.norm].short})" for row in reached.itertuples())
            + " of training on one thread.")
    if SAME.is_file():
        sentences += same_findings(same_differences(pd.read_csv(SAME)))
    if data.name != "mnist":
        sentences.append(f"Measured on {data.title}, repeated to MNIST's size: the time of a batch does not depend on "
                         "what is in it.")
    return sentences


def _precision_finding(epochs: pd.DataFrame) -> list[str]:
    together = epochs[epochs.norm == "all"].groupby("pipeline").seconds.median()
    if "ours, bfloat16" not in together:
        return []
    ratio = ratios(epochs, "ours, bfloat16")
    return [f"With bfloat16 activations, which this processor has instructions for, it takes "
            f"{together['ours, bfloat16']:.0f} s: {ratio.gain['all']:.1f} times as fast as the ordinary pipeline, "
            f"{ratio.distance['all']:.1f} times the limit."]


def save_measurements(folder: Path, results: dict[str, pd.DataFrame], data: Dataset) -> None:
    """Writes `results.csv`, the seconds an epoch, and `summary.json`, everything, into `folder`."""
    write_atomically(folder / "results.csv", results["epochs"].to_csv(index=False).encode())
    summary = {"title": "How fast is the training?", "dataset": data.name, "dataset_title": data.title,
               "findings": speed_findings(results, data), "environment": environment(),
               **{f"{norm}_{name}": value for name, column in ratios(results["epochs"]).items()
                  for norm, value in column.items()},
               **{name: json.loads(table.to_json(orient="records")) for name, table in results.items()}}
    write_atomically(folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False).encode())
