"""How small may a batch be?"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from helpers.ablations import common
from helpers.config import RECIPES, VARIANTS, Recipe, RunConfig
from helpers.data import Dataset
from helpers.plots.style import blank, captioned, limits, style
from helpers.results.frames import Records
from helpers.results.words import compare_in_words

SIZES = [2, 4, 8, 16, 64, 256]
USUAL = RECIPES["tuned"].batch_size


def few_images(data: Dataset, num_images: int) -> Dataset:
    """The first `num_images` training images, and all validation images."""
    if num_images >= len(data.train_labels):
        return data
    images = data.train_images[:num_images]
    return replace(data, train_images=images, train_labels=data.train_labels[:num_images])


def runs(recipe: Recipe, seeds: Sequence[int], num_epochs: int) -> list[RunConfig]:
    """Each normalisation with each batch size, without a penalty, which counts updates, not images.

    The learning rate shrinks with the batch, so that equal numbers of images take equally long steps
    in all (Goyal et al. 2017). Beyond the recipe's batch it stays.
    """
    configs = []
    for norm in VARIANTS:
        for size in SIZES:
            share = size / recipe.batch_size
            own = replace(recipe.without_l1(), batch_size=size, lr=recipe.lr * min(1.0, share),
                          ema_decay=recipe.ema_decay ** share)
            configs += [common.ablation_config(norm, seed, num_epochs, own) for seed in seeds]
    return configs


def frame(records: Records) -> pd.DataFrame:
    """norm, seed, val_accuracy, val_loss, batch_size, num_images (for training), train_mode."""
    return common.last_epochs(records, ["norm", "batch_size"], ["num_images", "train_mode"])


def finding(frame: pd.DataFrame) -> str:
    """What the smallest batches do to each normalisation, beside the recipe's."""
    smallest = frame.batch_size.min()
    changes = _beside_usual(frame, smallest)
    if smallest == USUAL or not changes:
        return common.TOO_FEW
    return (f"With {frame.num_images.iloc[0]:,} training images, from {USUAL} images a batch to "
            f"{smallest}: {compare_in_words(changes)}.")


def _beside_usual(frame: pd.DataFrame, size: int) -> dict[str, pd.Series]:
    """What batches of `size` change in each norm's accuracy, seed by seed."""
    usual = common.by_seed(frame[frame.batch_size == USUAL])
    changed = common.by_seed(frame[frame.batch_size == size])
    return {VARIANTS[norm].bare: changed[norm] - usual[norm] for norm in VARIANTS if norm in usual and norm in changed}


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Each batch size for readers: means over seeds, and what it changes beside the recipe's."""
    rows = {}
    for size, part in frame.groupby("batch_size"):
        changes = common.changes_in_words(_beside_usual(frame, size)) if size != USUAL else {}
        row = {}
        for norm, line in common.means(part, "batch_size").items():
            name = VARIANTS[norm].bare
            row[name] = f"{line[size]:.2f} % {changes.get(name, '')}"
        row["BatchNorm on its own batches"] = f"{part.train_mode.mean():.2f} %"
        rows[f"{size}"] = row
    return pd.DataFrame.from_dict(rows, "index").rename_axis(f"images a batch (change beside {USUAL})")


@style()
def plot(frame: pd.DataFrame, dataset_title: str, num_epochs: int) -> Figure:
    """Accuracy by batch size; of BatchNorm also on the statistics of its own batches."""
    ax = blank(4.5).add_axes((0.09, 0.12, 0.56, 0.62))
    ax.set_xscale("log", base=2)
    ax.set(xlabel="images a batch", ylabel="accuracy (%)")
    common.plot_accuracies(ax, frame, "batch_size", limits(frame[["val_accuracy", "train_mode"]].stack()))
    sizes = sorted(set(frame.batch_size))
    ax.set_xticks(sizes, sizes)
    ax.minorticks_off()
    lines = common.means(frame, "batch_size")
    own_batches = common.means(frame, "batch_size", "train_mode")
    common.label_lines(ax, lines, "{:.2f} %")
    facts = common.describe_lines("accuracy (%)", lines, "{:.2f}")
    facts += common.describe_lines("accuracy (%) on its own batches", own_batches, "{:.2f}")
    subtitle = (f"{common.subtitle(frame, dataset_title)}.\n{frame.num_images.iloc[0]:,} training images, "
                f"{num_epochs} epochs in all cases. {common.CROSSES}")
    return captioned(ax.figure, "svg", "How small may a batch be?", subtitle, *facts)
