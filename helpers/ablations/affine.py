"""What do LayerNorm's extra parameters buy?"""

from matplotlib.figure import Figure
from pandas import DataFrame

from helpers.ablations import common
from helpers.config import Recipe

NAMES = {"layer": "LayerNorm", "group": "GroupNorm(1, C)", "layer_plain": "no γ, no β"}


@common.for_each_seed
def runs(recipe: Recipe) -> list[tuple]:
    """LayerNorm with and without γ and β, and GroupNorm(1, C): the same means, 2C parameters."""
    return [(norm, recipe.without_l1(), 1) for norm in ("layer", "layer_plain", "group")]


def finding(frame: DataFrame) -> str:
    """Whether γ and β for each position buy anything beside those for each channel, and beside none."""
    differences = _differences(frame).add_prefix("beside ")
    if differences.empty:
        return common.TOO_FEW
    return f"LayerNorm's γ and β for each place, beside fewer or none: {common.verdict(differences)}."


def _differences(frame: DataFrame) -> DataFrame:
    """LayerNorm's accuracy minus each other's, by seed; of the seeds that all three have."""
    accuracies = frame.pivot_table("val_accuracy", "seed", "norm").reindex(columns=NAMES).dropna()
    return accuracies.rsub(accuracies.layer, axis=0).drop(columns="layer").rename(columns=NAMES)


def table(frame: DataFrame) -> DataFrame:
    """Each of the three for readers."""
    compared = common.compare(_differences(frame)).text
    rows = {}
    for norm, part in frame.groupby("norm", sort=False):
        rows[NAMES[norm]] = {
            "parameters": f"{part.parameters.iloc[0]:,}",
            "accuracy": common.level(part.val_accuracy),
            "LayerNorm beside it (points)": compared.get(NAMES[norm], ""),
            "seeds": len(part),
        }
    return DataFrame.from_dict(rows, "index")


def plot(frame: DataFrame, dataset_title: str) -> Figure:
    """Accuracy of the three, seed by seed."""
    title = "What do LayerNorm's extra parameters buy?"
    points = common.compare(_differences(frame)).points
    if len(points):
        parameters = frame.groupby("norm").parameters.first()
        more = parameters.layer - parameters.group
        title = f"{more:,} more parameters give LayerNorm {points.iloc[0]} points"
    rows = frame.norm.map(NAMES) + frame.parameters.map(": {:,} parameters".format)
    return common.plot_rows(frame.assign(row=rows), title, dataset_title)
