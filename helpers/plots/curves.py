"""Learning curves of the main study: validation loss and accuracy by epoch."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from pandas import DataFrame, Series, concat

from helpers.config import VARIANTS
from helpers.plots.style import LOOKS, blank, captioned, label_ends, limits, panels, stretch, style


@style()
def plot_validation_loss(
    history: DataFrame, dataset_title: str, historical: DataFrame | None = None
) -> Figure:
    """Validation loss by epoch, all variants on one logarithmic axis.

    history: columns norm, seed, epoch, ema_decay, val_loss. historical: norm, epoch, val_loss of another seed.
    """
    ax, ends, facts = _plot_runs(history, historical, "val_loss", "{:.4f} nats", "log")
    ax.set_ylabel("validation loss (nats)")
    low, high = ax.get_ylim()
    locator = MaxNLocator(6)
    if high > 10 * low:
        locator = LogLocator(subs=(1, 2, 5))
    ax.yaxis.set_major_locator(locator)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    label_ends(ax, ends)
    title = f"Validation loss on {dataset_title}"
    return captioned(ax.figure, "svg", title, f"Logarithmic axis. {_seeds_text(history)}", *facts)


@style()
def plot_validation_accuracy(
    history: DataFrame, dataset_title: str, historical: DataFrame | None = None
) -> Figure:
    """Validation accuracy by epoch on one axis; the first fifth of the epochs may lie below it.

    history, historical: as for the loss, with the column val_accuracy.
    """
    ax, ends, facts = _plot_runs(history, historical, "val_accuracy", "{:.2f} %", "linear")
    accuracy = history.val_accuracy
    late = history.epoch > history.epoch.max() / 5
    low = np.floor(10 * accuracy[late].min() - 0.5) / 10
    ax.set(ylim=(low, 1.05 * accuracy.max() - 0.05 * low), ylabel="validation accuracy (%)")
    ax.text(0, 0.01, "//", ha="center", va="center", transform=ax.transAxes, gid="cut")
    label_ends(ax, ends)
    title = f"Validation accuracy on {dataset_title}"
    subtitle = (
        f"Axis starts at {low:g} %; cut off below: {sum(accuracy < low)} of {len(history)} points. "
        f"{_seeds_text(history)}")
    return captioned(ax.figure, "svg", title, subtitle, *facts)


def _plot_runs(
    history: DataFrame, historical: DataFrame | None,
    column: str, form: str, scale: str,
) -> tuple[Axes, dict, list]:
    """Axes with the variants' lines, (x, y, label) of each end, and facts. form: format of a number."""
    ax = blank(4.7).add_axes((0.095, 0.115, 0.52, 0.69), yscale=scale)
    if historical is None:
        historical = history.head(0)
    old = historical.set_index("norm")
    ends = {}
    facts = ["Line graph; ends of the lines"]
    for norm in _norms(history):
        look = LOOKS[norm]
        mean = _plot_seeds(ax, history, norm, column)
        ax.lines[-1].set(linestyle=look.line, marker=look.marker, markeredgecolor="white")
        epoch = mean.index[-1]
        text = f"{VARIANTS[norm].short} {form.format(mean[epoch])}"
        if norm in old.index:
            ax.plot(
                old.epoch[norm], old[column][norm], look.marker, color=look.colour,
                markerfacecolor="white", gid="historical")
            text += f",\n1 historical seed (open) {form.format(old[column][norm])}"
        ends[norm] = (epoch, mean[epoch], text)
        facts.append(f"{text} (after epoch {mean.index[0]}: {form.format(mean.iloc[0])})")
    return ax, ends, facts


def _norms(history: DataFrame) -> list[str]:
    return [norm for norm in VARIANTS if norm in set(history.norm)]


def _seeds_text(history: DataFrame) -> str:
    seeds = history.seed.unique()
    text = f"One seed ({seeds[0]})" if len(seeds) == 1 else f"Thick: mean of {len(seeds)} seeds, thin: each"
    if history.ema_decay.any():
        text += ", of averaged weights"
    return text


def _plot_seeds(ax: Axes, history: DataFrame, norm: str, column: str) -> Series:
    """Draws a variant's seeds thin, then their mean thick; returns the mean by epoch."""
    curves = history[history.norm == norm].pivot(index="epoch", columns="seed", values=column)
    look = {"color": LOOKS[norm].colour}
    if curves.shape[1] > 1:
        ax.plot(curves, **look, linewidth=0.7, alpha=0.45, gid="seed")
    mean = curves.mean(axis=1, skipna=False)  # a seed that diverged is not left out of it
    ax.plot(mean, **look, linewidth=2, gid="mean")
    ax.set(xlabel="epoch", xlim=(0.5, history.epoch.max() + 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return mean


@style()
def plot_beside_historical(history: DataFrame, historical: DataFrame, dataset_title: str,
                           without_l1: DataFrame | None = None) -> Figure:
    """Validation accuracy by epoch, a panel a variant: these runs and the historical one.

    history: columns norm, seed, epoch, ema_decay, val_accuracy. historical: columns variant, epoch,
    val_accuracy. without_l1: as history, of BatchNorm without its penalty.
    """
    if without_l1 is None:
        without_l1 = history.head(0)
    norms = _norms(history)
    figure, axes = panels(4, len(norms))
    shown = concat([history, historical, without_l1])
    stretch(axes[0], *limits(shown.val_accuracy))
    axes[0].set_ylabel("validation accuracy (%)")
    facts = ["Line graphs"]
    for ax, norm in zip(axes, norms, strict=True):
        mean = _plot_seeds(ax, history, norm, "val_accuracy")
        old = historical[historical.variant == norm].set_index("epoch").val_accuracy
        ax.plot(old, "--k", gid="historical")
        epoch = min(mean.index[-1], old.index[-1])  # all numbers after as many epochs
        fact = (f"{VARIANTS[norm].short}, epoch {epoch}:\n"
                f"here {mean[epoch]:.2f} %, historical {old[epoch]:.2f} %")
        free = without_l1[without_l1.norm == norm].groupby("epoch").val_accuracy.mean()
        if len(free):
            ax.plot(free, ":", color=LOOKS[norm].colour, gid="without")
            fact += f",\nno penalty (dotted) {free[:epoch].iloc[-1]:.2f} %"
        ax.set_title(fact, size=10)
        facts.append(fact)
    title = f"Validation accuracy on {dataset_title}: these runs and the historical one"
    subtitle = (f"{_seeds_text(history)}. Black, dashed: the historical run, one seed.\n"
                "The axis is stretched towards 100 %")
    return captioned(figure, "svg", title, subtitle, *facts)
