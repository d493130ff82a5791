"""Confusions and overlaps: every number is drawn at its cell or bar and said in the alt text."""

import numpy as np
from plot_examples import NORMS, counts, matrix, texts

from helpers.plots.errors import plot_confusion, plot_overlap


def cells(ax):
    """(true, predicted) -> number, of the numbers drawn in a matrix."""
    drawn = {}
    for text in ax.texts:
        x, y = text.get_position()
        if text.get_text():
            drawn[(round(y - 0.5), round(x - 0.5))] = text.get_text()
    return drawn


def test_confusion_shows_errors_only_true_digits_in_rows():
    figure = plot_confusion({"group": matrix({(4, 9): 6, (7, 2): 3})}, "MNIST")
    (ax,) = figure.axes
    assert cells(ax) == {(4, 9): "6", (7, 2): "3"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted digit", "true digit")
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # 0 above, as in every table
    assert "GroupNorm: 9 wrong, most often 4 taken for 9 (6 times), of 909 images." in figure.alt
    perfect = plot_confusion({"group": matrix({})}, "MNIST")
    assert "GroupNorm: 0 wrong, of 900 images." in perfect.alt and not cells(perfect.axes[0])
    three = plot_confusion({norm: matrix({(1, 7): 1 + 20 * i}) for i, norm in enumerate(NORMS)}, "MNIST", 5)
    assert len({ax.collections[0].get_clim() for ax in three.axes}) == 1  # one scale for all
    assert "sum over seeds: 5" in texts(three)


def test_overlap_bars_are_proportional_and_numbered():
    figure = plot_overlap(counts({tuple(NORMS): 20, ("layer", "batch"): 10, ("batch",): 5}), "MNIST", 7)
    (ax,) = figure.axes
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [20, 10, 5])
    assert [text.get_text() for text in ax.texts] == ["20", "10", "5"]
    assert "LayerNorm, GroupNorm, L1 + BatchNorm: 20. LayerNorm, L1 + BatchNorm: 10. " in figure.alt
    assert ax.get_ylim()[0] > ax.get_ylim()[1] and "seed 7" in texts(figure)  # all together first
    assert "GroupNorm: 0." in plot_overlap(counts({("group",): 0}), "MNIST").alt
