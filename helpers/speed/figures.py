"""The figures of the speed measurement: panels of bars, each with its name and value."""

from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from pandas import DataFrame

from helpers.plots.style import LOOKS, MUTED, bare, blank, captioned, style
from helpers.speed.findings import SHORT

# A pipeline's opacity; ours have the variant's colour, what they are compared with is grey.
OPACITY = {"ordinary": 0.7, "ours": 1, "ours, bfloat16": 0.6, "limit": 0.35}
GROWTH = {
    "images": "Seconds, by images trained on",
    "batch size": "Seconds an epoch,\nby batch size (images)",
    "processes": "Seconds an epoch and run,\nby runs side by side",
}


def plot_speed(medians: DataFrame) -> Figure:
    """Seconds an epoch of each pipeline, from `median_frame`."""
    panels = []
    for norm, seconds in medians.filter(OPACITY).iterrows():
        gain = (seconds.ordinary / seconds).filter(like="ours")
        notes = gain.map(" s ({:.1f} times as fast)".format).reindex(seconds.index, fill_value=" s")
        own = LOOKS[norm].colour if norm in LOOKS else MUTED
        colours = [to_rgba(own if "ours" in pipeline else MUTED, OPACITY[pipeline]) for pipeline in seconds.index]
        panels.append((SHORT[norm], seconds, notes, colours))
    title = f"All three variants: {medians.gain['all']:.1f} times as fast as the ordinary pipeline"
    subtitle = ("Seconds an epoch of 60,000 images, batch 64. Limit: the convolutions' arithmetic at the rate of a "
                "large matrix product")
    return _plot_bars(title, subtitle, panels)


def plot_profile(profile: DataFrame) -> Figure:
    """Where a batch's time goes: milliseconds by norm (rows) and kind of operation (columns)."""
    panels = []
    for norm, milliseconds in profile.iterrows():
        panels.append((f"{SHORT[norm]}: {milliseconds.sum():.1f} ms", milliseconds, "", LOOKS[norm].colour))
    shares = profile.sum() / profile.to_numpy().sum()
    title = f"Largest part of a batch's time: {shares.idxmax()}, {100 * shares.max():.0f} %"
    subtitle = "Milliseconds a batch of 64 images on one thread, by kind of operation"
    return _plot_bars(title, subtitle, panels)


def plot_growth(growth: DataFrame) -> Figure:
    """How the time grows, from columns varied, value, seconds."""
    panels = []
    for varied, name in GROWTH.items():
        part = growth[growth.varied == varied].set_index("value")
        seconds = part.seconds.rename("{:,}".format)
        panels.append((name, seconds, "", LOOKS["batch"].colour))
    images = growth[growth.varied == "images"]
    more = images.max(numeric_only=True) / images.min(numeric_only=True)
    title = f"{more.value:.0f} times the images take {more.seconds:.1f} times as long"
    return _plot_bars(title, "BatchNorm's network, one thread a run", panels, shared=False)


@style()
def _plot_bars(title: str, subtitle: str, panels: list, shared: bool = True) -> Figure:
    """panels: name, values, notes behind them, colours. shared: all panels have one scale."""
    num_bars = max(len(values) for _, values, *_ in panels)
    figure = blank(0.15 + len(panels) * (0.4 + 0.21 * num_bars))  # inches
    axes = figure.subplots(len(panels), 1, sharex=shared)
    facts = []
    for ax, (name, values, notes, colours) in zip(axes, panels, strict=True):
        labels = values.map("{:.1f}".format) + notes
        ax.bar_label(ax.barh(values.index, values, 0.75, color=colours), labels, padding=4)
        ax.set_title(name, weight="bold")
        ax.set(ylim=(num_bars - 0.5, -0.5), xticks=[])
        bare(ax)
        facts.append(f"{name} ({'; '.join(values.index + ': ' + labels)})")
    figure.tight_layout()
    for ax, (name, *_) in zip(axes, panels, strict=True):
        box = ax.get_position()
        ax.set_title(name, weight="bold", x=(0.02 - box.x0) / box.width)  # from the figure's left edge
    return captioned(figure, "svg", title, subtitle, *facts)
