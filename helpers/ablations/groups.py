"""How many groups should GroupNorm have?"""

from matplotlib.figure import Figure
from pandas import DataFrame
from torch import Tensor

from helpers.ablations import common
from helpers.config import Recipe
from helpers.results.words import compare_in_words


@common.for_each_seed
def runs(recipe: Recipe) -> list[tuple]:
    """1, 2 and 4 groups, and as many as channels."""
    free = recipe.without_l1()
    return [("group", free, 1), ("group", free, 2), ("group", free, 4), ("instance", free, 0)]


def finding(frame: DataFrame, labels: Tensor) -> str:
    """How much the groups' number matters until each channel is its own. labels: of the validation images."""
    accuracies = common.means(frame, "seed", columns="groups")
    if not {"1", "2", "4"} <= set(accuracies):
        return common.TOO_FEW
    changes = accuracies.sub(accuracies["2"], axis=0)
    comparison = compare_in_words({"1 group": changes["1"], "4 groups": changes["4"]})
    sentence = f"Beside the study's 2 groups: {comparison}."
    if "C" not in accuracies:
        return sentence
    collapsed = accuracies["C"].dropna()
    levels = sorted(set(collapsed.map("{:.2f} %".format)))
    blind = common.is_blind(collapsed, labels)
    end = ", the share of one digit: all images get the same answer." if blind else "."
    return f"{sentence} With G = C it ends at {' or '.join(levels)}{end}"


def plot(frame: DataFrame, dataset_title: str) -> Figure:
    """Accuracy by the number of groups, seed by seed."""
    rows = frame.assign(row="G = " + frame.groups)
    return common.plot_accuracy_rows(rows, "How many groups?", dataset_title)
