"""Image grids of the main study: samples, augmented images, misclassified images."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pandas import DataFrame
from torch import Tensor

from helpers.config import VARIANTS, Recipe
from helpers.data import MEAN, NUM_CLASSES, STD, Dataset, augment, random_affine
from helpers.plots.style import canvas, captioned, style

CELL = 0.4  # inches


@style()
def plot_samples(data: Dataset) -> Figure:
    """The first four training images of each digit, in file order; blank where there are fewer."""
    figure, ax = canvas(0.3 + 4 * CELL)
    for digit in range(NUM_CLASSES):
        left = 0.1 + CELL * digit
        ax.text(left + CELL / 2, 0.18, f"{digit}", weight="bold", ha="center")
        for row, image in enumerate(data.train_images[data.train_labels == digit][:4]):
            _draw(ax, left, 0.24 + CELL * row, image)
    title = f"{data.title}: the first four training images of each digit"
    subtitle = (f"{len(data.train_images):,} training and {len(data.val_images):,} validation images "
                "of 28×28 pixels")
    return captioned(figure, "png", title, subtitle, "A column a digit, dark ink on white")


@style()
def plot_augmentation(data: Dataset, recipe: Recipe, seed: int = 0) -> Figure:
    """The first five training images, each beside eight versions of it as `recipe` augments it."""
    figure, ax = canvas(0.3 + 5 * CELL * 1.1)
    ax.text(0.1, 0.18, "original", weight="bold")
    ax.text(0.95, 0.18, "augmented, each time anew", weight="bold")
    generator = torch.Generator().manual_seed(seed)
    for row, image in enumerate(data.train_images[:5]):
        matrices = random_affine(8, recipe, generator)
        seen = augment(image.expand(8, 28, 28), matrices, recipe) * STD + MEAN  # (8, 1, 28, 28)
        _draw(ax, 0.1, 0.25 + 1.1 * CELL * row, image)
        for column, version in enumerate(255 * seen.squeeze(1)):
            _draw(ax, 0.95 + CELL * column, 0.25 + 1.1 * CELL * row, version)
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


def most_wrong(wrong: DataFrame) -> list[int]:
    """The eight images that most runs get wrong, the worst first. wrong: from `wrong_frame`."""
    counts = wrong.groupby("index").size().sort_values(ascending=False, kind="stable")
    return counts.index[:8].tolist()


@style()
def plot_misclassified(wrong: DataFrame, images: Tensor, dataset_title: str, num_runs: dict[str, int]) -> Figure:
    """The eight images that most runs get wrong, with how many runs of each variant, and as what they read it.

    wrong: from `wrong_frame`. images: uint8 (N, 28, 28), looked up by `index`. num_runs: of each norm.
    """
    shown = most_wrong(wrong)
    figure, ax = canvas(0.1 + 0.93 * ((len(shown) + 1) // 2))
    facts = []
    for number, index in enumerate(shown):
        mine = wrong[wrong["index"] == index]
        left = 0.08 + 2.06 * (number % 2)
        top = 0.05 + 0.93 * (number // 2)
        _draw(ax, left, top, images[index], 0.82)
        lines = [f"{index}: a {mine.label.iloc[0]}"]
        for norm in [norm for norm in VARIANTS if norm in num_runs]:
            readings = mine[mine.norm == norm].prediction
            name = VARIANTS[norm].bare.removesuffix("Norm")
            read_as = f"→{readings.mode()[0]}" if len(readings) else ""
            lines.append(f"{name} {len(readings)}{read_as}")
        for line, text in enumerate(lines):
            ax.text(left + 0.89, top + 0.17 + 0.205 * line, text, weight="normal" if line else "bold")
        facts.append(", ".join(lines))
    everyone = sum(wrong.groupby("index").size() == sum(num_runs.values()))
    title = f"{everyone} {'image is' if everyone == 1 else 'images are'} wrong in all {sum(num_runs.values())} runs"
    totals = " or ".join(map(str, sorted(set(num_runs.values()))))
    subtitle = (f"{dataset_title}: the images that most runs get wrong: index, true digit, and for each variant how "
                f"many of its {totals} runs err → what they mostly read")
    return captioned(figure, "png", title, subtitle, *facts)


def _draw(ax: Axes, x: float, y: float, image: Tensor, size: float = CELL) -> None:
    """An image, 0 to 255, as dark ink on white with a thin frame; x, y, size in inches."""
    extent = (x, x + size, y + size, y)
    ax.imshow(image.numpy(), cmap="gray_r", vmin=0, vmax=255, extent=extent)
    frame = Rectangle((x, y), size, size, fill=False, edgecolor="#c8c8c8")
    ax.add_patch(frame)
