"""Errors of the main study: which digits are confused, how many errors two runs share."""

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from helpers.config import VARIANTS
from helpers.plots.style import ON_TILE, bare, blank, captioned, style


@style()
def plot_confusion(matrices: dict, dataset_title: str, num_seeds: int = 1) -> Figure:
    """Errors by true and predicted digit, all variants and seeds together.

    matrices: norm -> (10, 10) counts, true digits in rows. The diagonal is left out: it would drown the errors.
    """
    total = sum(matrices.values())
    errors = total * (1 - np.eye(10, dtype=int))
    ax = blank(3.9).add_axes((0.13, 0.13, 0.85, 0.85))
    size = 11.5 if errors.max() < 100 else 9
    _draw_tiles(ax, DataFrame(errors), np.where(errors, errors, ""), size, errors.max() + 1)
    ax.set(xlabel="predicted digit", ylabel="true digit")
    title = "No digit is taken for another"
    if errors.any():
        true, predicted = np.argwhere(errors == errors.max())[0]
        title = f"Most often a {true} is taken for a {predicted}: {errors.max():,} of {errors.sum():,} errors"
    subtitle = f"{dataset_title}: errors of {len(matrices)} variants, sum over seeds: {num_seeds}. Correct left out"
    return captioned(ax.figure, "svg", title, subtitle, f"{errors.sum():,} errors of {total.sum():,} images read")


@style()
def plot_shared(shared: DataFrame, dataset_title: str, reading: str) -> Figure:
    """How many misclassified images two runs share, a tile for each pair of variants.

    shared: from `shared_frame`. reading: what is seen; its first sentence becomes the title.
    """
    ax = blank(2.2).add_axes((0.37, 0.02, 0.61, 0.78))
    shared = shared.rename(lambda norm: VARIANTS[norm].short)
    shared.columns = [VARIANTS[norm].bare.removesuffix("Norm") for norm in shared.columns]
    _draw_tiles(ax, shared, True, 12, np.nan_to_num(shared).max() or 1)  # a single run shares with none
    ax.xaxis.tick_top()
    ax.set(xlabel="", ylabel="")
    title, *facts = reading.removesuffix(".").split(". ")
    subtitle = f"{dataset_title}: mean over pairs of different seeds. On the diagonal two seeds of one variant"
    return captioned(ax.figure, "svg", title, subtitle, *facts)


def _draw_tiles(ax: Axes, numbers: DataFrame, annot, size: float, most: float) -> None:
    colours = sns.blend_palette(["#f6f4f2", "#f5a55b"], as_cmap=True)  # light: numbers are dark
    form = ".1f" if annot is True else ""
    sns.heatmap(numbers, vmin=0, vmax=most, annot=annot, fmt=form, annot_kws={"color": ON_TILE, "size": size},
                cmap=colours, cbar=False, ax=ax, linewidths=2)
    bare(ax)
