"""The figures of the speed measurement."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from helpers.config import VARIANTS
from helpers.drawing import WIDTH, blank, canvas, described, headline, style

# Each bar is named as well.
PIPELINES = {"ordinary": "#8a8a8a", "ours": "#0072b2", "ours, bfloat16": "#56a6d8", "limit": "#d9d9d9"}


@style()
def plot_speed(epochs: pd.DataFrame) -> Figure:
    """Seconds an epoch of each pipeline: columns norm ("all": the three together), pipeline, seconds (medians)."""
    norms = list(dict.fromkeys(epochs.norm))
    shown = [pipeline for pipeline in PIPELINES if pipeline in set(epochs.pipeline)]
    height = 0.26 * len(shown) + 0.3
    figure, ax = canvas(1.15 + height * len(norms))
    headline(figure, "Seconds an epoch: the ordinary pipeline, this project, and the limit of the machine",
             "60,000 images, batch 64. Limit: the convolutions' arithmetic at the rate of a large matrix product.")
    first, per_second, sentences = 1.75, (WIDTH - 3.6) / epochs.seconds.max(), []
    for row, norm in enumerate(norms):
        top = 1.0 + height * row
        name = VARIANTS[norm].short if norm in VARIANTS else "all three"
        ax.text(0.1, top + 0.13 * len(shown), name, size=11, weight="bold", va="center")
        mine = epochs[epochs.norm == norm].set_index("pipeline").seconds
        for place, pipeline in enumerate(shown):
            y, seconds = top + 0.13 + 0.26 * place, mine[pipeline]
            ax.add_patch(Rectangle((first, y - 0.1), seconds * per_second, 0.2, facecolor=PIPELINES[pipeline]))
            ratio = f" ({mine['ordinary'] / seconds:.1f} times as fast)" if "ours" in pipeline else ""
            ax.text(first + seconds * per_second + 0.07, y, f"{pipeline} {seconds:.1f} s{ratio}", size=9.5, va="center")
        sentences.append(f"{name}: " + ", ".join(f"{pipeline} {mine[pipeline]:.1f} s" for pipeline in shown))
    return described(figure, "svg", "Bars of seconds an epoch. " + "; ".join(sentences) + ".")


@style()
def plot_profile(profile: pd.DataFrame) -> Figure:
    """Where a batch's time goes: columns norm, kind, milliseconds; one stacked bar a variant, its parts named."""
    norms, kinds = list(dict.fromkeys(profile.norm)), list(dict.fromkeys(profile.kind))
    table = profile.pivot(index="kind", columns="norm", values="milliseconds").loc[kinds, norms]
    figure, ax = canvas(1.5 + 0.3 * len(kinds))
    headline(figure, "Where each millisecond goes",
             "Milliseconds a batch of 64 images on one thread, by kind of operation.")
    colours = sns.color_palette("colorblind", len(norms))
    width = (WIDTH - 2.1) / len(norms)
    per_millisecond = (width - 0.55) / table.to_numpy().max()
    for column, norm in enumerate(norms):
        left = 1.95 + width * column
        total = f"{VARIANTS[norm].short}: {table[norm].sum():.1f} ms"
        ax.text(left, 0.95, total, size=9.5, weight="bold", va="center")
        for row, kind in enumerate(kinds):
            y, value = 1.3 + 0.3 * row, table.loc[kind, norm]
            if column == 0:
                ax.text(0.1, y, kind, size=9.5, va="center")
            ax.add_patch(Rectangle((left, y - 0.1), value * per_millisecond, 0.2, facecolor=colours[column]))
            ax.text(left + value * per_millisecond + 0.05, y, f"{value:.1f}", size=9, va="center")
    sentences = [f"{VARIANTS[norm].short} {table[norm].sum():.1f} ms, most of it {table[norm].idxmax()} "
                 f"({table[norm].max():.1f} ms)" for norm in norms]
    return described(figure, "svg", "Bars of milliseconds a batch by kind of operation. " + "; ".join(sentences) + ".")


@style()
def plot_growth(growth: pd.DataFrame) -> Figure:
    """How the time grows: columns varied ("images", "batch size", "processes"), value, seconds; one panel each."""
    varied = list(dict.fromkeys(growth.varied))
    labels = {"images": ("images trained on", "seconds"), "batch size": ("batch size (images)", "seconds an epoch"),
              "processes": ("runs side by side", "seconds an epoch and run")}
    figure = blank(3.3)
    headline(figure, "How the training time grows", "BatchNorm's network, one thread a run.")
    sentences = []
    for place, name in enumerate(varied):
        part = growth[growth.varied == name]
        ax = figure.add_axes((0.075 + 0.325 * place, 0.17, 0.24, 0.53))
        ax.plot(part.value, part.seconds, color=PIPELINES["ours"], marker="o", markersize=5)
        if name == "batch size":
            ax.set_xscale("log", base=2)
        ax.set_xticks(part.value, [f"{value:,}" for value in part.value], size=9)
        ax.set_ylim(0, part.seconds.max() * 1.15)
        ax.minorticks_off()
        ax.set(xlabel=labels[name][0])
        ax.set_title(labels[name][1], size=10, loc="left")
        sentences.append(f"{labels[name][1]} by {labels[name][0]}: " + ", ".join(
            f"{value:,}: {seconds:.1f}" for value, seconds in zip(part.value, part.seconds, strict=True)))
    return described(figure, "svg", "Three line graphs. " + "; ".join(sentences) + ".")
