"""Every comparison: the difference of each pair of variants in each set of runs."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from helpers.plots.style import INK, LOOKS, blank, captioned, style
from helpers.results.comparisons import MARGIN, SHORT
from helpers.results.evidence import CONFIRMATION

ROW = 0.26  # inches


@style()
def plot_comparisons(evidence: DataFrame, title: str) -> Figure:
    """A row for each set of runs, a block for each pair. evidence: from `evidence_frame`."""
    blocks = list(evidence.groupby(["a", "b"], sort=False))
    height = 1.35 + ROW * (len(evidence) + 1.4 * len(blocks))
    ax = blank(height).add_axes((0.25, 0.5 / height, 0.55, 1 - 1.4 / height))
    num_images = evidence.num_images.iloc[0]
    margin = MARGIN * num_images
    ax.axvspan(-margin, margin, color="#eeeeee", zorder=0, gid="margin")
    ax.axvline(0, color=INK, linewidth=0.8)
    facts = []
    y = 0.0
    for (a, b), block in blocks:
        heading = {"y": y, "weight": "bold", "va": "center", "transform": ax.get_yaxis_transform()}
        ax.text(0.01, s=f"← {SHORT[b]}", **heading)
        ax.text(0.99, s=f"{SHORT[a]} →", ha="right", **heading)
        facts.append(f"{SHORT[a]} against {SHORT[b]}")
        y += 1
        for row in block.itertuples():
            facts.append(_plot_row(ax, y, row))
            y += 1
        y += 0.4
    ax.set(ylim=(y - 0.4, -0.6), yticks=[], xlabel=f"difference (images of {num_images:,})")
    ends = evidence.difference.abs() + evidence.half_width
    most = max(ends.max(), np.abs(np.concatenate(evidence.differences.tolist())).max())
    ax.set_xlim(-1.05 * most, 1.05 * most)
    subtitle = ("Who gets more images right, and how many more. Dots: seeds; bars: mean and 95 % interval.\n"
                f"Grey: a difference of less than {margin:g} images. Only the confirmation was announced beforehand")
    return captioned(ax.figure, "svg", title, subtitle, *facts)


def _plot_row(ax: Axes, y: float, row) -> str:
    """Draws one set of runs; returns what is seen."""
    confirms = row.source == CONFIRMATION
    colour = LOOKS["layer"].colour if confirms else "#808080"
    weight = "bold" if confirms else "normal"
    ax.plot(row.differences, [y] * len(row.differences), "o", color=colour, alpha=0.4, markersize=4, gid="seed")
    if np.isfinite(row.half_width):
        ax.errorbar(row.difference, y, xerr=row.half_width, color=colour, fmt="D", capsize=3, linewidth=2, markersize=5)
    seeds = "1 seed" if len(row.seeds) == 1 else f"{len(row.seeds)} seeds"
    name = f"{row.source}, {seeds}"
    size = f"{row.difference:+.1f}"
    if np.isfinite(row.half_width):
        size += f" ± {row.half_width:.1f}"
    ax.text(-0.02, y, name, weight=weight, ha="right", va="center", transform=ax.get_yaxis_transform())
    ax.text(1.02, y, size, weight=weight, va="center", transform=ax.get_yaxis_transform())
    return f"{name}: {size}"
