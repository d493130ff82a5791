"""Figures are the data that they were given, in order, with their numbers, which stand in the alt text too."""

import math
import warnings

import numpy as np
import pytest
from plot_examples import NORMS, SHARED, dataset, evidence, history, lines, texts, wrong

from helpers.config import RECIPES, VARIANTS, ParameterError, Recipe
from helpers.plots import axes, comparisons, curves, errors, images
from helpers.plots.style import LOOKS, render
from helpers.results.frames import historical_frame


@pytest.mark.parametrize(("plot", "column"), [
    (curves.plot_validation_loss, "val_loss"), (curves.plot_validation_accuracy, "val_accuracy")])
@pytest.mark.parametrize(("norms", "seeds", "epochs"), [(NORMS, [0], 20), (NORMS, [3, 5], 20), (["group"], [0], 1)])
def test_curves_are_the_data(plot, column, norms, seeds, epochs):
    frame = history(norms, seeds, epochs).sample(frac=1, random_state=0)  # in any order of the rows
    figure = plot(frame, "MNIST")
    means = lines(figure, "mean")
    for norm, line in zip(norms, means, strict=True):
        expected = frame[frame["norm"] == norm].groupby("epoch", as_index=False)[column].mean()
        np.testing.assert_allclose(line.get_xydata(), expected, rtol=1e-12)
        assert (line.get_color(), line.get_marker()) == LOOKS[norm][:2]
        low, high = figure.axes[0].get_ylim()
        assert low < line.get_ydata()[-1] < high
    assert len({line.get_linestyle() for line in means}) == len(norms)
    several = len(seeds) > 1
    bands = figure.axes[0].collections
    assert len(bands) == len(lines(figure, "seed")) == several * len(norms)
    assert ("mean of 2 seeds" in figure.alt) == several and "averaged weights" in figure.alt
    for norm, band, ends in zip(norms, bands, lines(figure, "seed"), strict=False):
        mine = frame[frame["norm"] == norm]
        assert band.get_datalim(figure.axes[0].transData).y1 == pytest.approx(mine[column].max())
        np.testing.assert_allclose(sorted(ends.get_ydata()), sorted(mine[mine.epoch == epochs][column]))


@pytest.mark.parametrize(("plot", "axis", "note", "ends", "title"), [
    (curves.plot_validation_loss, "validation loss (nats)", "logarithmic axis", "0.0170 nats, 0.0171 nats, 0.0172 nats",
     "L1 + BatchNorm ends at 0.0172 nats, LayerNorm at 0.0170 nats"),
    (curves.plot_validation_accuracy, "validation accuracy (%)", "The axis starts at 99.1 %",
     "99.50 %, 99.49 %, 99.48 %", "LayerNorm ends at 99.50 %, L1 + BatchNorm at 99.48 %")])
def test_the_axis_and_the_ends_stand_in_the_figure_and_its_alt_text(plot, axis, note, ends, title):
    figure = plot(history(), "MNIST")
    told = " ".join(texts(figure)).replace("\n", " ")
    for norm, end in zip(NORMS, ends.split(", "), strict=True):
        assert f"{VARIANTS[norm].short} {end}" in texts(figure) and end in figure.alt
    assert axis in told and note in told and title in told and figure.alt.startswith(title) and note in figure.alt
    ax = figure.axes[0]
    assert ax.get_yscale() == "log" or (ax.get_ylim()[0] == 99.1 and texts(figure, "cut") == ["//"])


def test_historical_curves_stand_beside_ours_epoch_by_epoch():
    old, ours = historical_frame(), history(seeds=(0, 1))
    free = ours[ours.norm == "batch"].assign(val_accuracy=99.0)
    free.loc[free.epoch == 18, "val_accuracy"] = 99.25
    figure = curves.plot_beside_historical(ours, old, "MNIST", free)
    for norm, ax in zip(NORMS, figure.axes, strict=True):
        there = old[old.variant == norm][["epoch", "val_accuracy"]]
        np.testing.assert_array_equal(lines(ax, "historical")[0].get_xydata(), there)
        here = ours[ours.norm == norm].groupby("epoch").val_accuracy.mean()
        np.testing.assert_allclose(lines(ax, "mean")[0].get_ydata(), here)
        assert len(lines(ax, "without")) == (norm == "batch")
    mean = ours[(ours.norm == "batch") & (ours.epoch == 18)].val_accuracy.mean()
    numbers = f"L1 + BatchNorm {mean:.2f} %, historical 97.46 %, no penalty (dotted) 99.25 %"
    assert f"{numbers} in epoch 18" in figure.alt and numbers in " ".join(texts(figure)).replace("\n", " ")
    assert figure.alt.startswith(f"L1 + BatchNorm lies farthest from the historical run: {mean - 97.46:.2f} points. ")
    one = curves.plot_beside_historical(history(["group"], epochs=1), old, "MNIST", free.head(0).astype(object))
    assert "One seed (0)" in one.alt and len(one.axes) == 1 and "penalty" not in one.alt


def test_a_diverged_run_is_drawn_and_named():
    frame = history()
    frame.loc[(frame["norm"] == "batch") & (frame["epoch"] > 3), "val_loss"] = np.nan
    figure = curves.plot_validation_loss(frame, "MNIST")
    render(figure, "png", 72)
    told = "L1 + BatchNorm nan nats"
    assert len(lines(figure, "mean")) == 3 and "to nan nats" in figure.alt and told in texts(figure)
    render(curves.plot_validation_loss(frame.assign(val_loss=np.inf), "MNIST"), "svg")


def test_a_network_that_only_guesses_is_told():
    learns = [2.3 - 0.02 * update for update in range(100)]
    figure = curves.plot_dying({"none": [math.log(10)] * 100, "batch": learns}, "MNIST")
    assert figure.alt.startswith("With no norm the network ends at 2.30 nats, guessing is 2.30. ")
    assert "no norm: 2.30 nats in the end. BatchNorm: 0.51 nats in the end." in figure.alt
    (line,) = lines(figure, "batch")
    np.testing.assert_allclose(line.get_xydata(), np.column_stack([range(1, 101), learns]))
    learning = curves.plot_dying({"none": learns, "batch": learns}, "MNIST")
    assert learning.alt.startswith("With no norm the network ends at 0.51 nats, guessing is 2.30. ")


def shown(figure) -> list:
    return [image.get_array() for image in figure.axes[0].images]


def test_samples_are_the_first_of_each_digit_in_file_order():
    data = dataset(num_images=65)
    order = sorted(range(40), key=lambda index: index % 10)
    np.testing.assert_array_equal(shown(images.plot_samples(data)), data.train_images[order])
    assert len(shown(images.plot_samples(dataset(num_images=25)))) == 25  # blank where there are fewer


def test_augmentation_shows_the_original_then_the_recipes_versions():
    data, recipe = dataset(), RECIPES["original"]
    plain = images.plot_augmentation(data, Recipe(rotation=0, shift=0, scale=0, shear=0))
    assert plain.alt.startswith("MNIST: training images") and "Augmentation: none." in plain.alt
    for image in shown(plain)[:9]:  # nothing to do: nine times the same image
        np.testing.assert_allclose(image, data.train_images[0], atol=0.05)
    turned = images.plot_augmentation(data, recipe)
    assert "Augmentation: rotation ±7°, uncovered corners filled with 100 % ink." in turned.alt
    assert (shown(turned)[1] != shown(images.plot_augmentation(data, recipe, seed=1))[1]).any()


@pytest.mark.parametrize(("count", "order"), [(14, [5, 3, 4, 6, 7, 8, 9, 10]), (3, [5, 3, 4]), (0, [])])
def test_misclassified_images_stand_in_the_order_of_how_many_runs_err(count, order):
    """5 is wrong in two runs of LayerNorm and one of GroupNorm, the others in one."""
    data = dataset()
    figure = images.plot_misclassified(wrong(count), data.val_images, "MNIST", {"layer": 2, "group": 1})
    for image, index in zip(shown(figure), order, strict=True):
        np.testing.assert_array_equal(image, data.val_images[index])
    assert f"{int(count > 2)} image" in figure.alt and "in all 3 runs" in figure.alt
    if order:
        assert {"5: a 4", "Layer 2→9", "Group 1→7"} <= set(texts(figure))
        assert "3: a 4, Layer 1→9, Group 0" in figure.alt and "of its 1 or 2 runs" in figure.alt


def test_confusion_shows_errors_only_true_digits_in_rows():
    perfect = 90 * np.eye(10, dtype=int)
    group = perfect.copy()
    group[4, 9], group[7, 2] = 6, 3
    figure = errors.plot_confusion({"group": group, "batch": perfect}, "MNIST", 5)
    (ax,) = figure.axes
    assert {text.get_position()[::-1]: text.get_text() for text in ax.texts if text.get_text()} == {
        (4.5, 9.5): "6", (7.5, 2.5): "3"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted digit", "true digit")
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # 0 above, as in every table
    assert figure.alt.startswith("Most often a 4 is taken for a 9: 6 of 9 errors. MNIST: errors of 2 variants, sum")
    assert "over seeds: 5" in figure.alt and "9 errors of 1,809 images read" in figure.alt
    assert errors.plot_confusion({"batch": perfect}, "MNIST").alt.startswith("No digit is taken for another")


def test_shared_errors_are_tiles_with_their_numbers():
    figure = errors.plot_shared(SHARED, "MNIST", "Two runs share 20 wrong images. 4 are wrong in all.")
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == [f"{20 + number:.1f}" for number in range(9)]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["LayerNorm", "GroupNorm", "L1 + BatchNorm"]
    assert figure.alt.startswith("Two runs share 20 wrong images. MNIST: mean over pairs")
    assert figure.alt.endswith("two seeds of one variant. 4 are wrong in all.")
    with warnings.catch_warnings():  # a single run shares with none
        warnings.simplefilter("error")
        errors.plot_shared(SHARED.iloc[:1, :1] * np.nan, "MNIST", "None is wrong.")


def test_comparisons_show_each_seed_the_mean_and_the_margin():
    figure = comparisons.plot_comparisons(evidence(), "MNIST: one is behind")
    ax = figure.axes[0]
    assert [line.get_xdata().tolist() for line in lines(figure, "seed")] == [[-3], [4, 6, 8], [-1, -3]]
    (margin,) = [patch for patch in ax.patches if patch.get_gid() == "margin"]
    assert (margin.get_x(), margin.get_width()) == (-5, 10)
    bars = [segment[:, 0].tolist() for container in ax.containers for segment in container[2][0].get_segments()]
    assert bars == [[1, 11], [-14.7, 10.7]], "of one seed there is no interval"
    assert [mean.get_markerfacecolor() for mean, *_ in ax.containers] == ["#0072b2", "white"], "hollow: it holds 0"
    assert {"← L1 + BatchNorm", "LayerNorm →", "← BatchNorm without L1", "confirmation, 3 seeds: +6.0 ± 5.0"} <= set(
        texts(figure))
    assert "LayerNorm against L1 + BatchNorm. hold-out, 1 seed: -3.0. confirmation, 3 seeds: +6.0 ± 5.0." in figure.alt


@pytest.mark.parametrize(("num_groups", "group"), [(1, "111122223333"), (2, "112233445566"), (4, "123456789101112")])
def test_normalization_axes_numbers_what_shares_a_mean(num_groups, group):
    figure = axes.plot_normalization_axes(num_groups)
    for norm, expected in (("layer", "111122223333"), ("group", group), ("batch", "123412341234")):
        assert "".join(texts(figure, norm)) == expected
    for words in (" ".join(texts(figure)), figure.alt):
        assert "N = 3 means" in words and f"N·G = {3 * num_groups} means" in words and "C = 4 means" in words
        assert "2·C·H·W = 72 parameters" in words and words.count("2·C = 8 parameters") == 2
        assert "weight (4, 3, 3)" in words and f"G = {num_groups}" in words
    with pytest.raises(ParameterError, match="num_groups"):
        axes.plot_normalization_axes(3)


def test_the_answer_shows_each_seed_and_the_interval_of_the_mean():
    figure = comparisons.plot_answer(history(seeds=(0, 1, 2), epochs=2), "MNIST", "LayerNorm is best")
    ends = [99.5 - 0.1 * seed - 4 * np.exp(-1) for seed in range(3)]
    np.testing.assert_allclose(lines(figure, "seed")[0].get_xdata(), ends)
    half = 4.3027 * 0.1 / 3**0.5  # t of 2 degrees of freedom
    assert f"LayerNorm {np.mean(ends):.2f} ± {half:.2f} %" in texts(figure)
    assert figure.alt.startswith("LayerNorm is best. Validation accuracy on MNIST. Dots: 3 seeds")
    one = comparisons.plot_answer(history(["group"], epochs=2), "MNIST", "x")
    assert "One seed" in one.alt and "±" not in one.alt
