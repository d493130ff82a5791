"""Learning curves are the data; their ends stand in the key, in the title and in the alt text."""

import math

import numpy as np
import pytest
from plot_examples import NORMS, history, lines, texts

from helpers.config import VARIANTS
from helpers.plots.curves import plot_beside_historical, plot_dying, plot_validation_accuracy, plot_validation_loss
from helpers.plots.style import LOOKS, render
from helpers.results.frames import historical_frame

CURVES = pytest.mark.parametrize(("plot", "column"), [
    (plot_validation_loss, "val_loss"), (plot_validation_accuracy, "val_accuracy")])


@CURVES
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
    (plot_validation_loss, "validation loss (nats)", "logarithmic axis", "0.0170 nats, 0.0171 nats, 0.0172 nats",
     "L1 + BatchNorm ends at 0.0172 nats, LayerNorm at 0.0170 nats"),
    (plot_validation_accuracy, "validation accuracy (%)", "The axis starts at 99.1 %", "99.50 %, 99.49 %, 99.48 %",
     "LayerNorm ends at 99.50 %, L1 + BatchNorm at 99.48 %")])
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
    figure = plot_beside_historical(ours, old, "MNIST", free)
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
    one = plot_beside_historical(history(["group"], epochs=1), old, "MNIST", free.head(0).astype(object))
    assert "One seed (0)" in one.alt and len(one.axes) == 1 and "penalty" not in one.alt


def test_a_diverged_run_is_drawn_and_named():
    frame = history()
    frame.loc[(frame["norm"] == "batch") & (frame["epoch"] > 3), "val_loss"] = np.nan
    figure = plot_validation_loss(frame, "MNIST")
    render(figure, "png", 72)
    told = "L1 + BatchNorm nan nats"
    assert len(lines(figure, "mean")) == 3 and "to nan nats" in figure.alt and told in texts(figure)
    render(plot_validation_loss(frame.assign(val_loss=np.inf), "MNIST"), "svg")


def test_a_network_that_only_guesses_is_told():
    learns = [2.3 - 0.02 * update for update in range(100)]
    figure = plot_dying({"none": [math.log(10)] * 100, "batch": learns}, "MNIST")
    assert figure.alt.startswith("With no norm the network stays at guessing for")
    assert "no norm: 2.30 nats in the end. BatchNorm: 0.51 nats in the end." in figure.alt
    (line,) = lines(figure, "batch")
    np.testing.assert_allclose(line.get_xydata(), np.column_stack([range(1, 101), learns]))
    learning = plot_dying({"none": learns, "batch": learns}, "MNIST")
    assert learning.alt.startswith("With no norm the network ends at 0.51 nats")
