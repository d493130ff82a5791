"""Errors of the main study: which digits are confused, which variants err on the same images."""

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from pandas import DataFrame

from helpers.config import VARIANTS
from helpers.plots.style import INK, bare, blank, captioned, panels, style


@style()
def plot_confusion(matrices: dict, dataset_title: str, num_seeds: int = 1) -> Figure:
    """Errors by true and predicted digit, on one colour scale for all variants.

    matrices: norm -> (10, 10) counts over all seeds, true digits in rows. The diagonal is left out:
    its colours would drown the errors.
    """
    figure, axes = panels(4.1, len(matrices))
    diagonal = np.eye(10, dtype=int)
    all_errors = np.stack(list(matrices.values())) * (1 - diagonal)
    most = all_errors.max()
    colours = sns.blend_palette(["#f6f4f2", "#f5a55b"], as_cmap=True)  # light: numbers are dark
    font = {"color": INK, "size": min(9, 24 / len(str(most)))}
    facts = []
    for ax, norm, errors in zip(axes, matrices, all_errors, strict=True):
        sns.heatmap(
            errors, mask=diagonal, vmin=0, vmax=most + 1, cmap=colours, cbar=False, ax=ax,
            annot=np.where(errors, errors, ""), fmt="", annot_kws=font,
            square=True, linewidths=1)
        bare(ax)
        ax.set(facecolor="#c8c8c8", xlabel="predicted digit")
        fact = f"{VARIANTS[norm].short}: {errors.sum():,} wrong"
        ax.set_title(fact)
        if errors.any():
            true, predicted = np.argwhere(errors == errors.max())[0]
            fact += f", most often {true} taken for {predicted} ({errors.max():,} times)"
        facts.append(f"{fact}, of {matrices[norm].sum():,} images")
    axes[0].set_ylabel("true digit")
    title = f"Which digits are taken for which: {dataset_title}"
    subtitle = f"Misclassified images, sum over seeds: {num_seeds}. Grey: correct ones, left out"
    return captioned(figure, "svg", title, subtitle, *facts)


@style()
def plot_shared(shared: DataFrame, dataset_title: str, reading: str) -> Figure:
    """How many misclassified images two runs share, a tile for each pair of variants.

    shared: from `shared_frame`. reading: what is seen, for the alt text.
    """
    figure = blank(3.6)
    ax = figure.add_axes((0.24, 0.06, 0.45, 0.62))
    names = [VARIANTS[norm].short for norm in shared]
    colours = sns.blend_palette(["#f6f4f2", "#f5a55b"], as_cmap=True)
    sns.heatmap(shared, vmin=0, annot=True, fmt=".1f", annot_kws={"color": INK, "size": 12}, cmap=colours, cbar=False,
                ax=ax, linewidths=3, xticklabels=names, yticklabels=names)
    ax.xaxis.tick_top()
    ax.set(xlabel="", ylabel="")
    bare(ax)
    title = f"Wrong images that two runs share: {dataset_title}"
    subtitle = "Mean over pairs of runs with different seeds. On the diagonal: two seeds of one variant"
    return captioned(figure, "svg", title, subtitle, reading.removesuffix("."))
