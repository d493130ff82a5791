"""How many groups should GroupNorm have?"""

import numpy as np
from matplotlib.figure import Figure
from pandas import DataFrame
from torch import Tensor

from helpers.ablations import common
from helpers.config import Recipe


@common.for_each_seed
def runs(recipe: Recipe) -> list[tuple]:
    """1, 2 and 4 groups, and as many as channels."""
    free = recipe.without_l1()
    return [("group", free, 1), ("group", free, 2), ("group", free, 4), ("instance", free, 0)]


def finding(frame: DataFrame, labels: Tensor) -> str:
    """How much the groups' number matters until each channel is its own. labels: of the validation images."""
    if not {"1", "2", "4"} <= set(frame.groups):
        return common.TOO_FEW
    differences = _differences(frame).rename(columns={"1": "1 group", "4": "4 groups"})
    sentence = f"1 or 4 groups beside 2: {common.verdict(differences)}"
    collapsed = frame.val_accuracy[frame.groups == "C"]
    if collapsed.empty:
        return f"{sentence}."
    what = "ends at"
    if common.is_blind(collapsed, labels):
        what = "gives all images one answer,"
    return f"{sentence}; G = C {what} {collapsed.mean():.2f} %."


def _differences(frame: DataFrame) -> DataFrame:
    """Accuracy with 1 and with 4 groups minus that with 2, by seed; nan where one is missing."""
    accuracies = frame.pivot_table("val_accuracy", "seed", "groups").reindex(columns=["1", "2", "4"])
    return accuracies.sub(accuracies["2"], axis=0).drop(columns="2")


def table(frame: DataFrame, labels: Tensor) -> DataFrame:
    """Each number of groups for readers. labels: of the validation images."""
    compared = common.compare(_differences(frame)).text
    rows = {}
    for groups, part in frame.groupby("groups", sort=False):
        rows[f"G = {groups}"] = {
            "accuracy": common.level(part.val_accuracy),
            "one answer for all": "yes" if common.is_blind(part.val_accuracy, labels) else "no",
            "beside 2 groups (points)": compared.get(groups, ""),
            "seeds": len(part),
        }
    return DataFrame.from_dict(rows, "index")


def plot(frame: DataFrame, dataset_title: str) -> Figure:
    """Accuracy by the number of groups, seed by seed."""
    means = frame[frame.groups != "C"].groupby("groups").val_accuracy.mean()
    title = "How many groups?"
    if len(means) > 1:
        title = f"{', '.join(means.index)} groups are at most {np.ptp(means):.2f} points apart"
    return common.plot_rows(frame.assign(row="G = " + frame.groups), title, dataset_title)
