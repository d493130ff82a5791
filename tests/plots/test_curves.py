"""Learning curves are the data; their ends stand in labels, which never overlap, and in the alt text."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest
from plot_examples import HISTORICAL, NORMS, history, marked, texts

from helpers.config import VARIANTS
from helpers.plots.curves import plot_beside_historical, plot_validation_accuracy, plot_validation_loss
from helpers.plots.style import LOOKS, render
from helpers.results.frames import historical_frame

CURVES = [(plot_validation_loss, "val_loss"), (plot_validation_accuracy, "val_accuracy")]


@pytest.mark.parametrize(("plot", "column"), CURVES)
@pytest.mark.parametrize("seeds", [(0,), (3, 5)])
def test_curves_are_the_data(plot, column, seeds):
    frame = history(seeds=seeds).sample(frac=1, random_state=0)  # the order of the rows must not matter
    figure = plot(frame, "MNIST")
    lines = {line.get_label(): line for line in marked(figure, "mean")}
    assert list(lines) == NORMS
    for norm, line in lines.items():
        expected = frame[frame["norm"] == norm].groupby("epoch")[column].mean()
        np.testing.assert_array_equal(line.get_xdata(), expected.index)
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-12)
        assert (line.get_color(), line.get_marker()) == LOOKS[norm][:2]
    assert len({line.get_linestyle() for line in lines.values()}) == len(NORMS)
    assert len(marked(figure, "seed")) == (0 if len(seeds) == 1 else len(NORMS) * len(seeds))
    assert ("mean of 2 seeds" in figure.alt) == (len(seeds) == 2)


@pytest.mark.parametrize(("plot", "axis", "note", "ends"), [
    (plot_validation_loss, "validation loss (nats)", "Logarithmic axis", ("0.0170 nats", "0.0171 nats", "0.0172 nats")),
    (plot_validation_accuracy, "validation accuracy (%)", "Axis starts at", ("99.50 %", "99.49 %", "99.48 %")),
])
def test_end_values_stand_in_labels_and_alt_text(plot, axis, note, ends):
    figure = plot(history(), "MNIST")
    expected = {f"{VARIANTS[norm].short} {end}" for norm, end in zip(NORMS, ends, strict=True)}
    assert {text.get_text() for text in marked(figure, "end-label", mpl.text.Text)} == expected
    assert all(text in figure.alt for text in expected)
    assert axis in texts(figure) and note in texts(figure) and note in figure.alt
    assert figure.axes[0].get_yscale() == ("log" if plot is plot_validation_loss else "linear")


def test_the_accuracy_axis_says_where_it_is_cut():
    frame = history()
    figure = plot_validation_accuracy(frame, "MNIST")
    low, high = figure.axes[0].get_ylim()
    cut = int((frame["val_accuracy"] < low).sum())
    assert 0 < cut < 20 and 98 < low < 99.4 and high > 99.5
    assert f"Axis starts at {low:g} %; cut off below: {cut} of 60 points" in texts(figure)
    assert marked(figure, "cut", mpl.text.Text)
    # the end of a variant that does badly stays on the axis
    frame.loc[frame["norm"] == "batch", "val_accuracy"] = 64.7
    assert plot_validation_accuracy(frame, "MNIST").axes[0].get_ylim()[0] < 64.7


@pytest.mark.parametrize(("plot", "column"), CURVES)
def test_labels_never_overlap_and_leaders_start_at_the_ends(plot, column):
    frame = history()
    for spoil in (0, 1, 2):
        if spoil:
            frame.loc[frame["norm"].isin(NORMS[:spoil]), column] = 0.4 if column == "val_loss" else 97.5
        figure = plot(frame, "MNIST", HISTORICAL)
        render(figure, "png", 72)
        boxes = [text.get_window_extent() for text in marked(figure, "end-label", mpl.text.Text)]
        assert len(boxes) == 3 and not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        ax = figure.axes[0]
        leaders = [line for line in ax.lines if line.get_transform() == ax.transAxes]
        for mean, leader in zip(marked(figure, "mean"), leaders, strict=True):
            end = ax.transData.transform(mean.get_xydata()[-1])
            assert ax.transAxes.transform(leader.get_xydata()[0])[1] == pytest.approx(end[1], abs=0.5)


def test_historical_values_are_marked_and_written():
    figure = plot_validation_accuracy(history(), "MNIST", HISTORICAL)
    marks = {mark.get_marker(): mark for mark in marked(figure, "historical")}
    assert {marker: mark.get_xydata().tolist() for marker, mark in marks.items()} == {
        "o": [[20, 99.37]], "s": [[20, 99.40]], "^": [[18, 97.46]]}
    assert all(mark.get_markerfacecolor() == "white" for mark in marks.values())  # open: another run
    assert "LayerNorm 99.50 %,\n1 historical seed (open) 99.37 %" in texts(figure)
    assert "1 historical seed (open) 97.46 %" in texts(figure)  # off the axis: the number says where
    assert "LayerNorm 99.50 %, 1 historical seed (open) 99.37 %" in figure.alt
    one = plot_validation_accuracy(history(["group"]), "MNIST", HISTORICAL)
    assert len(marked(one, "historical")) == 1 and "BatchNorm" not in one.alt
    none = plot_validation_accuracy(history(["group"]), "MNIST", HISTORICAL[HISTORICAL["norm"] == "layer"])
    assert not marked(none, "historical") and "istorical" not in none.alt  # nothing to compare with


def test_historical_curves_stand_beside_ours_epoch_by_epoch():
    old = historical_frame()
    ours = history(seeds=(0, 1))
    figure = plot_beside_historical(ours, old, "MNIST")
    for norm, ax in zip(NORMS, figure.axes, strict=True):
        lines = {line.get_gid(): line for line in ax.lines}
        np.testing.assert_array_equal(lines["historical"].get_xydata(), old[old.variant == norm][["epoch", "val_accuracy"]])
        expected = ours[ours.norm == norm].groupby("epoch").val_accuracy.mean()
        np.testing.assert_allclose(lines["mean"].get_ydata(), expected)
        assert len([line for line in ax.lines if line.get_gid() == "seed"]) == 2
    mean = ours[(ours.norm == "batch") & (ours.epoch == 18)].val_accuracy.mean()
    assert f"BatchNorm, epoch 18: here {mean:.2f} %, historical 97.46 %" in figure.alt
    free = ours[ours.norm == "batch"].assign(val_accuracy=lambda frame: np.where(frame.epoch == 18, 99.25, 99.0))
    beside = plot_beside_historical(ours, old, "MNIST", free)
    assert [len([line for line in ax.lines if line.get_gid() == "without"]) for ax in beside.axes] == [0, 0, 1]
    assert "no penalty (dotted) 99.25 %" in texts(beside) and "no penalty (dotted) 99.25 %" in beside.alt
    one = plot_beside_historical(history(["group"], epochs=1), old, "MNIST", free.head(0).astype(object))
    assert "One seed (0)" in one.alt and len(one.axes) == 1


@pytest.mark.parametrize(("plot", "column"), CURVES)
def test_one_epoch_one_variant(plot, column):
    figure = plot(history(["group"], epochs=1), "MNIST")
    (line,) = marked(figure, "mean")
    assert len(line.get_xdata()) == 1 and line.get_marker() == "s"
    low, high = figure.axes[0].get_ylim()
    assert low < line.get_ydata()[0] < high


def test_a_diverged_run_is_drawn_and_named():
    frame = history()
    frame.loc[(frame["norm"] == "batch") & (frame["epoch"] > 3), "val_loss"] = np.nan
    figure = plot_validation_loss(frame, "MNIST")
    render(figure, "png", 72)
    assert "L1 + BatchNorm nan nats" in figure.alt and "L1 + BatchNorm nan nats" in texts(figure)
    assert len(marked(figure, "mean")) == 3
    frame["val_loss"] = np.inf
    render(plot_validation_loss(frame, "MNIST"), "svg")
