"""The figures of the speed measurement: panels of bars, each with its name and value."""

from matplotlib.figure import Figure
from pandas import DataFrame

from helpers.plots.style import LOOKS, bare, blank, captioned, style
from helpers.speed.findings import SHORT

COLOURS = {"ordinary": "#8a8a8a", "ours": "#0072b2", "ours, bfloat16": "#56a6d8", "limit": "#d9d9d9"}
GROWTH = {
    "images": "Seconds,\nby images trained on",
    "batch size": "Seconds an epoch,\nby batch size (images)",
    "processes": "Seconds an epoch and run,\nby runs side by side",
}


def plot_speed(medians: DataFrame) -> Figure:
    """Seconds an epoch of each pipeline, from `median_frame`."""
    shown = medians.filter(COLOURS)
    panels = []
    for norm, seconds in shown.iterrows():
        gain = (seconds.ordinary / seconds).filter(like="ours")
        notes = gain.map(" s ({:.1f} times as fast)".format).reindex(seconds.index, fill_value=" s")
        panels.append((SHORT[norm], seconds, notes, shown.columns.map(COLOURS)))
    title = "Seconds an epoch: the ordinary pipeline, ours, and the machine's limit"
    subtitle = ("60,000 images, batch 64. Limit: the convolutions' arithmetic at the rate of a large "
                "matrix product")
    return _plot_bars(title, subtitle, panels)


def plot_profile(profile: DataFrame) -> Figure:
    """Where a batch's time goes: milliseconds by norm (rows) and kind of operation (columns)."""
    panels = []
    for norm, milliseconds in profile.iterrows():
        title = f"{SHORT[norm]}: {milliseconds.sum():.1f} ms"
        panels.append((title, milliseconds, "", LOOKS[norm].colour))
    subtitle = "Milliseconds a batch of 64 images on one thread, by kind of operation"
    return _plot_bars("Where each millisecond goes", subtitle, panels, num_columns=3)


def plot_growth(growth: DataFrame) -> Figure:
    """How the time grows, from columns varied, value, seconds."""
    seconds = growth.set_index(growth.value.map("{:,}".format)).groupby("varied").seconds
    panels = []
    for varied, title in GROWTH.items():
        panels.append((title, seconds.get_group(varied), "", COLOURS["ours"]))
    subtitle = "BatchNorm's network, one thread a run"
    return _plot_bars("How the training time grows", subtitle, panels, num_columns=3, shared=False)


@style()
def _plot_bars(title: str, subtitle: str, panels: list, num_columns: int = 1, shared: bool = True) -> Figure:
    """panels: name, values, notes behind them, colours. shared: all panels have one scale."""
    num_rows = len(panels) // num_columns
    num_bars = max(len(values) for _, values, *_ in panels)
    height = 0.8 + num_rows * (0.4 + 0.25 * num_bars)  # inches
    figure = blank(height)
    axes = figure.subplots(num_rows, num_columns, sharex=shared, sharey=shared).flat
    facts = []
    for ax, (name, values, notes, colours) in zip(axes, panels, strict=True):
        labels = values.map("{:.1f}".format) + notes
        ax.bar_label(ax.barh(values.index, values, 0.75, color=colours), labels, padding=4, size=9)
        ax.set_title(name, size=10, weight="bold")
        ax.set(ylim=(num_bars - 0.5, -0.5), xticks=[])
        bare(ax)
        facts.append(f"{name} ({'; '.join(values.index + ': ' + labels)})")
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.7 / height))
    return captioned(figure, "svg", title, subtitle, *facts)
