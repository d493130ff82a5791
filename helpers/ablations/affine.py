"""What do LayerNorm's extra parameters buy?"""

from collections.abc import Sequence

from matplotlib.figure import Figure
from pandas import DataFrame

from helpers.ablations import common
from helpers.config import Recipe, RunConfig
from helpers.plots.style import style
from helpers.results.frames import Records
from helpers.results.words import compare_in_words

NAMES = {
    "layer": "LayerNorm\nγ, β of (C, H, W)\n",
    "layer_plain": "LayerNorm\nno γ, no β\n",
    "group": "GroupNorm(1, C)\nγ, β of C\n",
}


def runs(recipe: Recipe, seeds: Sequence[int], num_epochs: int) -> list[RunConfig]:
    """LayerNorm with and without γ and β, and GroupNorm(1, C): the same means, 2C parameters."""
    free = recipe.without_l1()
    return common.ablation_configs([(norm, free, 1) for norm in NAMES], seeds, num_epochs)


def frame(records: Records) -> DataFrame:
    """norm, seed, val_accuracy, val_loss, parameters (how many)."""
    return common.last_epochs(records, ["norm"], ["parameters"])


def finding(frame: DataFrame) -> str:
    """Whether γ and β for each position buy anything beside those for each channel, and beside none."""
    accuracies = common.by_seed(frame).dropna()
    if set(accuracies) != set(NAMES) or accuracies.empty:
        return common.TOO_FEW
    parameters = frame.groupby("norm").parameters.first()
    more = parameters["layer"] - parameters
    comparison = compare_in_words({
        f"beside GroupNorm(1, C), with {more['group']:,} parameters more:":
            accuracies.layer - accuracies.group,
        f"beside itself without γ and β, with {more['layer_plain']:,} more:":
            accuracies.layer - accuracies.layer_plain,
    })
    return f"LayerNorm {comparison}."


@style()
def plot(frame: DataFrame, dataset_title: str) -> Figure:
    """Accuracy of the three, seed by seed."""
    rows = frame.norm.map(NAMES) + frame.parameters.map("{:,} parameters".format)
    return common.plot_accuracy_rows(
        frame.assign(row=rows), "What do LayerNorm's extra parameters buy?", dataset_title)
