"""How small may a batch be?"""

import math
from collections.abc import Iterator
from dataclasses import replace

from matplotlib.figure import Figure
from pandas import DataFrame

from helpers.ablations import common
from helpers.config import RECIPES, VARIANTS, Recipe
from helpers.data import Dataset
from helpers.plots.style import blank, style

SIZES = [2, 4, 8, 16, 64]
USUAL = RECIPES["tuned"].batch_size


def few_images(data: Dataset, num_images: int) -> Dataset:
    """The first `num_images` training images, and all validation images."""
    part = slice(num_images)
    return replace(data, train_images=data.train_images[part], train_labels=data.train_labels[part])


@common.for_each_seed
def runs(recipe: Recipe) -> Iterator[tuple]:
    """Each normalisation with each batch size, without a penalty, which counts updates, not images.

    The learning rate shrinks with the batch, so that equal numbers of images take equally long steps in all
    (Goyal et al. 2017). Batches larger than the recipe's would need longer steps, or get fewer of them.
    """
    for norm in VARIANTS:
        for size in SIZES:
            share = size / recipe.batch_size
            decay = recipe.ema_decay ** share
            yield norm, replace(recipe.without_l1(), batch_size=size, lr=share * recipe.lr, ema_decay=decay), 2


def finding(frame: DataFrame) -> str:
    """What the smallest batches do to each normalisation, beside the recipe's."""
    smallest = frame.batch_size.min()
    if smallest == USUAL:
        return common.TOO_FEW
    return f"Batches of {smallest} beside {USUAL}: {common.verdict(_beside_usual(frame, smallest))}."


def _beside_usual(frame: DataFrame, size: int) -> DataFrame:
    """What batches of `size` change in each norm's accuracy, by seed; a column a norm, by its name."""
    usual = frame[frame.batch_size == USUAL].pivot_table("val_accuracy", "seed", "norm")
    changes = frame[frame.batch_size == size].pivot_table("val_accuracy", "seed", "norm") - usual
    return changes.reindex(columns=VARIANTS).rename(columns=common.BARE)


def table(frame: DataFrame) -> DataFrame:
    """Each batch size for readers: means over seeds; in brackets the points beside the recipe's batches."""
    table = frame.pivot_table("val_accuracy", "batch_size", "norm").filter(VARIANTS).rename(columns=common.BARE)
    table["BatchNorm on its own batches"] = frame.groupby("batch_size").train_mode.mean()
    table = table.map("{:.2f} %".format).replace("nan %", "")
    for size in table.index.drop(USUAL, errors="ignore"):
        for name, text in common.compare(_beside_usual(frame, size)).text.items():
            table.loc[size, name] += f" [{text}]"
    return table.rename_axis(f"images a batch [points beside {USUAL}]").rename_axis(columns=None)


@style()
def plot(frame: DataFrame, dataset_title: str, num_epochs: int) -> Figure:
    """Accuracy by batch size; of BatchNorm also on the statistics of its own batches."""
    height = 3.6  # inches
    ax = blank(height).add_axes((0.17, 0.55 / height, 0.8, 1 - 1.3 / height))
    ax.set_xscale("log", base=2)
    ax.set_xticks(SIZES, SIZES)
    ax.set(xlabel="images a batch", ylabel="accuracy (%)")
    common.plot_accuracies(ax, frame, "batch_size", frame)
    subtitle = (f"{frame.num_images.iloc[0]:,} training images, {num_epochs} epochs in all cases. "
                f"{common.subtitle(frame, dataset_title)}")
    return common.captioned_lines(ax.figure, _title(frame), subtitle, frame, finding(frame))


def _title(frame: DataFrame) -> str:
    smallest = frame.batch_size.min()
    change = _beside_usual(frame, smallest).BatchNorm.mean()
    if smallest == USUAL or math.isnan(change):
        return "How small may a batch be?"
    verb = "loses" if change < 0 else "gains"
    return f"BatchNorm {verb} {abs(change):.2f} points with batches of {smallest} instead of {USUAL}"
