"""The figures of the speed measurement: panels of bars, each with its name and value."""

import pandas as pd
from matplotlib.figure import Figure

from helpers.plots.style import LOOKS, blank, captioned, style
from helpers.speed.findings import SHORT

COLOURS = {
    "ordinary": "#8a8a8a",
    "ours": "#0072b2",
    "ours, bfloat16": "#56a6d8",
    "limit": "#d9d9d9",
}
GROWTH = {
    "images": "Seconds,\nby images trained on",
    "batch size": "Seconds an epoch,\nby batch size (images)",
    "processes": "Seconds an epoch and run,\nby runs side by side",
}


def plot_speed(medians: pd.DataFrame) -> Figure:
    """Seconds an epoch of each pipeline, from `median_frame`."""
    shown = medians[[pipeline for pipeline in COLOURS if pipeline in medians]]
    panels = []
    for norm, seconds in shown.iterrows():
        labels = seconds.map("{:.1f} s".format)
        gain = (seconds.ordinary / seconds).filter(like="ours")
        labels[gain.index] += gain.map(" ({:.1f} times as fast)".format)
        panels.append((SHORT[norm], seconds, labels, [COLOURS[name] for name in shown]))
    return _plot_bars(
        "Seconds an epoch: the ordinary pipeline, ours, and the machine's limit",
        "60,000 images, batch 64. Limit: the convolutions' arithmetic at the rate of a large "
        "matrix product",
        panels)


def plot_profile(profile: pd.DataFrame) -> Figure:
    """Where a batch's time goes: milliseconds by norm (rows) and kind of operation (columns)."""
    panels = []
    for norm, milliseconds in profile.iterrows():
        title = f"{SHORT[norm]}: {milliseconds.sum():.1f} ms"
        labels = milliseconds.map("{:.1f}".format)
        panels.append((title, milliseconds, labels, LOOKS[norm].colour))
    return _plot_bars(
        "Where each millisecond goes",
        "Milliseconds a batch of 64 images on one thread, by kind of operation",
        panels, num_columns=3)


def plot_growth(growth: pd.DataFrame) -> Figure:
    """How the time grows, from columns varied, value, seconds."""
    panels = []
    for varied, title in GROWTH.items():
        part = growth[growth.varied == varied]
        seconds = part.set_index(part.value.map("{:,}".format)).seconds
        panels.append((title, seconds, seconds.map("{:.1f}".format), COLOURS["ours"]))
    return _plot_bars(
        "How the training time grows", "BatchNorm's network, one thread a run",
        panels, num_columns=3, shared=False)


@style()
def _plot_bars(
    title: str, subtitle: str, panels: list[tuple], num_columns: int = 1, shared: bool = True
) -> Figure:
    """panels: name, values, labels, colours. shared: all panels have one scale."""
    num_rows = len(panels) // num_columns
    num_bars = max(len(values) for _, values, *_ in panels)
    height = 0.8 + num_rows * (0.4 + 0.25 * num_bars)  # inches
    figure = blank(height)
    axes = figure.subplots(num_rows, num_columns, sharex=shared, sharey=shared).flat
    facts = []
    for ax, (name, values, labels, colours) in zip(axes, panels, strict=True):
        bars = ax.barh(values.index, values, 0.75, color=colours)
        ax.bar_label(bars, labels, padding=4, size=9)
        ax.set_title(name, size=10, weight="bold", loc="left")
        ax.set(ylim=(num_bars - 0.5, -0.5), xticks=[])
        ax.spines[:].set_visible(False)
        ax.tick_params(left=False)
        ax.grid(False)
        facts.append(f"{name} ({'; '.join(values.index + ': ' + labels)})")
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.7 / height))
    return captioned(figure, "svg", title, subtitle, *facts)
