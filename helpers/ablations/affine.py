"""What do LayerNorm's extra parameters buy?"""

from matplotlib.figure import Figure
from pandas import DataFrame

from helpers.ablations import common
from helpers.config import Recipe
from helpers.results.words import compare_in_words

NAMES = {"layer": "LayerNorm\nγ, β of (C, H, W)\n", "layer_plain": "LayerNorm\nno γ, no β\n",
         "group": "GroupNorm(1, C)\nγ, β of C\n"}


@common.for_each_seed
def runs(recipe: Recipe) -> list[tuple]:
    """LayerNorm with and without γ and β, and GroupNorm(1, C): the same means, 2C parameters."""
    return [(norm, recipe.without_l1(), 1) for norm in NAMES]


def finding(frame: DataFrame) -> str:
    """Whether γ and β for each position buy anything beside those for each channel, and beside none."""
    accuracies = common.means(frame, "seed").dropna()
    if set(accuracies) != set(NAMES) or accuracies.empty:
        return common.TOO_FEW
    parameters = frame.groupby("norm").parameters.first()
    more = parameters["layer"] - parameters
    beside_group = f"beside GroupNorm(1, C), with {more['group']:,} parameters more:"
    beside_plain = f"beside itself without γ and β, with {more['layer_plain']:,} more:"
    comparison = compare_in_words({beside_group: accuracies.layer - accuracies.group,
                                   beside_plain: accuracies.layer - accuracies.layer_plain})
    return f"LayerNorm {comparison}."


def plot(frame: DataFrame, dataset_title: str) -> Figure:
    """Accuracy of the three, seed by seed."""
    rows = frame.norm.map(NAMES) + frame.parameters.map("{:,} parameters".format)
    title = "What do LayerNorm's extra parameters buy?"
    return common.plot_accuracy_rows(frame.assign(row=rows), title, dataset_title)
