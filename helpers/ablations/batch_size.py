"""How small may a batch be?"""

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure
from pandas import DataFrame, Series

from helpers.ablations import common
from helpers.config import RECIPES, VARIANTS, Recipe, RunConfig
from helpers.data import Dataset
from helpers.plots.style import blank, captioned, style
from helpers.results.frames import Records
from helpers.results.words import compare_in_words

SIZES = [2, 4, 8, 16, 64, 256]
USUAL = RECIPES["tuned"].batch_size


def few_images(data: Dataset, num_images: int) -> Dataset:
    """The first `num_images` training images, and all validation images."""
    images = data.train_images[:num_images]
    return replace(data, train_images=images, train_labels=data.train_labels[:num_images])


def runs(recipe: Recipe, seeds: Sequence[int], num_epochs: int) -> list[RunConfig]:
    """Each normalisation with each batch size, without a penalty, which counts updates, not images.

    The learning rate shrinks with the batch, so that equal numbers of images take equally long steps
    in all (Goyal et al. 2017). Beyond the recipe's batch it stays.
    """
    cases = []
    for norm in VARIANTS:
        for size in SIZES:
            share = size / recipe.batch_size
            lr = recipe.lr * min(1.0, share)
            own = replace(recipe.without_l1(), batch_size=size, lr=lr, ema_decay=recipe.ema_decay ** share)
            cases.append((norm, own, 2))
    return common.ablation_configs(cases, seeds, num_epochs)


def frame(records: Records) -> DataFrame:
    """norm, seed, val_accuracy, val_loss, batch_size, num_images (for training), train_mode."""
    return common.last_epochs(records, ["norm", "batch_size"], ["num_images", "train_mode"])


def finding(frame: DataFrame) -> str:
    """What the smallest batches do to each normalisation, beside the recipe's."""
    smallest = frame.batch_size.min()
    if smallest == USUAL:
        return common.TOO_FEW
    return (f"With {frame.num_images.iloc[0]:,} training images, from {USUAL} images a batch to "
            f"{smallest}: {compare_in_words(_beside_usual(frame, smallest))}.")


def _beside_usual(frame: DataFrame, size: int) -> dict[str, Series]:
    """What batches of `size` change in each norm's accuracy, seed by seed."""
    usual = common.by_seed(frame[frame.batch_size == USUAL])
    changes = common.by_seed(frame[frame.batch_size == size]) - usual
    return {VARIANTS[norm].bare: changes[norm] for norm in VARIANTS if norm in changes}


def table(frame: DataFrame) -> DataFrame:
    """Each batch size for readers: means over seeds, and what it changes beside the recipe's."""
    rows = {}
    for size, part in frame.groupby("batch_size"):
        accuracies = part.groupby("norm", sort=False).val_accuracy.mean()
        row = {VARIANTS[norm].bare: f"{accuracy:.2f} %" for norm, accuracy in accuracies.items()}
        row["BatchNorm on its own batches"] = f"{part.train_mode.mean():.2f} %"
        if size != USUAL:
            changes = common.changes_in_words(_beside_usual(frame, size))
            row |= {f"{name} beside {USUAL}": change for name, change in changes.items()}
        rows[str(size)] = row
    return DataFrame.from_dict(rows, "index").fillna("").rename_axis("images a batch")


@style()
def plot(frame: DataFrame, dataset_title: str, num_epochs: int) -> Figure:
    """Accuracy by batch size; of BatchNorm also on the statistics of its own batches."""
    ax = blank(4.5).add_axes((0.09, 0.12, 0.56, 0.62))
    common.stretch_for(ax, frame)
    ax.set_xscale("log", base=2)
    ax.set_xticks(SIZES, SIZES)
    ax.set(xlabel="images a batch", ylabel="accuracy (%)")
    facts = common.plot_accuracies(ax, frame, "batch_size")
    common.label_lines(ax, common.means(frame, "batch_size"))
    subtitle = (f"{common.subtitle(frame, dataset_title)}.\n{frame.num_images.iloc[0]:,} training images, "
                f"{num_epochs} epochs in all cases. {common.CROSSES}")
    return captioned(ax.figure, "svg", "How small may a batch be?", subtitle, *facts)
