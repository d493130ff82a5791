"""Readings: what a reader sees in a figure, or in the data, as sentences computed from them."""

from collections.abc import Sequence

import numpy as np
from pandas import DataFrame

from helpers.config import VARIANTS
from helpers.data import MEAN, STD, Dataset
from helpers.results.frames import historical_last
from helpers.results.intervals import prediction_half_width
from helpers.results.words import in_words, plural


def pixel_statistics(data: Dataset) -> str:
    """The data's sizes, and its pixels beside the constants used for normalising."""
    pixels = data.train_images.double().div(255)
    return (f"**{data.title}**: {len(data.train_labels):,} training and {len(data.val_labels):,} validation "
            f"images. The training pixels have mean {pixels.mean():.4f} and standard deviation "
            f"{pixels.std():.4f} in [0, 1]; all images are normalised with MNIST's {MEAN} and {STD}.")


def historical_reading(history: DataFrame, without_l1: DataFrame | None = None) -> str:
    """Whether the historical run ends where one further seed of these runs would; on MNIST alone.

    without_l1: histories of the same BatchNorm without its penalty; its cost is told then too.
    """
    if set(history.dataset) != {"mnist"}:
        return "The historical run was validated on MNIST's test images: these runs can't stand beside it."
    ends = history.merge(historical_last(), on=["norm", "epoch"], suffixes=("", "_there"))
    if ends.empty:
        return "These runs are too short to stand beside the historical run's end."
    by_norm = ends.groupby("norm", sort=False)
    checks = sum(by_norm.size() > 1)
    parts = []
    for norm, mine in by_norm:
        there = mine.val_accuracy_there.iloc[0]
        here = mine.val_accuracy.mean()
        part = f"{VARIANTS[norm].short} {there:.2f} % there, {here:.2f} % here"
        if len(mine) > 1:
            half = prediction_half_width(mine.val_accuracy, checks)
            verdict = "inside" if abs(there - here) <= half else "outside"
            if half > 100 - here:
                verdict += ", but so wide a range that hardly any run is outside"
            part += f" ({max(0, here - half):.2f} to {min(100, here + half):.2f}: {verdict})"
        parts.append(part)
    text = f"At the historical run's last epoch: {'; '.join(parts)}."
    if checks:
        at_once = f", all {checks} at once," if checks > 1 else ""
        text += f" In brackets the range in which one further seed ends{at_once} 95 times in 100."
    cost = "" if without_l1 is None else penalty_cost(history, without_l1)
    return f"{text} {cost}".strip()


def penalty_cost(history: DataFrame, without_l1: DataFrame) -> str:
    """What the historical recipe's penalty costs BatchNorm, all else equal, in the historical run's last epoch."""
    ends = history.merge(historical_last()[["norm", "epoch"]], on=["norm", "epoch"])
    both = ends.merge(without_l1, on=["norm", "seed", "epoch"], suffixes=("", "_free"))
    if both.empty:
        return ""
    cost = both.val_accuracy_free - both.val_accuracy
    return (f"The historical recipe without its penalty, all else as it was, takes BatchNorm to "
            f"{both.val_accuracy_free.mean():.2f} % in epoch {both.epoch[0]} instead of "
            f"{both.val_accuracy.mean():.2f} %: the penalty cost {in_words(cost)} ({plural(len(cost), 'seed')}).")


def shared_reading(shared: DataFrame, in_all: Sequence[int], num_runs: int) -> str:
    """Whether another variant changes the mistakes more than another seed does. shared: see `shared_frame`."""
    other = ~np.eye(len(shared), dtype=bool)
    of_one = np.diag(shared)  # nan with a single seed
    parts = []
    if other.any():
        parts.append(f"Runs of two variants share {_range(shared.to_numpy()[other])} wrong images")
    if np.isfinite(of_one).all():
        parts.append(f"two seeds of one variant share {_range(of_one)}")
        if other.any():
            change = shared.to_numpy() - (of_one[:, None] + of_one) / 2
            parts[-1] += f", so another variant changes that by {_range(change[other], '+')}"
    listed = f": {', '.join(map(str, in_all))}" if 0 < len(in_all) <= 20 else ""
    verb = "is" if len(in_all) == 1 else "are"
    parts.append(f"{plural(len(in_all), 'image')} {verb} wrong in all {num_runs} runs{listed}")
    return f"{'; '.join(parts)}."


def _range(values: Sequence[float], sign: str = "") -> str:
    low = f"{np.min(values):{sign}.1f}"
    high = f"{np.max(values):{sign}.1f}"
    return low if low == high else f"{low} to {high}"
