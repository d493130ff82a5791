"""Image grids show the images they were given, in order, with their numbers."""

import numpy as np
import pytest
from plot_examples import dataset, texts, wrong

from helpers.config import RECIPES, Recipe
from helpers.plots.images import percent, plot_augmentation, plot_misclassified, plot_samples
from helpers.plots.style import render


def test_samples_are_the_first_of_each_digit_in_file_order():
    data = dataset(num_images=25)
    images = plot_samples(data).axes[0].images
    assert len(images) == 25  # two or three of each, blank where there are fewer
    shown = [image.get_array() for image in images[:3]]
    for got, index in zip(shown, (0, 10, 20), strict=True):
        np.testing.assert_array_equal(got, data.train_images[index])
    assert not np.array_equal(shown[0], shown[1])
    assert len(plot_samples(dataset(num_images=90)).axes[0].images) == 60  # the first six of each


def test_augmentation_shows_the_original_then_the_recipes_versions():
    data = dataset()
    figure = plot_augmentation(data, Recipe(rotation=0, shift=0, scale=0, shear=0))
    assert "Augmentation: none." in texts(figure)
    for image in figure.axes[0].images[:9]:  # nothing to do: nine times the same image
        np.testing.assert_allclose(image.get_array(), data.train_images[0], atol=0.05)
    turned = plot_augmentation(data, RECIPES["original"])
    assert "rotation ±7°, uncovered corners filled with 100 % ink" in texts(turned)
    assert render(turned, "png", 50) != render(plot_augmentation(data, RECIPES["original"], seed=1), "png", 50)


@pytest.mark.parametrize(("count", "shown"), [(12, 10), (3, 3), (1, 1), (0, 0)])
def test_misclassified(count, shown):
    data = dataset()
    figure = plot_misclassified(wrong(count), data.val_images, "layer", "MNIST")
    sheet, *bars = figure.axes
    assert f"Layer Normalization on MNIST: {shown} of {count} errors" in texts(figure)
    assert len(sheet.images) == len(bars) == texts(figure).count("4 → 9") == shown
    assert ("seed 7" in figure.alt) == (count > 0)
    assert ("Every one of the 40 images is classified correctly." in texts(figure)) == (count == 0)
    for number, (image, ax, row) in enumerate(zip(sheet.images, bars, wrong(count).itertuples(), strict=False)):
        np.testing.assert_array_equal(image.get_array(), data.val_images[3 + number])
        assert f"index {3 + number}: 4 → 9 ({100 * row.confidence:.0f} %, true 20 %)" in figure.alt
        true, predicted = ax.patches
        assert (true.get_width(), predicted.get_width()) == (0.2, row.confidence)
        assert true.get_facecolor() != predicted.get_facecolor()
        assert [label.get_text() for label in ax.get_yticklabels()] == ["true 4", "predicted 9"]


def test_percent_never_rounds_to_certainty():
    shares = (0, 0.0004, 0.5, 0.994, 0.9991, 1)
    assert [percent(share) for share in shares] == ["0 %", "< 1 %", "50 %", "99 %", "> 99 %", "100 %"]
