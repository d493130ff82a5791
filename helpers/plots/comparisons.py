"""Every comparison: the difference of each pair of variants in each set of runs."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame

from helpers.config import VARIANTS
from helpers.plots.style import INK, LOOKS, blank, captioned, style
from helpers.results.comparisons import CONFIRMATION, MARGIN, SHORT
from helpers.results.intervals import half_width
from helpers.results.words import plural

ROW = 0.22  # inches
SHOWN = "#0072b2"  # of an interval that leaves out zero, in the confirmation
OTHER = "#808080"


@style()
def plot_answer(history: DataFrame, dataset_title: str, title: str) -> Figure:
    """The last epoch's accuracy, a row a variant: its seeds, their mean and its interval.

    history: columns norm, seed, epoch, val_accuracy.
    """
    last = history.sort_values("epoch").groupby(["norm", "seed"]).val_accuracy.last()
    norms = [norm for norm in VARIANTS if norm in set(history.norm)]
    height = 0.55 + 0.62 * len(norms)
    ax = blank(height).add_axes((0.04, 0.5 / height, 0.92, 1 - 0.52 / height))
    facts = []
    for row, norm in enumerate(norms):
        accuracies = last[norm]
        look = LOOKS[norm]
        text = f"{SHORT[norm]} {accuracies.mean():.2f} %"
        ax.plot(accuracies, [row] * len(accuracies), "o", color=look.colour, alpha=0.35, markersize=5, gid="seed")
        if len(accuracies) > 1:
            half = half_width(accuracies)
            ax.errorbar(accuracies.mean(), row, xerr=half, color=look.colour, fmt=look.marker, capsize=4, linewidth=2)
            text = f"{SHORT[norm]} {accuracies.mean():.2f} ± {half:.2f} %"
        ax.text(0.0, row - 0.33, text, weight="bold", va="center", transform=ax.get_yaxis_transform())
        facts.append(text)
    ax.set(ylim=(len(norms) - 0.6, -0.6), yticks=[], xlabel="validation accuracy (%)")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    num_seeds = history.seed.nunique()
    basis = "One seed"
    if num_seeds > 1:
        basis = (f"Dots: {num_seeds} seeds; bars: means with 95 % intervals, which may overlap where a difference, "
                 "taken seed by seed, is clear")
    subtitle = f"Validation accuracy on {dataset_title}. {basis}"
    return captioned(ax.figure, "svg", title, subtitle, *facts)


@style()
def plot_comparisons(evidence: DataFrame, title: str) -> Figure:
    """A row for each set of runs, a block for each pair. evidence: from `evidence_frame`."""
    blocks = list(evidence.groupby(["a", "b"], sort=False))
    height = 0.6 + 2 * ROW * (len(evidence) + 0.75 * len(blocks))
    ax = blank(height).add_axes((0.03, 0.5 / height, 0.94, 1 - 0.52 / height))
    num_images = evidence.num_images.iloc[0]
    margin = MARGIN * num_images
    ax.axvspan(-margin, margin, color="#eeeeee", zorder=0, gid="margin")
    ax.axvline(0, color=INK, linewidth=0.8)
    facts = []
    y = 0.0
    for (a, b), block in blocks:
        heading = {"y": y, "weight": "bold", "va": "center", "transform": ax.get_yaxis_transform()}
        ax.text(0.0, s=f"← {SHORT[b]}", **heading)
        ax.text(1.0, s=f"{SHORT[a]} →", ha="right", **heading)
        facts.append(f"{SHORT[a]} against {SHORT[b]}")
        y += 0.9
        for row in block.itertuples():
            facts.append(_plot_row(ax, y, row))
            y += 1
        y += 0.1
    ax.set(ylim=(y - 0.5, -0.5), yticks=[], xlabel=f"difference (images of {num_images:,})")
    ends = evidence.difference.abs() + evidence.half_width
    most = max(ends.max(), np.abs(np.concatenate(evidence.differences.tolist())).max())
    ax.set_xlim(-1.05 * most, 1.05 * most)
    subtitle = ("Who gets more images right, and how many more. Dots: seeds; bars: mean and 95 % interval, hollow "
                f"where it holds 0. Grey: less than {margin:g} images. Blue: announced beforehand")
    return captioned(ax.figure, "svg", title, subtitle, *facts)


def _plot_row(ax: Axes, y: float, row) -> str:
    """Draws one set of runs with its name above it; returns what is seen."""
    confirms = row.source == CONFIRMATION
    colour = SHOWN if confirms else OTHER
    ax.plot(row.differences, [y + 0.2] * len(row.differences), "o", color=colour, alpha=0.5, markersize=4, gid="seed")
    size = f"{row.difference:+.1f}"
    if np.isfinite(row.half_width):
        size += f" ± {row.half_width:.1f}"
        filling = "white" if abs(row.difference) <= row.half_width else colour
        ax.errorbar(row.difference, y + 0.2, xerr=row.half_width, color=colour, fmt="D", capsize=3, linewidth=2,
                    markersize=6, markerfacecolor=filling)
    name = f"{row.source}, {plural(len(row.seeds), 'seed')}: {size}"
    ax.text(0.0, y - 0.22, name, weight="bold" if confirms else "normal", va="center",
            transform=ax.get_yaxis_transform())
    return name
