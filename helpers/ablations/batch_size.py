"""How small may a batch be?"""

from collections.abc import Iterator
from dataclasses import replace

from matplotlib.figure import Figure
from pandas import DataFrame

from helpers.ablations import common
from helpers.config import RECIPES, VARIANTS, Recipe
from helpers.data import Dataset
from helpers.plots.style import blank, style
from helpers.results.words import compare_in_words

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
    return (f"With {frame.num_images.iloc[0]:,} training images, from {USUAL} images a batch to {smallest}: "
            f"{_beside_usual(frame, smallest)}.")


def _beside_usual(frame: DataFrame, size: int) -> str:
    """What batches of `size` change in each norm's accuracy."""
    usual = common.means(frame[frame.batch_size == USUAL], "seed")
    changes = common.means(frame[frame.batch_size == size], "seed") - usual
    return compare_in_words({VARIANTS[norm].bare: changes[norm] for norm in VARIANTS if norm in changes})


def table(frame: DataFrame) -> DataFrame:
    """Each batch size for readers: means over seeds, and what it changes beside the recipe's."""
    means = common.means(frame, "batch_size")
    columns = {VARIANTS[norm].bare: means[norm] for norm in VARIANTS if norm in means}
    columns["BatchNorm on its own batches"] = frame.groupby("batch_size").train_mode.mean()
    table = DataFrame(columns).map("{:.2f} %".format).replace("nan %", "")
    for size in table.index.drop(USUAL, errors="ignore"):
        table.loc[size, f"beside {USUAL} images a batch"] = _beside_usual(frame, size)
    return table.fillna("").rename_axis("images a batch")


@style()
def plot(frame: DataFrame, dataset_title: str, num_epochs: int) -> Figure:
    """Accuracy by batch size; of BatchNorm also on the statistics of its own batches."""
    ax = blank(4.5).add_axes((0.09, 0.12, 0.56, 0.62))
    ax.set_xscale("log", base=2)
    ax.set_xticks(SIZES, SIZES)
    ax.set(xlabel="images a batch", ylabel="accuracy (%)")
    common.label_lines(ax, common.plot_accuracies(ax, frame, "batch_size", frame))
    subtitle = (f"{common.subtitle(frame, dataset_title)}.\n{frame.num_images.iloc[0]:,} training images, "
                f"{num_epochs} epochs in all cases.")
    return common.captioned_lines(ax.figure, "How small may a batch be?", subtitle, frame, finding(frame))
