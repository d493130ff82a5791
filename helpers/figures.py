"""Every figure: `plot_*(numbers) -> Figure`, with its own alt text made from the same numbers.

The only module that imports matplotlib and seaborn. A figure never enters pyplot's global list, so none leaks, and the
same numbers give the same bytes. Line graphs and diagrams become SVG with real text, image grids become PNG.
"""

import contextlib
import io
import re
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from sklearn.isotonic import isotonic_regression
from torch import Tensor

from helpers.config import VARIANTS, Recipe, check
from helpers.data import MEAN, NUM_CLASSES, STD, Dataset, augment, random_affine
from helpers.files import write_atomically
from helpers.normalization import num_affine, num_statistics

INK, MUTED, PALE = "#1a1a1a", "#4d4d4d", "#e4e4e4"  # text, lesser text (8:1 on white), grid lines
WIDTH = 8.0  # inches
FILE_DPI, FALLBACK_DPI = 250, 150  # of a PNG file; of the PNG beside an SVG, for readers that show no SVG

STYLE = {
    # DejaVu Sans comes with matplotlib: the same text widths everywhere. The others stand in for it in an SVG.
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 10, "text.color": INK, "text.parse_math": False,  # a $ in a title is a $
    "axes.labelsize": 10.5, "axes.labelcolor": INK, "axes.edgecolor": "#808080", "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "xtick.color": INK, "ytick.color": INK,
    "axes.grid": True, "grid.color": PALE, "grid.linewidth": 0.8, "axes.unicode_minus": True,
    "svg.fonttype": "none", "svg.hashsalt": "helpers.figures",  # text stays text; ids do not change with every run
}


class Look(NamedTuple):
    """How a variant is drawn, in every figure: told apart by colour, marker and line."""

    colour: str
    marker: str
    line: str | tuple


# Colours of Okabe and Ito, which the colour-blind can tell apart; a new variant in config takes the next look.
LOOKS = dict(zip(VARIANTS, [
    Look("#0072b2", "o", "-"), Look("#d55e00", "s", (0, (5, 1.5))), Look("#009e73", "^", (0, (5, 1.5, 1, 1.5))),
    Look("#a05080", "D", (0, (2, 1))), Look("#000000", "v", (0, (1, 1))),
], strict=False))


@contextlib.contextmanager
def _style():
    """matplotlib's defaults and STYLE, whatever a notebook has set; afterwards all is as it was."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


# --- normalisation -------------------------------------------------------------------------------------------------


@_style()
def plot_normalization_axes(num_groups: int = 2) -> Figure:
    """Which elements of (N, C, H, W) share one mean in each variant, and the shape of what it learns.

    Drawn for 3 images of 4 channels of 3x3 pixels. Raises ParameterError for `num_groups` other than 1, 2, 4.
    """
    check("num_groups", num_groups)
    N, C, H, W = 3, 4, 3, 3
    group = C // num_groups
    groups_of = f"group of {group} channel{'s' * (group > 1)}"
    cases = {  # norm: what has one mean, its extent in images and channels, the number of means, of learned parameters
        "layer": ("image", (1, C), "N", "2·C·H·W"),
        "group": (f"image and\n{groups_of}", (1, group), f"N·G = {N}·{num_groups}", "2·C"),
        "batch": ("channel", (N, 1), "C", "2·C"),
    }
    figure, ax = _canvas(5.05)
    _title(figure, "Which elements share one mean", "An activation (N, C, H, W): images N1 to N3, channels C1 to C4, "
           "3×3 pixels in each tile.\nTiles of one colour and number share one mean and one variance. "
           f"G = {num_groups} group{'s' * (num_groups > 1)} of channels.")
    tile, step, top, sentences = 0.45, 0.52, 1.97, []
    bottom = top + step * N
    for left, (norm, (share, (high, wide), means, learned)) in zip((0.48, 3.05, 5.62), cases.items(), strict=True):
        title = VARIANTS[norm].title.removeprefix("L1 + ")
        means = f"{means} = {num_statistics(norm, N, C, num_groups)} means"
        learned = f"{learned} = {num_affine(norm, C, H, W)} parameters"
        ax.text(left, 1.14, title, size=12, weight="bold", va="center")
        ax.text(left, 1.29, f"one mean per {share}", size=10.5, va="top", linespacing=1.25)
        total = num_statistics(norm, N, C, num_groups)
        colours = sns.color_palette("colorblind" if total <= 10 else "husl", total)
        for n, c in np.ndindex(N, C):
            index = n // high * (C // wide) + c // wide
            x, y = left + step * c, top + step * n
            _pixels(ax, x, y, tile, H, W, sns.blend_palette(["white", colours[index]], 5)[2])
            ax.text(x + tile / 2, y + tile / 2, f"{index + 1}", size=12, weight="bold", ha="center", va="center",
                    gid=norm)
            if n % high == 0 and c % wide == 0:  # the first tile of those that share a mean
                ax.add_patch(FancyBboxPatch((x, y), step * (wide - 1) + tile, step * (high - 1) + tile, fill=False,
                                            boxstyle="round,pad=0.02,rounding_size=0.04", edgecolor=INK, linewidth=1.2))
        for c in range(C):
            ax.text(left + step * c + tile / 2, top - 0.08, f"C{c + 1}", size=9.5, color=MUTED, ha="center")
            size, shape = (tile, (H, W)) if norm == "layer" else (tile / 3, (1, 1))
            _pixels(ax, left + step * c + (tile - size) / 2, bottom + 0.7 + (tile - size) / 2, size, *shape, "#d0d0d0")
        for n in range(N):
            ax.text(left - 0.08, top + step * n + tile / 2, f"N{n + 1}", size=9.5, color=MUTED, ha="right", va="center")
        ax.text(left, bottom + 0.17, means, size=11, weight="bold", va="center")
        ax.text(left, bottom + 0.57, "learned weight, and a bias likewise:", size=9, color=MUTED, va="center")
        ax.text(left, bottom + 1.34, learned, size=11, weight="bold", va="center")
        sentences.append(f"{title}: one mean per {' '.join(share.split())}, {means}, {learned}.")
    return _described(figure, "svg", "Diagram of an activation of 3 images, 4 channels and 3 by 3 pixels, drawn three "
                      "times; what shares one mean has one colour and number. " + " ".join(sentences)
                      + " What is learned does not depend on the number of images.")


def _pixels(ax: Axes, x: float, y: float, size: float, rows: int, columns: int, colour) -> None:
    """A plane of rows x columns pixels, in inches."""
    ax.add_patch(Rectangle((x, y), size, size, facecolor=colour))
    cuts = [((x + size * c / columns,) * 2, (y, y + size)) for c in range(1, columns)]
    cuts += [((x, x + size), (y + size * r / rows,) * 2) for r in range(1, rows)]
    if cuts:  # one path for all of them: NaN lifts the pen
        xs, ys = (np.concatenate([(*cut[axis], np.nan) for cut in cuts]) for axis in (0, 1))
        ax.plot(xs, ys, color="white", linewidth=0.8)


# --- images --------------------------------------------------------------------------------------------------------


@_style()
def plot_samples(data: Dataset, num_samples: int = 6) -> Figure:
    """The first `num_samples` training images of each digit, in file order; blank where there are fewer."""
    figure, ax = _canvas(1.02 + 0.784 * num_samples)
    _title(figure, f"{data.title}: the first {num_samples} training images of each digit",
           f"{len(data.train_images):,} training and {len(data.val_images):,} validation images of 28×28 pixels.")
    for digit in range(NUM_CLASSES):
        ax.text(0.1 + 0.784 * digit + 0.392, 0.85, f"{digit}", size=12, weight="bold", ha="center")
        for row, image in enumerate(data.train_images[data.train_labels == digit][:num_samples]):
            _image(ax, 0.1 + 0.784 * digit, 0.92 + 0.784 * row, 0.784, image)
    return _described(figure, "png", f"Ten columns of handwritten digits from 0 to 9, dark ink on white: the first "
                      f"{num_samples} training images of each from {data.title}.")


@_style()
def plot_augmentation(data: Dataset, recipe: Recipe, seed: int = 0, num_images: int = 5) -> Figure:
    """The first training images, each beside eight versions of it as `recipe` augments them."""
    figure, ax = _canvas(1.2 + 0.8 * num_images)
    changes = ", ".join(part for value, part in (
        (recipe.rotation, f"rotation ±{recipe.rotation:g}°"), (recipe.shift, f"shift ±{recipe.shift:g} pixels"),
        (recipe.scale, f"scale ±{100 * recipe.scale:g} %"), (recipe.shear, f"shear ±{recipe.shear:g}"),
        (recipe.fill, f"uncovered corners filled with {100 * recipe.fill:g} % ink")) if value) or "none"
    _title(figure, f"{data.title}: training images and what the network sees of them", f"Augmentation: {changes}.")
    ax.text(0.1 + 0.392, 0.95, "original", size=10, weight="bold", ha="center")
    ax.text(1.1, 0.95, "augmented, each time anew", size=10, weight="bold")
    generator = torch.Generator().manual_seed(seed)
    for row, image in enumerate(data.train_images[:num_images]):
        _image(ax, 0.1, 1.03 + 0.8 * row, 0.784, image)
        copies = image.expand(8, 28, 28)
        seen = augment(copies, random_affine(8, recipe, generator), recipe).squeeze(1) * STD + MEAN  # (8, 28, 28)
        for column, version in enumerate(seen):
            _image(ax, 1.1 + 0.85 * column, 1.03 + 0.8 * row, 0.784, version * 255)
    return _described(figure, "png", f"{min(num_images, len(data.train_images))} training images of {data.title}, each "
                      f"beside eight augmented versions. Augmentation: {changes}.")


@_style()
def plot_misclassified(wrong: pd.DataFrame, images: Tensor, norm: str, dataset_title: str,
                       num_images: int = 10) -> Figure:
    """The first `num_images` images that one run gets wrong, in two columns, row by row.

    wrong: columns seed, index, label, prediction, confidence, true_confidence (probabilities), one seed, in file order.
    images: uint8 (N, 28, 28), looked up by `index`.
    """
    shown = wrong.head(num_images)
    rows = max(1, -(-len(shown) // 2))
    figure, ax = _canvas(0.95 + 1.32 * rows)
    name = VARIANTS[norm].title
    seed = f"Seed {wrong['seed'].iloc[0]}. " if len(wrong) else ""
    count = f"{'all' if len(shown) == len(wrong) else f'the first {len(shown)} of'} {len(wrong):,} misclassified images"
    if len(wrong) <= 1:
        count = "the only misclassified image" if len(wrong) else "no misclassified image"
    legend = "Index in the validation images, true → predicted digit, and the network's confidence in both."
    _title(figure, f"{name} on {dataset_title}: {count}", f"{seed}{legend}" if len(wrong) else "")
    if not len(wrong):
        ax.text(WIDTH / 2, 1.5, f"Every one of the {len(images):,} images is classified correctly.", size=12,
                ha="center", va="center")
    sentences = []
    for place, row in enumerate(shown.itertuples()):
        left, top = 0.1 + 3.98 * (place % 2), 0.92 + 1.32 * (place // 2)
        _image(ax, left, top, 1.12, images[row.index])
        ax.text(left + 1.27, top + 0.08, f"index {row.index}", size=9.5, color=MUTED, va="center")
        ax.text(left + 1.27, top + 0.35, f"{row.label} → {row.prediction}", size=15, weight="bold", va="center")
        # filled or open as well as named: the two bars differ in black and white too
        for offset, word, digit, share, fill in ((0.70, "predicted", row.prediction, row.confidence, True),
                                                 (0.97, "true", row.label, row.true_confidence, False)):
            ax.text(left + 1.27, top + offset, f"{word} {digit}", size=9.5, va="center")
            ax.add_patch(Rectangle((left + 2.2, top + offset - 0.085), 1.0, 0.17, facecolor="#f0f0f0"))
            ax.add_patch(Rectangle((left + 2.2, top + offset - 0.085), share, 0.17, linewidth=1.2,
                                   facecolor=LOOKS[norm].colour if fill else "white", edgecolor=LOOKS[norm].colour))
            ax.text(left + 3.27, top + offset, _percent(share), size=9.5, va="center")
        sentences.append(f"index {row.index}: true {row.label}, predicted {row.prediction} with "
                         f"{_percent(row.confidence)}, {_percent(row.true_confidence)} for the true digit")
    return _described(figure, "png", f"{name} on {dataset_title}: {count}. {seed}" + "; ".join(sentences)
                      + "." * bool(sentences))


def _percent(share: float) -> str:
    """A probability in percent; never rounded to a certainty that it is not."""
    if 0 < share < 0.005:
        return "< 1 %"
    return "> 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def _image(ax: Axes, x: float, y: float, size: float, image: Tensor) -> None:
    """A 28x28 image, 0 to 255, as dark ink on white. At 250 dpi, 0.112 inches are 28 pixels: sizes are multiples."""
    ax.imshow(image.numpy(), cmap="gray_r", vmin=0, vmax=255, extent=(x, x + size, y + size, y), aspect="auto",
              interpolation="nearest")
    ax.add_patch(Rectangle((x, y), size, size, fill=False, edgecolor="#c8c8c8", linewidth=0.6))


# --- learning curves -----------------------------------------------------------------------------------------------


@_style()
def plot_validation_loss(history: pd.DataFrame, dataset_title: str, historical: pd.DataFrame | None = None) -> Figure:
    """Validation loss in nats by epoch, all variants on one logarithmic axis.

    history: columns norm, seed, epoch, val_loss. historical: columns norm, val_loss, the end values of another run.
    """
    values = history["val_loss"].where(np.isfinite(history["val_loss"]) & (history["val_loss"] > 0)).dropna()
    low, high = (values.min(), values.max()) if len(values) else (0.01, 1.0)
    pad = max(1.12, (high / low) ** 0.06)

    def prepare(ax: Axes) -> None:
        ax.set_yscale("log")
        ax.set_ylim(low / pad, high * pad)
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]) if high < 3 * low else LogLocator(
            subs=(1, 1.5, 2, 3, 4, 6, 8) if high < 30 * low else (1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_locator(mpl.ticker.NullLocator())

    return _plot_curves(history, "val_loss", "validation loss", "nats", "logarithmic axis", "{:.4f}", prepare,
                        dataset_title, historical)


@_style()
def plot_validation_accuracy(history: pd.DataFrame, dataset_title: str,
                             historical: pd.DataFrame | None = None) -> Figure:
    """Validation accuracy in percent by epoch, all variants on one axis, cut below the region that matters.

    history: columns norm, seed, epoch, val_accuracy. historical: as for the loss.
    """
    by_norm = history.groupby("norm")["val_accuracy"]
    last = history.loc[history["epoch"] == history["epoch"].max(), "val_accuracy"]
    # every end is on the axis, and nine tenths of the best variant's epochs; the axis starts at a tick
    low = min(last.min(), by_norm.quantile(0.1, interpolation="nearest").max())
    high = max(history["val_accuracy"].max(), low + 0.1)
    ticks = MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(low - 0.03 * (high - low), high)
    low = max(0.0, ticks[ticks <= low].max())
    cut = int((history["val_accuracy"] < low).sum())
    note = f"axis starts at {low:g} %"
    if cut:
        note += f"; cut off below: {cut} of {len(history)} points"

    def prepare(ax: Axes) -> None:
        ax.set_ylim(low, high + 0.06 * (high - low))
        ax.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        ax.ticklabel_format(axis="y", useOffset=False)
        for height in (0.0, 0.018) if low > 0 else ():  # two strokes: the sign of a cut axis
            ax.plot([-0.012, 0.012], [height - 0.012, height + 0.012], transform=ax.transAxes, color="#808080",
                    linewidth=1, clip_on=False, gid="cut")

    return _plot_curves(history, "val_accuracy", "validation accuracy", "%", note, "{:.2f}", prepare, dataset_title,
                        historical)


def _plot_curves(history, column, quantity, unit, note, number, prepare, dataset_title, historical) -> Figure:
    norms = [norm for norm in VARIANTS if norm in set(history["norm"])]
    old = pd.Series() if historical is None else historical.set_index("norm")[column].reindex(norms).dropna()
    epochs, seeds = int(history["epoch"].max()), history["seed"].nunique()
    figure = _figure(4.7)
    ax = figure.add_axes((0.78 / WIDTH, 0.115, (5.45 if old.empty else 4.3) / WIDTH, 0.67))
    prepare(ax)
    ends = {}
    for norm in norms:
        look = LOOKS[norm]
        curves = history[history["norm"] == norm].pivot(index="epoch", columns="seed", values=column)
        if seeds > 1:
            for seed in curves:
                ax.plot(curves.index, curves[seed], color=look.colour, linewidth=0.7, alpha=0.45, gid="seed")
        mean = curves.mean(axis=1, skipna=False)  # a seed that diverged is not left out of it
        ends[norm] = (mean.index[-1], mean.iloc[-1], mean.iloc[0])
        ax.plot(mean.index, mean, color=look.colour, linestyle=look.line, linewidth=2, marker=look.marker,
                markersize=5.5, markevery=list(range(len(mean) - 1, -1, -max(1, len(mean) // 15))),
                markeredgecolor="white", markeredgewidth=0.6, label=norm, gid="mean")
    span = max(epochs - 1, 1)
    ax.set_xlim(1 - (0.03 * span if epochs > 1 else 0.5), epochs + 0.02 * span)
    ax.set_xticks([1, *(t for t in MaxNLocator(6, integer=True).tick_values(1, epochs) if 1 < t <= epochs)])
    ax.set_xlabel("epoch")
    ax.set_ylabel(f"{quantity} ({unit})")
    _label_ends(ax, {norm: (x, y, f"{VARIANTS[norm].short}\n{number.format(y)} {unit}")
                     for norm, (x, y, _) in ends.items()})
    runs = f"Thick: mean of {seeds} seeds, thin: each." if seeds > 1 else f"One seed ({history['seed'].iloc[0]})."
    _title(figure, f"{quantity.capitalize()} on {dataset_title}", f"{note[0].upper() + note[1:]}. {runs}")
    parts = [f"{VARIANTS[norm].short} ends at {number.format(y)} {unit}"
             + (f" (from {number.format(first)} after epoch 1)" if epochs > 1 else "")
             for norm, (_, y, first) in ends.items()]
    alt = (f"Line graph of the {quantity} on {dataset_title} over {epochs} epoch{'s' * (epochs > 1)}, "
           f"{f'mean of {seeds} seeds' if seeds > 1 else 'one seed'}, {note}. {'; '.join(parts)}.")
    if not old.empty:
        _mark_historical(figure, ax, old, number)
        alt += " Historical run, one seed: " + ", ".join(
            f"{VARIANTS[norm].short} {number.format(value)} {unit}" for norm, value in old.items()) + "."
    return _described(figure, "svg", alt)


def _label_ends(ax: Axes, ends: dict[str, tuple[float, float, str]]) -> None:
    """A label for each line's end, right of the axes, with the line's marker and a leader to the end."""
    at = [_fraction(ax, y) for _, y, _ in ends.values()]
    inch = ax.get_position().width * WIDTH
    for (norm, (x, y, text)), start, place in zip(ends.items(), at, spread(at, 0.135, 0.04, 0.96), strict=True):
        look = LOOKS[norm]
        x = ax.transAxes.inverted().transform(ax.transData.transform((x, y)))[0]
        ax.plot([x + 0.06 / inch, 1 + 0.2 / inch, 1 + 0.32 / inch], [start, place, place], transform=ax.transAxes,
                color=look.colour, linewidth=0.9, clip_on=False, gid="leader")
        ax.plot([1 + 0.32 / inch], [place], transform=ax.transAxes, color=look.colour, marker=look.marker, markersize=7,
                clip_on=False, gid="leader")
        ax.text(1 + 0.45 / inch, place, text, transform=ax.transAxes, va="center", linespacing=1.15, gid="end-label")


def _mark_historical(figure: Figure, ax: Axes, old: pd.Series, number: str) -> None:
    """Open marks with their values in a strip right of the labels; an arrow where the value is off the axis."""
    strip = figure.add_axes((6.87 / WIDTH, ax.get_position().y0, 1.05 / WIDTH, ax.get_position().height), sharey=ax)
    strip.set(facecolor="#f6f6f6", xlim=(0, 1.05), xticks=[])
    strip.spines[:].set_visible(False)
    strip.tick_params(left=False, labelleft=False)
    strip.set_title("historical run,\n1 seed", size=9, color=MUTED)
    at = [_fraction(ax, value) for value in old]
    for column, (norm, start, place) in enumerate(zip(old.index, at, spread(at, 0.055, 0.03, 0.97), strict=True)):
        look, value = LOOKS[norm], old[norm]
        low, high = ax.get_ylim()
        arrow = "↓" if value < low else "↑" if value > high else ""
        x, start = 0.1 + 0.12 * column, np.clip(start, 0.03, 0.97) if arrow else start
        strip.plot([x, 0.46], [start, place], transform=strip.get_xaxis_transform(), color=look.colour, linewidth=0.7,
                   gid="leader")
        strip.plot([x], [start], transform=strip.get_xaxis_transform(), marker=look.marker, markersize=7,
                   markerfacecolor="white", markeredgecolor=look.colour, markeredgewidth=1.6, clip_on=False,
                   gid="historical")
        strip.text(0.5, place, arrow + number.format(value), size=9, va="center", gid="historical-label",
                   transform=strip.get_xaxis_transform())


def _fraction(ax: Axes, value: float) -> float:
    """Where `value` lies on the y axis: 0 at the bottom, 1 at the top; beyond them, and for NaN, the nearer end."""
    place = ax.transAxes.inverted().transform(ax.transData.transform((1, value)))[1]
    return float(np.clip(np.nan_to_num(place, nan=1.0), 0, 1))


def spread(places: list[float], gap: float, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """`places` moved as little as possible (least squares) to lie `gap` apart within [low, high], their order kept."""
    order = np.argsort(places, kind="stable")
    steps = gap * np.arange(len(places))
    moved = isotonic_regression(np.asarray(places, float)[order] - steps, y_min=low, y_max=high - steps[-1])
    result = np.empty(len(places))
    result[order] = moved + steps
    return result


# --- errors --------------------------------------------------------------------------------------------------------


@_style()
def plot_confusion(matrices: dict[str, np.ndarray], dataset_title: str) -> Figure:
    """Errors by true and predicted digit: for each norm a (10, 10) array of counts, true digits in rows.

    Only errors have a colour, on one scale for all; the diagonal would drown them.
    """
    norms = [norm for norm in VARIANTS if norm in matrices]
    errors = {norm: np.asarray(matrices[norm]) * (1 - np.eye(NUM_CLASSES, dtype=int)) for norm in norms}
    most = max(1, *(int(e.max()) for e in errors.values()))
    size = min(3.2, (WIDTH - 0.55) / max(1, len(norms)) - 0.17)  # inches
    height = size + 1.6
    figure = _figure(height)
    _title(figure, f"Which digits are taken for which: {dataset_title}",
           "Number of misclassified images; blank: none. The grey diagonal, correct ones, is left out.")
    colours = sns.blend_palette(["#fff3e6", "#f5a55b"], as_cmap=True)  # light enough for dark numbers
    sentences = []
    for column, (norm, error) in enumerate(errors.items()):
        ax = figure.add_axes(((0.52 + (size + 0.17) * column) / WIDTH, 0.55 / height, size / WIDTH, size / height))
        ax.set(facecolor="#f6f6f6", axisbelow=True)
        ax.grid(False)
        sns.heatmap(error, mask=error == 0, vmin=0, vmax=most, cmap=colours, annot=True, fmt="d", cbar=False, ax=ax,
                    annot_kws={"color": INK, "size": min(9.0, 72 * size / 10 / (0.68 * len(str(most))))})
        ax.hlines(range(11), 0, 10, color="white", linewidth=1)
        ax.vlines(range(11), 0, 10, color="white", linewidth=1)
        for digit in range(NUM_CLASSES):
            ax.add_patch(Rectangle((digit, digit), 1, 1, facecolor="#c8c8c8", edgecolor="white", linewidth=1))
        ax.set_title(f"{VARIANTS[norm].short}: {error.sum():,} wrong", size=10.5, loc="left")
        ax.set_xlabel("predicted digit")
        ax.set_ylabel("true digit" if column == 0 else "")
        ax.tick_params(left=False, bottom=False, rotation=0, labelleft=column == 0, labelsize=9.5)
        true, predicted = np.unravel_index(error.argmax(), error.shape)
        worst = f", most often {true} taken for {predicted} ({error.max():,} times)" if error.any() else ""
        total = np.asarray(matrices[norm]).sum()
        sentences.append(f"{VARIANTS[norm].short}: {error.sum():,} of {total:,} wrong{worst}")
    return _described(figure, "svg", f"Confusion matrices on {dataset_title}, errors only. {'; '.join(sentences)}.")


@_style()
def plot_overlap(counts: pd.Series, dataset_title: str) -> Figure:
    """How many images exactly these variants get wrong: counts by tuples of norms, as bars with their numbers."""
    # pandas pads an index of tuples of several lengths with NaN: only the norms in it count
    sizes = {tuple(norm for norm in VARIANTS if norm in key): int(count) for key, count in counts.items()}
    norms = [norm for norm in VARIANTS if any(norm in key for key in sizes)]
    keys = sorted(sizes, key=lambda key: (-len(key), [norm not in key for norm in norms]))
    figure, ax = _canvas(1.55 + 0.36 * len(keys))
    _title(figure, f"What the variants get wrong together and alone: {dataset_title}",
           "Number of images that exactly the marked variants misclassify, one seed each." if keys else "")
    if not keys:
        ax.text(WIDTH / 2, 1.1, "No image is misclassified.", size=12, ha="center", va="center")
    first = 0.45 + 0.85 * len(norms)
    for column, norm in enumerate(norms):
        ax.text(0.5 + 0.85 * column, 1.05, VARIANTS[norm].short.replace(" + ", " +\n"), size=9,
                ha="center", va="center", linespacing=1.1)
    sentences = []
    for row, key in enumerate(keys):
        y, count = 1.48 + 0.36 * row, sizes[key]
        inside = [column for column, norm in enumerate(norms) if norm in key]
        ax.plot([0.5 + 0.85 * inside[0], 0.5 + 0.85 * inside[-1]], [y, y], color=INK, linewidth=1.5, zorder=1)
        for column, norm in enumerate(norms):
            look = LOOKS[norm]
            filled = {"color": look.colour, "marker": look.marker, "markersize": 10, "markeredgecolor": "white"}
            ax.plot([0.5 + 0.85 * column], [y], **(filled if norm in key else
                    {"color": "#c8c8c8", "marker": ".", "markersize": 5}))
        longest = (WIDTH - 0.6 - first) * count / max(1, *sizes.values())
        ax.add_patch(Rectangle((first, y - 0.12), longest, 0.24, facecolor="#6b7a8f"))
        ax.text(first + longest + 0.08, y, f"{count:,}", size=10.5, weight="bold", va="center")
        words = " and ".join(VARIANTS[norm].short for norm in norms if norm in key)
        sentences.append(f"{words}{' only' if len(key) < len(norms) else ''}: {count:,}")
    return _described(figure, "svg", f"Bars: how many images of {dataset_title} exactly these variants get wrong. "
                      + ("; ".join(sentences) or "No image is misclassified") + ".")


# --- speed ---------------------------------------------------------------------------------------------------------

PIPELINES = {"ordinary": "#8a8a8a", "ours": "#0072b2", "limit": "#d9d9d9"}  # each bar is named as well


@_style()
def plot_speed(epochs: pd.DataFrame) -> Figure:
    """Seconds an epoch of each pipeline: columns norm ("all": the three together), pipeline, seconds (medians)."""
    norms = list(dict.fromkeys(epochs.norm))
    figure, ax = _canvas(1.15 + 1.08 * len(norms))
    _title(figure, "Seconds an epoch: the ordinary pipeline, this project, and the limit of the machine",
           "60,000 images, batch 64. Limit: the convolutions' arithmetic at the rate of a large matrix product.")
    first, per_second, sentences = 1.75, (WIDTH - 3.6) / epochs.seconds.max(), []
    for row, norm in enumerate(norms):
        top = 1.0 + 1.08 * row
        name = VARIANTS[norm].short if norm in VARIANTS else "all three"
        ax.text(0.1, top + 0.39, name, size=11, weight="bold", va="center")
        mine = epochs[epochs.norm == norm].set_index("pipeline").seconds
        for place, (pipeline, colour) in enumerate(PIPELINES.items()):
            y, seconds = top + 0.13 + 0.26 * place, mine[pipeline]
            ax.add_patch(Rectangle((first, y - 0.1), seconds * per_second, 0.2, facecolor=colour))
            ratio = f" ({mine['ordinary'] / seconds:.1f} times as fast)" if pipeline == "ours" else ""
            ax.text(first + seconds * per_second + 0.07, y, f"{pipeline} {seconds:.1f} s{ratio}", size=9.5, va="center")
        sentences.append(f"{name}: " + ", ".join(f"{pipeline} {mine[pipeline]:.1f} s" for pipeline in PIPELINES))
    return _described(figure, "svg", "Bars of seconds an epoch. " + "; ".join(sentences) + ".")


@_style()
def plot_profile(profile: pd.DataFrame) -> Figure:
    """Where a batch's time goes: columns norm, kind, milliseconds; one stacked bar a variant, its parts named."""
    norms, kinds = list(dict.fromkeys(profile.norm)), list(dict.fromkeys(profile.kind))
    table = profile.pivot(index="kind", columns="norm", values="milliseconds").loc[kinds, norms]
    figure, ax = _canvas(1.5 + 0.3 * len(kinds))
    _title(figure, "Where each millisecond goes",
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
    return _described(figure, "svg", "Bars of milliseconds a batch by kind of operation. " + "; ".join(sentences) + ".")


@_style()
def plot_growth(growth: pd.DataFrame) -> Figure:
    """How the time grows: columns varied ("images", "batch size", "processes"), value, seconds; one panel each."""
    varied = list(dict.fromkeys(growth.varied))
    labels = {"images": ("images trained on", "seconds"), "batch size": ("batch size (images)", "seconds an epoch"),
              "processes": ("runs side by side", "seconds an epoch and run")}
    figure = _figure(3.3)
    _title(figure, "How the training time grows", "BatchNorm's network, one thread a run.")
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
    return _described(figure, "svg", "Three line graphs. " + "; ".join(sentences) + ".")


# --- canvas, files, display ----------------------------------------------------------------------------------------


def _figure(height: float) -> Figure:
    """White and opaque, so that a dark page leaves it readable. Inches."""
    return Figure(figsize=(WIDTH, height), facecolor="white")


def _canvas(height: float) -> tuple[Figure, Axes]:
    """A figure whose one axes is a sheet measured in inches from the upper left corner."""
    figure = _figure(height)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
    return figure, ax


def _title(figure: Figure, title: str, subtitle: str) -> None:
    """Both from the left edge; a line that is too long for the figure is set in smaller letters."""
    height = figure.get_figheight()
    for text, top, size, look in ((title, 0.14, 13, {"weight": "bold"}), (subtitle, 0.42, 10, {"color": MUTED})):
        font = FontProperties(weight=look.get("weight"), size=size)
        width = max(TextPath((0, 0), line or "-", prop=font).get_extents().width / 72 for line in text.split("\n"))
        figure.text(0.1 / WIDTH, 1 - top / height, text, size=size * min(1.0, (WIDTH - 0.3) / width),
                    va="top", linespacing=1.3, **look)


def _described(figure: Figure, file_format: str, alt: str) -> Figure:
    """Gives the figure its alt text (`figure.alt`) and the format of its file (`figure.file_format`)."""
    figure.alt, figure.file_format = alt, file_format
    return figure


@_style()
def render(figure: Figure, file_format: str, dpi: float = FILE_DPI) -> bytes:
    """The figure as "svg" or "png": the same figure gives the same bytes, with the alt text inside an SVG."""
    buffer = io.BytesIO()
    if file_format == "png":
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
        return buffer.getvalue()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg"):]  # no prolog: the same text stands in a file and inside HTML
    # ids that nothing refers to would only repeat from figure to figure on one page
    svg = re.sub(r'(<[^<>]*?) id="([^"]*)"', lambda tag: tag[0] if f"#{tag[2]}" in svg else tag[1], svg)
    return svg.replace("<svg", f'<svg role="img" aria-label={quoteattr(figure.alt)}', 1).encode()


def save_figure(figure: Figure, folder: str | Path, name: str) -> Path:
    """Writes `folder`/`name`.svg or .png, whole or not at all, and returns its path. Raises OSError."""
    path = Path(folder) / f"{name}.{figure.file_format}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, render(figure, figure.file_format))
    return path


def show(figure: Figure, name: str, folder: str | Path | None = None) -> None:
    """Displays the figure, and saves it as `folder`/figures/`name` when there is a folder for results."""
    show_figure(figure)
    if folder is not None:
        save_figure(figure, Path(folder) / "figures", name)


def show_figure(figure: Figure) -> None:
    """Displays the figure in a notebook, with its alt text; an SVG brings a PNG for readers that show no SVG."""
    from IPython.display import display

    bundle = {"image/png": render(figure, "png", FALLBACK_DPI if figure.file_format == "svg" else FILE_DPI)}
    if figure.file_format == "svg":
        bundle["image/svg+xml"] = render(figure, "svg").decode()
    display(bundle, metadata={mime: {"alt": figure.alt} for mime in bundle}, raw=True)
