"""Learning curves: validation loss and accuracy by epoch, beside the historical run, and without a norm.

history: a frame with columns norm, seed, epoch, ema_decay, and val_loss (nats) or val_accuracy (percent).
"""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from pandas import DataFrame, Series, concat

from helpers.config import ALL_NORMS, VARIANTS
from helpers.plots.style import INK, LOOKS, blank, captioned, key, limits, panels, stretch, style


@style()
def plot_validation_loss(history: DataFrame, dataset_title: str) -> Figure:
    """Validation loss by epoch, all variants on one logarithmic axis."""
    subtitle = f"Validation loss on {dataset_title}, logarithmic axis. {_seeds_text(history)}"
    ax = _plot_runs(history, "val_loss", "{:.4f} nats", subtitle, "log")
    ax.set_ylabel("validation loss (nats)")
    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 10 * low else MaxNLocator(5))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    return ax.figure


@style()
def plot_validation_accuracy(history: DataFrame, dataset_title: str) -> Figure:
    """Validation accuracy by epoch on one axis; the first fifth of the epochs may lie below it."""
    accuracy = history.val_accuracy
    late = history.epoch > history.epoch.max() / 5
    low = np.floor(10 * accuracy[late].min() - 0.5) / 10
    subtitle = f"Validation accuracy on {dataset_title}. The axis starts at {low:g} %. {_seeds_text(history)}"
    ax = _plot_runs(history, "val_accuracy", "{:.2f} %", subtitle)
    ax.set(ylim=(low, 1.05 * accuracy.max() - 0.05 * low), ylabel="validation accuracy (%)")
    ax.text(0, 0.01, "//", ha="center", va="center", transform=ax.transAxes, gid="cut")
    return ax.figure


def _plot_runs(history: DataFrame, column: str, form: str, subtitle: str, scale: str = "linear") -> Axes:
    """Captioned axes with the variants' lines; key and title say where they end. form: of such a number."""
    norms = [norm for norm in VARIANTS if norm in set(history.norm)]
    ax = blank(3.2).add_axes((0.19, 0.18, 0.78, 0.79 - 0.062 * len(norms)), yscale=scale)
    means = {norm: plot_band(ax, history[history.norm == norm], column, norm) for norm in norms}
    ax.set(xlabel="epoch", xlim=(0.5, history.epoch.max() + 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ends = {norm: form.format(mean.iloc[-1]) for norm, mean in means.items()}
    key(ax, {norm: f"{VARIANTS[norm].short} {end}" for norm, end in ends.items()})
    by_end = sorted(norms, key=lambda norm: means[norm].iloc[-1])
    title = f"{VARIANTS[by_end[-1]].short} ends at {ends[by_end[-1]]}"
    if len(norms) > 1:
        title += f", {VARIANTS[by_end[0]].short} at {ends[by_end[0]]}"
    facts = [f"{VARIANTS[norm].short} from {means[norm].iloc[0]:.4g} to {ends[norm]}" for norm in norms]
    captioned(ax.figure, "svg", title, subtitle, "Line graph", *facts)
    return ax


def plot_band(ax: Axes, history: DataFrame, column: str, norm: str) -> Series:
    """Draws the mean over seeds, the range of the seeds as a band, and a dot for each end; returns the mean."""
    curves = history.pivot(index="epoch", columns="seed", values=column)
    look = LOOKS[norm]
    mean = curves.mean(axis=1, skipna=False)  # a seed that diverged is not left out of it
    if curves.shape[1] > 1:
        ax.fill_between(
            curves.index, curves.min(axis=1), curves.max(axis=1), color=look.colour, alpha=0.15, linewidth=0)
        last = curves.iloc[-1]
        ax.plot([curves.index[-1]] * len(last), last, "o", color=look.colour, markersize=3, alpha=0.6, gid="seed")
    marked = max(1, len(mean) // 6)
    ax.plot(
        mean, color=look.colour, linestyle=look.line, marker=look.marker, markevery=marked,
        markeredgecolor="white", linewidth=1.8, gid="mean")
    return mean


def _seeds_text(history: DataFrame) -> str:
    seeds = history.seed.unique()
    text = f"Line: mean of {len(seeds)} seeds ({seeds.min()} to {seeds.max()}), band: their range, dots: their ends"
    if len(seeds) == 1:
        text = f"One seed ({seeds[0]})"
    if "published" in history and history.published.any():
        text += f" ({history[history.published].seed.nunique()} from published runs)"
    if history.ema_decay.any():
        text += "; averaged weights"
    return text


@style()
def plot_beside_historical(history: DataFrame, historical: DataFrame, dataset_title: str,
                           without_l1: DataFrame | None = None) -> Figure:
    """Validation accuracy by epoch, a panel a variant: these runs and the historical one.

    historical: columns variant, epoch, val_accuracy. without_l1: as history, of BatchNorm without its penalty.
    """
    if without_l1 is None:
        without_l1 = history.head(0)
    norms = [norm for norm in VARIANTS if norm in set(history.norm)]
    figure, axes = panels(2.2, len(norms))
    shown = concat([history, historical, without_l1])
    stretch(axes[0], *limits(shown.val_accuracy))
    facts = ["Line graphs"]
    gaps = {}
    for ax, norm in zip(axes, norms, strict=True):
        mean = plot_band(ax, history[history.norm == norm], "val_accuracy", norm)
        old = historical[historical.variant == norm].set_index("epoch").val_accuracy
        ax.plot(old, "--", color=INK, gid="historical")
        epoch = min(mean.index[-1], old.index[-1])  # all numbers after as many epochs
        gaps[VARIANTS[norm].short] = abs(mean[epoch] - old[epoch])
        fact = f"{VARIANTS[norm].short} {mean[epoch]:.2f} %,\nhistorical {old[epoch]:.2f} %"
        free = without_l1[without_l1.norm == norm].groupby("epoch").val_accuracy.mean()
        if len(free):
            ax.plot(free, ":", color=LOOKS[norm].colour, linewidth=2, gid="without")
            fact += f",\nno penalty (dotted) {free[:epoch].iloc[-1]:.2f} %"
        ax.set_title(fact)
        facts.append(f"{fact} in epoch {epoch}")
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    farthest = max(gaps, key=gaps.get)
    title = f"{farthest} lies farthest from the historical run: {gaps[farthest]:.2f} points"
    subtitle = (f"Validation accuracy on {dataset_title}. {_seeds_text(history)}. Dashed: the historical run, one "
                "seed. The axis is stretched towards 100 %")
    return captioned(figure, "svg", title, subtitle, *facts)


@style()
def plot_dying(losses: dict[str, list[float]], dataset_title: str) -> Figure:
    """Training loss by update, beside that of guessing. losses: norm -> one number an update, in nats."""
    guessing = math.log(10)
    ax = blank(2.8).add_axes((0.15, 0.2, 0.82, 0.62))
    texts = {}
    for norm, told in losses.items():
        look = LOOKS[norm]
        ax.plot(range(1, len(told) + 1), told, color=look.colour, linestyle=look.line, gid=norm)
        texts[norm] = f"{ALL_NORMS[norm].bare}: {np.median(told[-20:]):.2f} nats in the end"
    ax.axhline(guessing, color=INK, linewidth=0.8)
    ax.text(0.6 * len(told), 1.02 * guessing, "guessing", ha="right", va="bottom")
    ax.set(xlabel="update", ylabel="loss (nats)", ylim=(0, 1.3 * guessing))
    key(ax, texts)
    end = np.median(losses["none"][-20:])
    title = f"With no norm the network ends at {end:.2f} nats, guessing is {guessing:.2f}"
    subtitle = f"Training loss on {dataset_title} by update; the end is the median of the last 20"
    return captioned(ax.figure, "svg", title, subtitle, *texts.values())
