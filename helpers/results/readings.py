"""Readings: what a reader sees in a figure, or in the data, as sentences computed from them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from helpers.config import VARIANTS, Study
from helpers.data import MEAN, STD, Dataset
from helpers.results.frames import Records, historical_last
from helpers.results.intervals import prediction_half_width
from helpers.results.words import in_words, plural


def pixel_statistics(data: Dataset) -> str:
    """The data's sizes, and its pixels beside the constants used for normalising."""
    pixels = data.train_images.double().div(255)
    return (f"**{data.title}**: {len(data.train_labels):,} training and {len(data.val_labels):,} "
            f"validation images. The training pixels have mean {pixels.mean():.4f} and standard "
            f"deviation {pixels.std():.4f} in [0, 1]; all images are normalised with MNIST's "
            f"{MEAN} and {STD}.")


def training_report(records: Records, failures: Sequence[str], study: Study, data: Dataset) -> str:
    """What was trained, on how much, and how long it took."""
    seconds = [epoch["seconds"] for record in records for epoch in record["history"]] or [0]
    parts = [
        f"**{plural(len(records), 'training run')}** of {plural(study.num_epochs, 'epoch')} on the "
        f"{len(data.train_labels):,} training images of {data.title}, validated on "
        f"{len(data.val_labels):,}: {sum(seconds) / 60:.1f} minutes of training in all, "
        f"{np.median(seconds):.1f} s an epoch (median)."]
    if study.reuse_records:
        parts.append("As asked, runs that are among the published records were taken from there, "
                     "not trained.")
    parts += [f"**Failed:** {failure}." for failure in failures]
    return "\n\n".join(parts)


def loss_reading(history: pd.DataFrame) -> str:
    """What the loss curves show: their end and their lowest point."""
    parts = [f"{VARIANTS[norm].short} ends at {curve.iloc[-1]:.4f} nats "
             f"(lowest: {curve.min():.4f} in epoch {curve.idxmin()})"
             for norm, curve in _mean_curves(history, "val_loss").items()]
    over = ", mean over seeds" if history.seed.nunique() > 1 else ""
    return f"Validation loss{over}: {'; '.join(parts)}."


def accuracy_reading(history: pd.DataFrame) -> str:
    """What the accuracy curves show: when each variant is near its end, for good."""
    parts = []
    for norm, curve in _mean_curves(history, "val_accuracy").items():
        part = f"{VARIANTS[norm].short} ends at {curve.iloc[-1]:.2f} %"
        far = curve.index[(curve - curve.iloc[-1]).abs() > 0.1]
        settled = max(far, default=0) + 1
        if settled < curve.index[-1]:
            part += f" and stays within 0.1 points of that from epoch {settled} on"
        parts.append(part)
    return f"{'; '.join(parts)}."


def _mean_curves(history: pd.DataFrame, column: str) -> pd.DataFrame:
    """Means over seeds: one row an epoch, one column a variant."""
    return history.pivot_table(column, "epoch", "norm", sort=False)


def historical_reading(history: pd.DataFrame, without_l1: pd.DataFrame | None = None) -> str:
    """Whether the historical run ends where one further seed of these runs would; on MNIST alone.

    without_l1: histories of the same BatchNorm without its penalty; its cost is told then too.
    """
    if set(history.dataset) != {"mnist"}:
        return ("The historical run was validated on MNIST's test images: these runs can't stand "
                "beside it.")
    old = historical_last().reset_index()[["norm", "epoch", "val_accuracy"]]
    ends = history.merge(old, on=["norm", "epoch"], suffixes=("", "_there"))
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
            part += f" ({max(0, here - half):.2f} to {min(100, here + half):.2f}: {verdict})"
        parts.append(part)
    text = f"At the historical run's last epoch: {'; '.join(parts)}."
    if checks:
        at_once = f", all {checks} at once," if checks > 1 else ""
        text += f" In brackets the range in which one further seed ends{at_once} 95 times in 100."
    if without_l1 is not None:
        text += _penalty_cost(ends[ends.norm == "batch"], without_l1)
    return text


def _penalty_cost(with_l1: pd.DataFrame, without_l1: pd.DataFrame) -> str:
    """What the penalty costs BatchNorm, seed by seed, at that epoch; "" without common seeds."""
    both = with_l1.merge(without_l1, on=["norm", "seed", "epoch"], suffixes=("", "_free"))
    if both.empty:
        return ""
    cost = both.val_accuracy_free - both.val_accuracy
    return (f" Without its penalty, all else as it was, {VARIANTS['batch'].bare} is at "
            f"{both.val_accuracy_free.mean():.2f} % in epoch {both.epoch[0]} instead of "
            f"{both.val_accuracy.mean():.2f} %: the penalty cost {in_words(cost)} "
            f"({plural(len(cost), 'seed')}).")


def confusion_reading(matrices: Mapping[str, np.ndarray], num_seeds: int = 1) -> str:
    """The most frequent confusion of each variant, all seeds together."""
    parts = []
    for norm, matrix in matrices.items():
        errors = matrix - np.diag(np.diag(matrix))
        part = f"{VARIANTS[norm].short} makes no error"
        if errors.any():
            digit, read_as = np.unravel_index(errors.argmax(), errors.shape)
            part = (f"{VARIANTS[norm].short} most often reads {digit} as {read_as} "
                    f"({errors.max()} of its {plural(errors.sum(), 'error')})")
        parts.append(part)
    over = f"Summed over {num_seeds} seeds: " if num_seeds > 1 else ""
    return f"{over}{'; '.join(parts)}."


def overlap_reading(counts: pd.Series) -> str:
    """How many errors the variants share."""
    total = counts.sum()
    sizes = counts.index.map(len)
    most = max(sizes)
    if most == 1 or total == 0:
        return f"{plural(total, 'image')} misclassified."
    together = counts[sizes == most].sum()
    alone = counts[sizes == 1].sum()
    everyone = "both" if most == 2 else f"all {most}"
    return (f"At least one variant gets {plural(total, 'image')} wrong: {together} of them wrong "
            f"for {everyone} ({100 * together / total:.0f} %), {alone} for one alone "
            f"({100 * alone / total:.0f} %).")
