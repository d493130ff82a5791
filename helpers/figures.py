"""The main study's figures: `plot_*(numbers) -> Figure`, each with its own alt text made from the same numbers."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from torch import Tensor

from helpers.config import VARIANTS, Recipe, check
from helpers.data import MEAN, NUM_CLASSES, STD, Dataset, augment, random_affine
from helpers.drawing import (
    INK,
    LOOKS,
    MUTED,
    WIDTH,
    blank,
    canvas,
    described,
    fraction,
    headline,
    label_ends,
    limits,
    spread,
    stretch,
    style,
)
from helpers.normalization import num_affine, num_statistics

# --- normalisation -------------------------------------------------------------------------------------------------


@style()
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
    figure, ax = canvas(5.05)
    headline(figure, "Which elements share one mean", "An activation (N, C, H, W): images N1 to N3, channels C1 to C4, "
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
    return described(figure, "svg", "Diagram of an activation of 3 images, 4 channels and 3 by 3 pixels, drawn three "
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


@style()
def plot_samples(data: Dataset, num_samples: int = 6) -> Figure:
    """The first `num_samples` training images of each digit, in file order; blank where there are fewer."""
    figure, ax = canvas(1.02 + 0.784 * num_samples)
    headline(figure, f"{data.title}: the first {num_samples} training images of each digit",
             f"{len(data.train_images):,} training and {len(data.val_images):,} validation images of 28×28 pixels.")
    for digit in range(NUM_CLASSES):
        ax.text(0.1 + 0.784 * digit + 0.392, 0.85, f"{digit}", size=12, weight="bold", ha="center")
        for row, image in enumerate(data.train_images[data.train_labels == digit][:num_samples]):
            _image(ax, 0.1 + 0.784 * digit, 0.92 + 0.784 * row, 0.784, image)
    return described(figure, "png", f"Ten columns of handwritten digits from 0 to 9, dark ink on white: the first "
                     f"{num_samples} training images of each from {data.title}.")


@style()
def plot_augmentation(data: Dataset, recipe: Recipe, seed: int = 0, num_images: int = 5) -> Figure:
    """The first training images, each beside eight versions of it as `recipe` augments them."""
    figure, ax = canvas(1.2 + 0.8 * num_images)
    changes = ", ".join(part for value, part in (
        (recipe.rotation, f"rotation ±{recipe.rotation:g}°"), (recipe.shift, f"shift ±{recipe.shift:g} pixels"),
        (recipe.scale, f"scale ±{100 * recipe.scale:g} %"), (recipe.shear, f"shear ±{recipe.shear:g}"),
        (recipe.fill, f"uncovered corners filled with {100 * recipe.fill:g} % ink")) if value) or "none"
    headline(figure, f"{data.title}: training images and what the network sees of them", f"Augmentation: {changes}.")
    ax.text(0.1 + 0.392, 0.95, "original", size=10, weight="bold", ha="center")
    ax.text(1.1, 0.95, "augmented, each time anew", size=10, weight="bold")
    generator = torch.Generator().manual_seed(seed)
    for row, image in enumerate(data.train_images[:num_images]):
        _image(ax, 0.1, 1.03 + 0.8 * row, 0.784, image)
        copies = image.expand(8, 28, 28)
        seen = augment(copies, random_affine(8, recipe, generator), recipe).squeeze(1) * STD + MEAN  # (8, 28, 28)
        for column, version in enumerate(seen):
            _image(ax, 1.1 + 0.85 * column, 1.03 + 0.8 * row, 0.784, version * 255)
    return described(figure, "png", f"{min(num_images, len(data.train_images))} training images of {data.title}, each "
                     f"beside eight augmented versions. Augmentation: {changes}.")


@style()
def plot_misclassified(wrong: pd.DataFrame, images: Tensor, norm: str, dataset_title: str,
                       num_images: int = 10) -> Figure:
    """The first `num_images` images that one run gets wrong, in two columns, row by row.

    wrong: columns seed, index, label, prediction, confidence, true_confidence (probabilities), one seed, in file order.
    images: uint8 (N, 28, 28), looked up by `index`.
    """
    shown = wrong.head(num_images)
    rows = max(1, -(-len(shown) // 2))
    figure, ax = canvas(0.95 + 1.32 * rows)
    name = VARIANTS[norm].title
    seed = f"Seed {wrong['seed'].iloc[0]}. " if len(wrong) else ""
    count = f"{'all' if len(shown) == len(wrong) else f'the first {len(shown)} of'} {len(wrong):,} misclassified images"
    if len(wrong) <= 1:
        count = "the only misclassified image" if len(wrong) else "no misclassified image"
    legend = "Index in the validation images, true → predicted digit, and the network's confidence in both."
    headline(figure, f"{name} on {dataset_title}: {count}", f"{seed}{legend}" if len(wrong) else "")
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
    return described(figure, "png", f"{name} on {dataset_title}: {count}. {seed}" + "; ".join(sentences)
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


@style()
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


@style()
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
    figure = blank(4.7)
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
    label_ends(ax, {norm: (x, y, f"{VARIANTS[norm].short}\n{number.format(y)} {unit}")
                     for norm, (x, y, _) in ends.items()})
    runs = f"Thick: mean of {seeds} seeds, thin: each." if seeds > 1 else f"One seed ({history['seed'].iloc[0]})."
    headline(figure, f"{quantity.capitalize()} on {dataset_title}", f"{note[0].upper() + note[1:]}. {runs}")
    parts = [f"{VARIANTS[norm].short} ends at {number.format(y)} {unit}"
             + (f" (from {number.format(first)} after epoch 1)" if epochs > 1 else "")
             for norm, (_, y, first) in ends.items()]
    alt = (f"Line graph of the {quantity} on {dataset_title} over {epochs} epoch{'s' * (epochs > 1)}, "
           f"{f'mean of {seeds} seeds' if seeds > 1 else 'one seed'}, {note}. {'; '.join(parts)}.")
    if not old.empty:
        _mark_historical(figure, ax, old, number)
        alt += " Historical run, one seed: " + ", ".join(
            f"{VARIANTS[norm].short} {number.format(value)} {unit}" for norm, value in old.items()) + "."
    return described(figure, "svg", alt)


def _mark_historical(figure: Figure, ax: Axes, old: pd.Series, number: str) -> None:
    """Open marks with their values in a strip right of the labels; an arrow where the value is off the axis."""
    strip = figure.add_axes((6.87 / WIDTH, ax.get_position().y0, 1.05 / WIDTH, ax.get_position().height), sharey=ax)
    strip.set(facecolor="#f6f6f6", xlim=(0, 1.05), xticks=[])
    strip.spines[:].set_visible(False)
    strip.tick_params(left=False, labelleft=False)
    strip.set_title("historical run,\n1 seed", size=9, color=MUTED)
    at = [fraction(ax, value) for value in old]
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


@style()
def plot_beside_historical(history: pd.DataFrame, historical: pd.DataFrame, dataset_title: str,
                           without_l1: pd.DataFrame | None = None) -> Figure:
    """Validation accuracy epoch by epoch, a panel for each variant: these runs and the historical one.

    history: columns norm, seed, epoch, val_accuracy. historical: columns variant, epoch, val_accuracy. without_l1: as
    history, of BatchNorm without its penalty.
    """
    norms = [norm for norm in VARIANTS if norm in set(history["norm"])]
    seeds, sentences = history["seed"].nunique(), []
    figure = blank(3.9)
    runs = f"Thick: mean of {seeds} seeds, thin: each." if seeds > 1 else f"One seed ({history['seed'].iloc[0]})."
    headline(figure, f"Validation accuracy on {dataset_title}: these runs and the historical one",
             f"{runs} Black, dashed: the historical run, one seed. The axis is stretched towards 100 %.")
    free = pd.DataFrame(columns=history.columns) if without_l1 is None else without_l1
    low, high = limits(pd.concat([frame["val_accuracy"] for frame in (history, historical, free) if len(frame)]))
    for place, norm in enumerate(norms):
        ax = figure.add_axes((0.085 + 0.31 * place, 0.135, 0.28, 0.56))
        stretch(ax, low, high)
        curves = history[history["norm"] == norm].pivot(index="epoch", columns="seed", values="val_accuracy")
        old = historical[historical["variant"] == norm].set_index("epoch")["val_accuracy"]
        mean, colour = curves.mean(axis=1, skipna=False), LOOKS[norm].colour
        for seed in curves if seeds > 1 else ():
            ax.plot(curves.index, curves[seed], color=colour, linewidth=0.7, alpha=0.45, gid="seed")
        ax.plot(old.index, old, color=INK, linestyle=(0, (3, 1.5)), linewidth=1.4, gid="historical")
        ax.plot(mean.index, mean, color=colour, linewidth=2, gid="mean")
        last = min(mean.index[-1], old.index[-1])  # both after as many epochs
        ax.set_title(f"{VARIANTS[norm].short}, epoch {last}\nhere {mean[last]:.2f} %, historical {old[last]:.2f} %",
                     size=10, loc="left")
        other = free[free["norm"] == norm].groupby("epoch")["val_accuracy"].mean()
        if len(other):  # its label is of the same epoch
            ax.plot(other.index, other, color=colour, linestyle=(0, (1, 1)), linewidth=1.8, gid="without")
            ax.text(0.97, fraction(ax, other.iloc[-1]) + 0.035, f"dotted: no penalty, {other[:last].iloc[-1]:.2f} %",
                    size=9, ha="right", transform=ax.transAxes)
        ax.set_xlim(0.5, max(history["epoch"].max(), old.index[-1]) + 0.5)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.set_xlabel("epoch")
        ax.tick_params(labelleft=place == 0)
        if place == 0:
            ax.set_ylabel("validation accuracy (%)")
        sentences.append(f"{VARIANTS[norm].short} is at {mean[last]:.2f} % here and at {old[last]:.2f} % in the "
                         f"historical run (epoch {last})"
                         + (f", and without its penalty at {other[:last].iloc[-1]:.2f} %" if len(other) else ""))
    return described(figure, "svg", f"Line graphs of the validation accuracy on {dataset_title} by epoch, "
                     f"{f'mean of {seeds} seeds' if seeds > 1 else 'one seed'} beside the historical run. "
                     + "; ".join(sentences) + ".")


# --- errors --------------------------------------------------------------------------------------------------------


@style()
def plot_confusion(matrices: dict[str, np.ndarray], dataset_title: str, num_seeds: int = 1) -> Figure:
    """Errors by true and predicted digit: for each norm a (10, 10) array of counts over all seeds, true digits in rows.

    Only errors have a colour, on one scale for all; the diagonal would drown them.
    """
    norms = [norm for norm in VARIANTS if norm in matrices]
    errors = {norm: np.asarray(matrices[norm]) * (1 - np.eye(NUM_CLASSES, dtype=int)) for norm in norms}
    most = max(1, *(int(e.max()) for e in errors.values()))
    size = min(3.2, (WIDTH - 0.55) / max(1, len(norms)) - 0.17)  # inches
    height = size + 1.6
    figure = blank(height)
    headline(figure, f"Which digits are taken for which: {dataset_title}",
             f"Number of misclassified images{f', summed over {num_seeds} seeds' * (num_seeds > 1)}; blank: none. The "
             "grey diagonal, correct ones, is left out.")
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
    return described(figure, "svg", f"Confusion matrices on {dataset_title}, errors only. {'; '.join(sentences)}.")


@style()
def plot_overlap(counts: pd.Series, dataset_title: str, seed: int = 0) -> Figure:
    """How many images exactly these variants get wrong: counts by tuples of norms, as bars with their numbers."""
    # pandas pads an index of tuples of several lengths with NaN: only the norms in it count
    sizes = {tuple(norm for norm in VARIANTS if norm in key): int(count) for key, count in counts.items()}
    norms = [norm for norm in VARIANTS if any(norm in key for key in sizes)]
    keys = sorted(sizes, key=lambda key: (-len(key), [norm not in key for norm in norms]))
    figure, ax = canvas(1.55 + 0.36 * len(keys))
    headline(figure, f"What the variants get wrong together and alone: {dataset_title}",
             f"Number of images that exactly the marked variants misclassify, seed {seed}." if keys else "")
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
    return described(figure, "svg", f"Bars: how many images of {dataset_title} exactly these variants get wrong. "
                     + ("; ".join(sentences) or "No image is misclassified") + ".")
