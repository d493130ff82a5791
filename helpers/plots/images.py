"""Image grids of the main study: samples, augmented images, misclassified images."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pandas import DataFrame
from torch import Tensor

from helpers.config import VARIANTS, Recipe
from helpers.data import MEAN, NUM_CLASSES, STD, Dataset, augment, random_affine
from helpers.plots.style import LOOKS, WIDTH, bare, canvas, captioned, style

CELL = 0.784  # inches: 196 dots of a file with 250 dots an inch, 7 for each of 28 pixels


@style()
def plot_samples(data: Dataset) -> Figure:
    """The first six training images of each digit, in file order; blank where there are fewer."""
    figure, ax = canvas(5.724)
    for digit in range(NUM_CLASSES):
        left = 0.1 + CELL * digit
        ax.text(left + CELL / 2, 0.85, f"{digit}", size=12, weight="bold", ha="center")
        for row, image in enumerate(data.train_images[data.train_labels == digit][:6]):
            _draw(ax, left, 0.92 + CELL * row, image)
    title = f"{data.title}: the first six training images of each digit"
    subtitle = (f"{len(data.train_images):,} training and {len(data.val_images):,} validation images "
                "of 28×28 pixels")
    return captioned(figure, "png", title, subtitle, "A column a digit, dark ink on white")


@style()
def plot_augmentation(data: Dataset, recipe: Recipe, seed: int = 0) -> Figure:
    """The first five training images, each beside eight versions of it as `recipe` augments it."""
    figure, ax = canvas(5.2)
    ax.text(0.1, 0.95, "original", weight="bold")
    ax.text(0.972, 0.95, "augmented, each time anew", weight="bold")
    generator = torch.Generator().manual_seed(seed)
    for row, image in enumerate(data.train_images[:5]):
        matrices = random_affine(8, recipe, generator)
        seen = augment(image.expand(8, 28, 28), matrices, recipe) * STD + MEAN  # (8, 1, 28, 28)
        for column, version in enumerate([image, *255 * seen.squeeze(1)]):
            _draw(ax, 0.1 + 0.872 * column, 1.04 + 0.8 * row, version)
    changes = {
        f"rotation ±{recipe.rotation:g}°": recipe.rotation,
        f"shift ±{recipe.shift:g} pixels": recipe.shift,
        f"scale ±{100 * recipe.scale:g} %": recipe.scale,
        f"shear ±{recipe.shear:g}": recipe.shear,
        f"uncovered corners filled with {100 * recipe.fill:g} % ink": recipe.fill,
    }
    told = ", ".join(text for text, size in changes.items() if size)
    title = f"{data.title}: training images and what the network sees of them"
    subtitle = f"Augmentation: {told or 'none'}"
    return captioned(figure, "png", title, subtitle, "Five images, eight versions of each")


@style()
def plot_misclassified(wrong: DataFrame, images: Tensor, norm: str, dataset_title: str) -> Figure:
    """The first ten images that one run gets wrong, in two columns, row by row.

    wrong: columns seed, index, label, prediction, confidence, true_confidence of one seed, in file
    order. images: uint8 (N, 28, 28), looked up by `index`.
    """
    shown = wrong.head(10)
    height = 0.95 + 1.32 * ((len(shown) + 1) // 2)
    figure, ax = canvas(height)
    title = f"{VARIANTS[norm].title} on {dataset_title}: {len(shown)} of {len(wrong):,} errors"
    subtitle = f"Every one of the {len(images):,} images is classified correctly"
    colour = LOOKS[norm].colour
    facts = []
    for number, row in enumerate(shown.itertuples()):
        subtitle = (f"Misclassified images, seed {row.seed}, in file order: index, true → predicted"
                    " digit, confidence in both")
        left = 0.1 + 3.98 * (number % 2)
        top = 0.92 + 1.32 * (number // 2)
        _draw(ax, left, top, images[row.index], 1.12)
        text = f"index {row.index}: {row.label} → {row.prediction}"
        ax.text(left + 1.27, top + 0.2, text, size=12, weight="bold")
        bars = figure.add_axes(
            ((left + 2.2) / WIDTH, 1 - (top + 1.1) / height, 1 / WIDTH, 0.65 / height),
            xlim=(0, 1), xticks=[], facecolor="#f3f3f3")
        shares = {f"true {row.label}": row.true_confidence, f"predicted {row.prediction}": row.confidence}
        drawn = bars.barh(
            list(shares), shares.values(), color=["white", colour], edgecolor=colour)
        bars.bar_label(drawn, fmt=percent, padding=4)
        bare(bars)
        facts.append(f"{text} ({percent(row.confidence)}, true {percent(row.true_confidence)})")
    return captioned(figure, "png", title, subtitle, *facts)


def percent(share: float) -> str:
    """A probability in percent, never rounded to a certainty that it is not."""
    if 0 < share < 0.005:
        return "< 1 %"
    if 0.995 <= share < 1:
        return "> 99 %"
    return f"{100 * share:.0f} %"


def _draw(ax: Axes, x: float, y: float, image: Tensor, size: float = CELL) -> None:
    """An image, 0 to 255, as dark ink on white with a thin frame; x, y, size in inches."""
    extent = (x, x + size, y + size, y)
    ax.imshow(image.numpy(), cmap="gray_r", vmin=0, vmax=255, extent=extent)
    frame = Rectangle((x, y), size, size, fill=False, edgecolor="#c8c8c8")
    ax.add_patch(frame)
