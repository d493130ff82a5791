"""Readings: what a reader sees in a figure, or in the data, as sentences computed from them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from pandas import DataFrame

from helpers.config import VARIANTS, RunConfig
from helpers.data import MEAN, STD, Dataset
from helpers.results.frames import Records, historical_last
from helpers.results.intervals import prediction_half_width
from helpers.results.words import in_words, join_words, plural
from helpers.runs.store import hardware_independent_id, published_records


def pixel_statistics(data: Dataset) -> str:
    """The data's sizes, and its pixels beside the constants used for normalising."""
    counts = torch.bincount(data.train_images.flatten(), minlength=256).numpy()
    levels = np.arange(256) / 255
    mean = np.average(levels, weights=counts)
    std = np.average((levels - mean) ** 2, weights=counts) ** 0.5
    return (f"**{data.title}**: {len(data.train_labels):,} training and {len(data.val_labels):,} validation "
            f"images. The training pixels have mean {mean:.4f} and standard deviation "
            f"{std:.4f} in [0, 1]; all images are normalised with MNIST's {MEAN} and {STD}.")


def historical_reading(history: DataFrame, without_l1: DataFrame | None = None) -> str:
    """Whether the historical run ends where one further seed of these runs would; on MNIST alone.

    The verdict first, then a paragraph with the numbers. without_l1: histories of the same BatchNorm without its
    penalty; its cost is told then too.
    """
    if set(history.dataset) != {"mnist"}:
        return "The historical run was validated on MNIST's test images: these runs can't stand beside it."
    ends = history.merge(historical_last(), on=["norm", "epoch"], suffixes=("", "_there"))
    if ends.empty:
        return "These runs are too short to stand beside the historical run's end."
    by_norm = ends.groupby("norm", sort=False)
    checks = sum(by_norm.size() > 1)
    parts = []
    verdicts = defaultdict(list)
    for norm, mine in by_norm:
        there = mine.val_accuracy_there.iloc[0]
        here = mine.val_accuracy.mean()
        part = f"{VARIANTS[norm].short} {there:.2f} % there, {here:.2f} % here"
        if len(mine) > 1:
            half = prediction_half_width(mine.val_accuracy, checks)
            verdict = "inside" if abs(there - here) <= half else "outside"
            if half > 100 - here:
                verdict += ", but so wide a range that hardly any run is outside"
            verdicts[verdict].append(VARIANTS[norm].short)
            part += f" ({max(0, here - half):.2f} to {min(100, here + half):.2f}: {verdict})"
        parts.append(part)
    brief = ""
    text = f"At the historical run's last epoch: {'; '.join(parts)}."
    if checks:
        told = [f"{join_words(names)} {verdict}" for verdict, names in verdicts.items()]
        brief = f"The historical run ends, beside the range of ours: {'; '.join(told)}."
        at_once = f", all {checks} at once," if checks > 1 else ""
        text += f" In brackets the range in which one further seed ends{at_once} 95 times in 100."
    if without_l1 is not None:
        brief = f"{brief} {penalty_cost(history, without_l1)}".strip()
    return f"{brief}\n\n{text}".strip()


def beside_published(records: Records) -> str:
    """Which of the runs are published ones, and how the others compare with the published run of the same seed."""
    here = [record for record in records if not record.get("published")]
    text = f"Of these, {plural(len(records) - len(here), 'run')} come from the published records."
    published = defaultdict(dict)  # what each seed of a question gets right
    for record in published_records().values():
        published[_question(record)][record["config"]["seed"]] = record["history"][-1]["val_correct"]
    parts = []
    outside = []
    for record in here:
        own = record["history"][-1]["val_correct"]
        seeds = published[_question(record)]
        twin = seeds.get(record["config"]["seed"])
        if twin is not None:
            short = VARIANTS[record["config"]["norm"]].short
            parts.append(f"{short} {own - twin:+d}")
            if not min(seeds.values()) <= own <= max(seeds.values()):
                outside.append(short)
    if not parts:
        return text
    verdict = "all inside the range of the published seeds"
    if outside:
        verdict = f"outside the range of the published seeds: {join_words(outside)}"
    return (f"{text} Trained here, in images right beside the published run of the same seed: "
            f"{join_words(parts)}; {verdict}.")


def _question(record: Mapping) -> str:
    """What a run answers, whatever its seed and the hardware."""
    config = replace(RunConfig.from_dict(record["config"]), seed=0)
    return hardware_independent_id(config, record["dataset"]["fingerprint"])


def penalty_cost(history: DataFrame, without_l1: DataFrame) -> str:
    """What the historical recipe's penalty costs BatchNorm, all else equal, in the historical run's last epoch."""
    ends = history.merge(historical_last()[["norm", "epoch"]], on=["norm", "epoch"])
    both = ends.merge(without_l1, on=["norm", "seed", "epoch"], suffixes=("", "_free"))
    if both.empty:
        return ""
    cost = both.val_accuracy_free - both.val_accuracy
    return (f"Our replication of the historical recipe without its penalty takes BatchNorm from "
            f"{both.val_accuracy.mean():.2f} to {both.val_accuracy_free.mean():.2f} % in epoch {both.epoch[0]}: "
            f"the penalty cost {in_words(cost)} ({plural(len(cost), 'seed')}).")


def shared_reading(shared: DataFrame, in_all: Sequence[int], num_runs: int) -> str:
    """Whether another variant changes the mistakes more than another seed does. shared: see `shared_frame`."""
    other = ~np.eye(len(shared), dtype=bool)
    of_one = np.diag(shared)  # nan with a single seed
    sentences = []
    if other.any():
        sentences.append(f"Runs of two variants share {_range(shared.to_numpy()[other])} wrong images.")
    if np.isfinite(of_one).all():
        sentences.append(f"Two seeds of one variant share {_range(of_one)}.")
        if other.any():
            change = shared.to_numpy() - (of_one[:, None] + of_one) / 2
            sentences.append(f"To change the variant and not only the seed changes that by "
                             f"{_range(change[other], '+')} images.")
    listed = f": {', '.join(map(str, in_all))}" if 0 < len(in_all) <= 20 else ""
    verb = "is" if len(in_all) == 1 else "are"
    sentences.append(f"{plural(len(in_all), 'image')} {verb} wrong in all {num_runs} runs{listed}.")
    return " ".join(sentences)


def _range(values: Sequence[float], sign: str = "") -> str:
    low = f"{np.min(values):{sign}.1f}"
    high = f"{np.max(values):{sign}.1f}"
    return low if low == high else f"{low} to {high}"
