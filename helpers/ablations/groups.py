"""How many groups should GroupNorm have?"""

from collections.abc import Sequence

from matplotlib.figure import Figure
from pandas import DataFrame
from torch import Tensor

from helpers.ablations import common
from helpers.config import Recipe, RunConfig
from helpers.plots.style import style
from helpers.results.frames import Records
from helpers.results.words import compare_in_words


def runs(recipe: Recipe, seeds: Sequence[int], num_epochs: int) -> list[RunConfig]:
    """1, 2 and 4 groups, and as many as channels."""
    free = recipe.without_l1()
    cases = [("group", free, 1), ("group", free, 2), ("group", free, 4), ("instance", free, 0)]
    return common.ablation_configs(cases, seeds, num_epochs)


def frame(records: Records) -> DataFrame:
    """norm, seed, val_accuracy, val_loss, groups ("1", "2", "4" or "C")."""
    return common.last_epochs(records, ["groups"])


def finding(frame: DataFrame, labels: Tensor) -> str:
    """How much the number of groups matters until each channel is its own.

    labels: of the validation images.
    """
    accuracies = common.by_seed(frame, "groups")
    if not {"1", "2", "4"} <= set(accuracies):
        return common.TOO_FEW
    comparison = compare_in_words({
        "1 group": accuracies["1"] - accuracies["2"],
        "4 groups": accuracies["4"] - accuracies["2"],
    })
    sentence = f"Beside the study's 2 groups: {comparison}."
    if "C" not in accuracies:
        return sentence
    collapsed = accuracies["C"].dropna()
    levels = sorted({f"{accuracy:.2f} %" for accuracy in collapsed})
    blind = common.is_blind(collapsed, labels)
    end = ", the share of one digit: all images get the same answer." if blind else "."
    return f"{sentence} With G = C it ends at {' or '.join(levels)}{end}"


@style()
def plot(frame: DataFrame, dataset_title: str) -> Figure:
    """Accuracy by the number of groups, seed by seed."""
    frame = frame.assign(row="G = " + frame.groups)
    return common.plot_accuracy_rows(frame, "How many groups?", dataset_title)
