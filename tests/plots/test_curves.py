"""Learning curves are the data; their ends stand in labels, which never overlap, and in the alt text."""

import itertools

import numpy as np
import pytest
from plot_examples import HISTORICAL, NORMS, history, lines, texts

from helpers.config import VARIANTS
from helpers.plots.curves import plot_beside_historical, plot_validation_accuracy, plot_validation_loss
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
    assert len(lines(figure, "seed")) == (0 if len(seeds) == 1 else len(norms) * len(seeds))
    assert ("mean of 2 seeds" in figure.alt) == (len(seeds) == 2)


@pytest.mark.parametrize(("plot", "axis", "note", "ends"), [
    (plot_validation_loss, "validation loss (nats)", "Logarithmic axis", "0.0170 nats, 0.0171 nats, 0.0172 nats"),
    (plot_validation_accuracy, "validation accuracy (%)", "Axis starts at 99.1 %; cut off below: 12 of 60 points",
     "99.50 %, 99.49 %, 99.48 %")])
def test_the_axis_and_the_ends_stand_in_the_figure_and_its_alt_text(plot, axis, note, ends):
    figure = plot(history(), "MNIST")
    labels = [f"{VARIANTS[norm].short} {end}" for norm, end in zip(NORMS, ends.split(", "), strict=True)]
    assert texts(figure, "end-label") == labels and axis in texts(figure) and note in " ".join(texts(figure))
    assert all(words in figure.alt for words in [*labels, note])
    ax = figure.axes[0]
    assert ax.get_yscale() == "log" or (ax.get_ylim()[0] == 99.1 and texts(figure, "cut") == ["//"])


@CURVES
@pytest.mark.parametrize("spoilt", [0, 1, 2])
def test_labels_never_overlap_and_leaders_start_at_the_ends(plot, column, spoilt):
    frame = history()
    frame.loc[frame["norm"].isin(NORMS[:spoilt]), column] = 0.4 if column == "val_loss" else 64.7
    figure = plot(frame, "MNIST", HISTORICAL)
    render(figure, "png", 72)
    boxes = [text.get_window_extent() for text in figure.findobj(lambda found: found.get_gid() == "end-label")]
    assert len(boxes) == 3 and not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    ax = figure.axes[0]
    leaders = [line for line in ax.lines if line.get_transform() == ax.transAxes]
    for mean, leader in zip(lines(figure, "mean"), leaders, strict=True):
        end = ax.transData.transform(mean.get_xydata()[-1])[1]  # on the axis, however bad it is
        assert ax.transAxes.transform(leader.get_xydata()[0])[1] == pytest.approx(end, abs=0.5)


def test_historical_values_are_marked_and_written():
    figure = plot_validation_accuracy(history(), "MNIST", HISTORICAL)
    marks = lines(figure, "historical")
    assert {mark.get_marker(): mark.get_xydata()[0].tolist() for mark in marks} == {
        "o": [20, 99.37], "s": [20, 99.40], "^": [18, 97.46]}  # each at its own epoch
    assert {mark.get_markerfacecolor() for mark in marks} == {"white"}  # another run
    first, _, off_the_axis = texts(figure, "end-label")
    assert first == "LayerNorm 99.50 %,\n1 historical seed (open) 99.37 %" and "97.46 %" in off_the_axis
    assert all(label.replace("\n", " ") in figure.alt for label in (first, off_the_axis))
    for rows, count in ((HISTORICAL, 1), (HISTORICAL[HISTORICAL["norm"] == "layer"], 0)):
        group = plot_validation_accuracy(history(["group"]), "MNIST", rows)
        assert len(lines(group, "historical")) == group.alt.count("historical") == count


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
        assert len(lines(ax, "seed")) == 2 and len(lines(ax, "without")) == (norm == "batch")
    mean = ours[(ours.norm == "batch") & (ours.epoch == 18)].val_accuracy.mean()
    numbers = f"epoch 18: here {mean:.2f} %, historical 97.46 %, no penalty (dotted) 99.25 %"
    assert numbers in figure.alt and numbers in " ".join(texts(figure)).replace("\n", " ")
    one = plot_beside_historical(history(["group"], epochs=1), old, "MNIST", free.head(0).astype(object))
    assert "One seed (0)" in one.alt and len(one.axes) == 1 and "penalty" not in one.alt


def test_a_diverged_run_is_drawn_and_named():
    frame = history()
    frame.loc[(frame["norm"] == "batch") & (frame["epoch"] > 3), "val_loss"] = np.nan
    figure = plot_validation_loss(frame, "MNIST")
    render(figure, "png", 72)
    told = "L1 + BatchNorm nan nats"
    assert len(lines(figure, "mean")) == 3 and told in figure.alt and told in texts(figure)
    render(plot_validation_loss(frame.assign(val_loss=np.inf), "MNIST"), "svg")
