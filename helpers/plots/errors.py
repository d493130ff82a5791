"""Errors of the main study: which digits are confused, which variants err on the same images."""

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from pandas import Series

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
def plot_overlap(counts: Series, dataset_title: str, seed: int = 0) -> Figure:
    """How many images exactly these variants get wrong, as bars.

    counts: by tuples of norms, as `overlap_counts` returns them.
    """
    height = 1.1 + 0.36 * len(counts)
    ax = blank(height).add_axes((0.4, 0.02, 0.53, 1 - 0.9 / height), xticks=[])
    names = []
    for norms in counts.index:
        names.append(", ".join(VARIANTS[norm].short for norm in norms))
    bars = ax.barh(names, counts, color="#6b7a8f")
    ax.bar_label(bars, fmt="{:,.0f}", padding=5, weight="bold")
    ax.invert_yaxis()
    bare(ax)
    title = f"What the variants get wrong together and alone: {dataset_title}"
    subtitle = f"Number of images that exactly these variants misclassify, seed {seed}"
    facts = [f"{name}: {count:,}" for name, count in zip(names, counts, strict=True)]
    return captioned(ax.figure, "svg", title, subtitle, *facts)
