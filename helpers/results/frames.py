"""What the runs' records say, as numbers: histories, errors, last epochs, comparisons of pairs.

Accuracies are in percent, losses in nats, differences between variants in validation images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import permutations

import numpy as np
from pandas import DataFrame, read_csv
from torch import Tensor

from helpers.config import VARIANTS, Recipe
from helpers.data import NUM_CLASSES, Dataset
from helpers.files import RECORDS
from helpers.results.intervals import half_width, wilson_interval

Records = Sequence[Mapping]

RECIPE = ["peak_lr" if one.name == "lr" else one.name for one in fields(Recipe)]  # each epoch has its own lr
IDENTITY = ["dataset", "norm", "seed", "num_epochs", "num_groups", "device", *RECIPE]
HISTORY = [*IDENTITY, "epoch", "lr", "train_loss", "l1_penalty", "train_accuracy",
           "val_loss", "val_accuracy", "val_correct", "published"]
WRONG = ["norm", "seed", "index", "label", "prediction", "confidence", "true_confidence"]
FINAL = ["norm", "variant", "parameters", "n", "published", "val_accuracy", "std", "low", "high", "val_loss",
         "train_accuracy", "l1_penalty", "errors", "seconds_per_epoch"]


def history_frame(records: Records) -> DataFrame:
    """One row for each run and epoch, with all that identifies the run, without the clock."""
    rows = []
    for record in records:
        recipe = record["config"]["recipe"]
        run = {**recipe, "peak_lr": recipe["lr"], **record["config"], "dataset": record["dataset"]["name"],
               "published": record.get("published", False)}  # taken from records/, not trained here
        rows += [{**run, **epoch} for epoch in record["history"]]
    return DataFrame(rows, columns=HISTORY)


def epoch_seconds(records: Records) -> list[float]:
    """How long each epoch of these runs took."""
    return [epoch["seconds"] for record in records for epoch in record["history"]]


def wrong_frame(records: Records) -> DataFrame:
    """One row for each run and misclassified validation image; confidences are probabilities."""
    rows = [(record["config"]["norm"], record["config"]["seed"], *row) for record in records for row in record["wrong"]]
    return DataFrame(rows, columns=WRONG)


def historical_frame() -> DataFrame:
    """The historical run, epoch by epoch: one seed, 10,000 test images. Source: see the README."""
    return read_csv(RECORDS / "historical_curves.csv")


def historical_last() -> DataFrame:
    """The historical run's last epochs, sorted by norm."""
    return historical_frame().groupby("variant").last().rename_axis("norm").reset_index()


def historical_ends(data: Dataset) -> DataFrame | None:
    """Where the historical run ended, by norm; None where it was not validated on `data`."""
    return historical_last() if data.name == "mnist" else None


def final_frame(records: Records) -> DataFrame:
    """One row a variant: its last epoch over the seeds and, on MNIST, the historical run's.

    low, high: the t-interval over seeds; of one seed Wilson's over the images, which says nothing of another.
    """
    rows = []
    for norm, group in _by_norm(records).items():
        last = DataFrame([record["history"][-1] for record in group])
        half = half_width(last.val_accuracy)
        low, high = np.clip(last.val_accuracy.mean() + np.array([-half, half]), 0, 100)
        if len(group) == 1:
            low, high = wilson_interval(last.val_correct[0], group[0]["dataset"]["num_val"])
        rows.append({
            **last.mean(), "norm": norm, "variant": VARIANTS[norm].title, "n": len(group),
            "published": sum(record.get("published", False) for record in group),
            "parameters": group[0]["num_parameters"], "errors": len(wrong_frame(group)) / len(group),
            "std": last.val_accuracy.std(), "low": low, "high": high,
            "seconds_per_epoch": np.median(epoch_seconds(group))})
    final = DataFrame(rows, columns=FINAL)
    if any(record["dataset"]["name"] != "mnist" for record in records):
        return final
    ends = historical_last().set_index("norm")[["epoch", "val_accuracy", "val_loss"]]
    return final.merge(ends.add_prefix("historical_"), how="left", on="norm")


def confusion_matrices(records: Records, labels: Tensor) -> dict[str, np.ndarray]:
    """For each variant how often a digit (row) was read as each digit (column), over its seeds."""
    all_right = np.diag(np.bincount(labels, minlength=NUM_CLASSES))
    matrices = {norm: len(group) * all_right for norm, group in _by_norm(records).items()}
    for row in wrong_frame(records).itertuples():
        matrices[row.norm][row.label, row.label] -= 1
        matrices[row.norm][row.label, row.prediction] += 1
    return matrices


def shared_frame(records: Records) -> DataFrame:
    """How many misclassified images two runs share, mean over pairs of runs: variants in rows and columns.

    Pairs of different seeds, so that two runs of one variant are the baseline; of one seed where there is no other.
    """
    wrong = [(record["config"], {row[0] for row in record["wrong"]}) for record in records]
    several = len({config["seed"] for config, _ in wrong}) > 1
    rows = []
    for (a, a_wrong), (b, b_wrong) in permutations(wrong, 2):
        if a["seed"] != b["seed"] or not several:
            rows.append((a["norm"], b["norm"], len(a_wrong & b_wrong)))
    pairs = DataFrame(rows, columns=["a", "b", "shared"])
    norms = list(_by_norm(records))
    return pairs.pivot_table("shared", "a", "b").reindex(index=norms, columns=norms)


def wrong_in_all(records: Records) -> list[int]:
    """The images that every run gets wrong."""
    return sorted(set.intersection(*({row[0] for row in record["wrong"]} for record in records)))


def environments_frame(records: Records) -> DataFrame:
    """What computed the runs: a row for each kind of machine, with its runs, epochs and seconds of training."""
    rows = []
    for record in records:
        seconds = epoch_seconds([record])
        rows.append({**record["environment"], "runs": 1, "epochs": len(seconds), "seconds": sum(seconds)})
    kinds = [name for name in DataFrame(rows) if name not in ("runs", "epochs", "seconds")]
    return DataFrame(rows).groupby(kinds, sort=False, dropna=False).sum().reset_index()


def _by_norm(records: Records) -> dict[str, list[Mapping]]:
    """The records of each variant that has any, in the order of VARIANTS."""
    groups = {norm: [] for norm in VARIANTS}
    for record in records:
        groups[record["config"]["norm"]].append(record)
    return {norm: group for norm, group in groups.items() if group}
