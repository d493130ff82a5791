"""Diagram of the normalisation axes: which elements share one mean, what each variant learns."""

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from helpers.config import VARIANTS
from helpers.model import make_norm, num_parameters
from helpers.plots.style import ON_TILE, bare, captioned, panels, style

SHAPE = (3, 4, 3, 3)  # of the activation that is drawn: images, channels, height, width
N, C, H, W = SHAPE


@style()
def plot_normalization_axes(num_groups: int = 2) -> Figure:
    """Which elements of (N, C, H, W) share one mean, and the shape of what each variant learns.

    Raises ParameterError for `num_groups` other than 1, 2, 4.
    """
    size = C // num_groups
    n, c = np.indices((N, C))
    cases = {  # which mean each tile belongs to; formulas: number of means, of learned parameters
        "layer": (n, "N", "2·C·H·W"),
        "group": (n * num_groups + c // size, "N·G", "2·C"),
        "batch": (c, "C", "2·C"),
    }
    figure, axes = panels(1.6, len(cases))
    figure.subplots_adjust(left=0.09, right=0.44, hspace=0.5, bottom=0.02)
    facts = []
    for ax, (norm, (index, means, learned)) in zip(axes, cases.items(), strict=True):
        _draw_means(ax, index, norm)
        variant = VARIANTS[norm]
        layer = make_norm(norm, C, H, num_groups)
        mean_of = variant.mean_of.replace(", ", ",\n")
        fact = (f"{means} = {variant.means(N, C, num_groups)} means,\nper {mean_of};\n"
                f"weight {tuple(layer.weight.shape)},\nbias likewise:\n"
                f"{learned} = {num_parameters(layer)} parameters")
        ax.set_title(variant.bare, weight="bold", pad=20)
        ax.text(1.08, 0.5, fact, va="center", transform=ax.transAxes)
        facts.append(f"{variant.bare}: {fact}")
    subtitle = (f"An activation (N, C, H, W) = {SHAPE}. Tiles of one colour and number share one "
                f"mean and one variance. Groups: G = {num_groups}, channels of each: C/G = {size}")
    return captioned(figure, "svg", "Which elements share one mean", subtitle, *facts)


def _draw_means(ax: Axes, index: np.ndarray, norm: str) -> None:
    """Tiles (N, C), coloured and numbered by the mean that they share, a frame around each mean."""
    means = np.unique(index)
    colours = sns.husl_palette(len(means), s=0.6, l=0.8)
    font = {"color": ON_TILE, "weight": "bold", "size": 12, "gid": norm}
    sns.heatmap(
        index, cmap=colours, annot=index + 1, annot_kws=font, cbar=False, ax=ax,
        square=True, linewidths=4,
        xticklabels=["C1", "C2", "C3", "C4"],
        yticklabels=["N1", "N2", "N3"])
    ax.hlines(np.arange(0, N, 1 / H), 0, C, color="white", linewidth=0.8)  # pixels
    ax.vlines(np.arange(0, C, 1 / W), 0, N, color="white", linewidth=0.8)
    for mean in means:
        rows, columns = np.nonzero(index == mean)
        frame = Rectangle(
            (columns[0], rows[0]), np.ptp(columns) + 1, np.ptp(rows) + 1,
            fill=False, zorder=3, clip_on=False)
        ax.add_patch(frame)
    ax.xaxis.tick_top()
    ax.tick_params(labelleft=True, labeltop=True)
    bare(ax)
