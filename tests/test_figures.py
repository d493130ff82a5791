"""Figures show the numbers they were given, say them in their alt text, and are the same bytes every time."""

import io
import itertools
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from helpers import drawing, figures
from helpers.config import RECIPES, VARIANTS, ParameterError
from helpers.data import Dataset
from helpers.drawing import LOOKS, render, save_figure, show_figure, spread
from helpers.figures import (
    plot_augmentation,
    plot_beside_historical,
    plot_confusion,
    plot_misclassified,
    plot_normalization_axes,
    plot_overlap,
    plot_samples,
    plot_validation_accuracy,
    plot_validation_loss,
)
from helpers.results import historical_table

NORMS = tuple(VARIANTS)
CURVES = [(plot_validation_loss, "val_loss"), (plot_validation_accuracy, "val_accuracy")]
HISTORICAL = pd.DataFrame({"norm": ["batch", "group", "layer"], "val_loss": [0.0996, 0.0205, 0.0214],
                           "val_accuracy": [97.46, 99.40, 99.37]})


def history(norms=NORMS, seeds=(0,), epochs=20):
    """Curves that end at nearly the same place, so that their labels have to make way."""
    rows = [{"norm": norm, "seed": seed, "epoch": epoch,
             "val_loss": 0.017 + 0.0001 * place + 0.001 * seed + 0.2 * np.exp(-epoch),
             "val_accuracy": 99.5 - 0.01 * place - 0.1 * seed - 4 * np.exp(-epoch / 2)}
            for place, norm in enumerate(norms) for seed in seeds for epoch in range(1, epochs + 1)]
    return pd.DataFrame(rows)


def dataset(title="MNIST", num_images=40):
    images = torch.randint(0, 256, (num_images, 28, 28), dtype=torch.uint8, generator=torch.manual_seed(0))
    labels = torch.arange(num_images) % 10
    return Dataset("mnist", title, "", images, labels, images, labels)


def wrong(count):
    return pd.DataFrame({"norm": "layer", "seed": 7, "index": range(3, 3 + count), "label": 4, "prediction": 9,
                         "confidence": np.linspace(0.5, 0.75, count), "true_confidence": 0.2})


def matrix(errors):
    """(true, predicted) -> count, on a diagonal of 90."""
    result = np.diag([90] * 10)
    for place, count in errors.items():
        result[place] = count
    return result


def texts(figure):
    return " | ".join(text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text())


def marked(figure, gid, kind):
    return [artist for artist in figure.findobj(kind) if artist.get_gid() == gid]


def examples():
    data = dataset()
    counts = pd.Series({("layer",): 4, ("layer", "group"): 3, ("layer", "group", "batch"): 20})
    return {
        "axes": plot_normalization_axes(), "samples": plot_samples(data),
        "augmentation": plot_augmentation(data, RECIPES["tuned"]),
        "loss": plot_validation_loss(history(seeds=(0, 1)), "MNIST", HISTORICAL),
        "accuracy": plot_validation_accuracy(history(), "MNIST", HISTORICAL),
        "beside": plot_beside_historical(history(seeds=(0, 1)), historical_table(), "MNIST"),
        "misclassified": plot_misclassified(wrong(12), data.val_images, "layer", "MNIST"),
        "confusion": plot_confusion({norm: matrix({(4, 9): 6}) for norm in NORMS}, "MNIST"),
        "overlap": plot_overlap(counts, "MNIST"),
    }


@pytest.fixture(scope="module")
def all_figures():
    return examples()


# --- every figure --------------------------------------------------------------------------------------------------


def test_same_numbers_same_bytes_whatever_the_notebook_has_set(all_figures):
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": None, "axes.facecolor": "black", "savefig.bbox": "tight"}):
        again = examples()
        for name, figure in all_figures.items():
            assert render(figure, figure.file_format) == render(again[name], figure.file_format), name
        assert mpl.rcParams["font.size"] == 30  # and the notebook's own setting is left alone


def test_nothing_leaves_the_canvas_or_is_too_small(all_figures):
    for name, figure in all_figures.items():
        render(figure, "png", 72)
        drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()  # inches
        beyond = (-drawn.x0, -drawn.y0, drawn.x1 - width, drawn.y1 - height)
        assert max(beyond) < 1e-6, name
        assert min(text.get_size() for text in figure.findobj(mpl.text.Text) if text.get_text()) >= 9, name


def test_the_title_names_the_data_set_and_alt_texts_are_sentences(all_figures):
    for name, figure in all_figures.items():
        assert name == "axes" or ("MNIST" in texts(figure) and "MNIST" in figure.alt)
        assert len(figure.alt) > 60 and figure.alt.endswith(".") and "\n" not in figure.alt


def test_svg_is_real_text_with_an_escaped_name_and_nothing_foreign():
    evil = '<script>alert("1")</script> & $x_1$'
    svg = render(plot_validation_loss(history(), evil), "svg").decode()
    root = ET.fromstring(svg)
    assert root.get("role") == "img" and evil in root.get("aria-label")
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert f"Validation loss on {evil}" in words and "epoch" in words  # text, not outlines; $ is no formula
    assert "<script" not in svg and "http" not in svg.replace("http://www.w3.org/", "")
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert all(f"#{name}" in svg for name in ids) and len(ids) == len(set(ids))


def test_save_figure_chooses_the_format_and_leaves_nothing_else(all_figures, tmp_path):
    assert save_figure(all_figures["loss"], tmp_path / "new", "validation_loss").name == "validation_loss.svg"
    path = save_figure(all_figures["samples"], tmp_path / "new", "samples")
    assert path.name == "samples.png" and imread(path).shape[1] >= 8 * 200  # sharp
    assert sorted(p.name for p in path.parent.iterdir()) == ["samples.png", "validation_loss.svg"]


def test_show_figure_sends_a_bundle_with_alt_text(all_figures, monkeypatch):
    import IPython.display

    sent = []
    monkeypatch.setattr(IPython.display, "display", lambda *args, **kwargs: sent.append((args[0], kwargs)))
    for name, mimes in (("loss", {"image/png", "image/svg+xml"}), ("samples", {"image/png"})):
        show_figure(all_figures[name])
        bundle, options = sent.pop()
        assert set(bundle) == mimes and options["raw"]
        assert {mime: {"alt": all_figures[name].alt} for mime in mimes} == options["metadata"]


def test_no_figure_enters_pyplot(all_figures):
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_variants_differ_in_colour_marker_and_line():
    used = [LOOKS[norm] for norm in NORMS]
    for field in range(3):
        assert len({look[field] for look in used}) == len(NORMS)
    for one, other in itertools.combinations(used, 2):
        assert np.linalg.norm(np.subtract(to_rgb(one.colour), to_rgb(other.colour))) > 0.25
    assert all(contrast(look.colour) >= 3 for look in used)  # WCAG: graphics
    assert contrast(drawing.INK) >= 7 and contrast(drawing.MUTED) >= 4.5  # text


def contrast(colour):
    """WCAG 2.2's contrast ratio against white."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 1.05 / (float(np.dot(linear, [0.2126, 0.7152, 0.0722])) + 0.05)


# --- learning curves -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("plot", "column"), CURVES)
@pytest.mark.parametrize("seeds", [(0,), (3, 5)])
def test_curves_are_the_data(plot, column, seeds):
    frame = history(seeds=seeds).sample(frac=1, random_state=0)  # the order of the rows must not matter
    figure = plot(frame, "MNIST")
    lines = {line.get_label(): line for line in marked(figure, "mean", mpl.lines.Line2D)}
    assert list(lines) == list(NORMS)
    for norm, line in lines.items():
        expected = frame[frame["norm"] == norm].groupby("epoch")[column].mean()
        np.testing.assert_array_equal(line.get_xdata(), expected.index)
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-12)
        assert (line.get_color(), line.get_marker()) == LOOKS[norm][:2]
    thin = marked(figure, "seed", mpl.lines.Line2D)
    assert len(thin) == (0 if len(seeds) == 1 else len(NORMS) * len(seeds))
    assert ("mean of 2 seeds" in figure.alt) == (len(seeds) == 2)


def test_end_values_stand_in_labels_and_alt_text():
    loss, accuracy = plot_validation_loss(history(), "MNIST"), plot_validation_accuracy(history(), "MNIST")
    for figure, ends in ((loss, ("0.0170 nats", "0.0171 nats", "0.0172 nats")),
                         (accuracy, ("99.50 %", "99.49 %", "99.48 %"))):
        labels = {text.get_text() for text in marked(figure, "end-label", mpl.text.Text)}
        assert labels == {f"{VARIANTS[norm].short}\n{end}" for norm, end in zip(NORMS, ends, strict=True)}
        assert all(f"{VARIANTS[norm].short} ends at {end}" in figure.alt for norm, end in zip(NORMS, ends, strict=True))
    assert "validation loss (nats)" in texts(loss) and "Logarithmic axis" in texts(loss)
    assert "validation accuracy (%)" in texts(accuracy) and loss.axes[0].get_yscale() == "log"


def test_the_accuracy_axis_says_where_it_is_cut():
    frame = history()
    figure = plot_validation_accuracy(frame, "MNIST")
    low, high = figure.axes[0].get_ylim()
    cut = int((frame["val_accuracy"] < low).sum())
    assert 0 < cut < 20 and 98 < low < 99.4 and high > 99.5
    assert f"Axis starts at {low:g} %; cut off below: {cut} of 60 points" in texts(figure)
    assert marked(figure, "cut", mpl.lines.Line2D)
    # the end of a variant that does badly stays on the axis
    frame.loc[frame["norm"] == "batch", "val_accuracy"] = 64.7
    assert plot_validation_accuracy(frame, "MNIST").axes[0].get_ylim()[0] < 64.7


@pytest.mark.parametrize(("plot", "column"), CURVES)
def test_labels_never_overlap(plot, column):
    frame = history()
    for spoil in (0, 1, 2):
        if spoil:
            frame.loc[frame["norm"].isin(NORMS[:spoil]), column] = 0.4 if column == "val_loss" else 97.5
        figure = plot(frame, "MNIST", HISTORICAL)
        render(figure, "png", 72)
        for gid in ("end-label", "historical-label"):
            boxes = [text.get_window_extent() for text in marked(figure, gid, mpl.text.Text)]
            assert len(boxes) == 3
            assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        strip = figure.axes[1].bbox
        assert all(text.get_window_extent().x1 < strip.x0 for text in marked(figure, "end-label", mpl.text.Text))


def test_historical_values_are_marked_and_point_off_the_axis():
    figure = plot_validation_accuracy(history(), "MNIST", HISTORICAL)
    assert {text.get_text() for text in marked(figure, "historical-label", mpl.text.Text)} == {
        "99.37", "99.40", "↓97.46"}
    main = figure.axes[0]
    heights = {}
    for mark in marked(figure, "historical", mpl.lines.Line2D):
        assert mark.get_markerfacecolor() == "white"  # open: another run
        place = mark.get_transform().transform(mark.get_xydata())[0]
        heights[mark.get_marker()] = main.transData.inverted().transform(place)[1]
    assert heights["o"] == pytest.approx(99.37, abs=0.001) and heights["s"] == pytest.approx(99.40, abs=0.001)
    assert "historical run,\n1 seed" in texts(figure) and "Historical run, one seed: LayerNorm 99.37 %" in figure.alt
    one = plot_validation_accuracy(history(["group"]), "MNIST", HISTORICAL)
    assert len(marked(one, "historical", mpl.lines.Line2D)) == 1 and "BatchNorm" not in one.alt
    none = plot_validation_accuracy(history(["group"]), "MNIST", HISTORICAL[HISTORICAL["norm"] == "layer"])
    assert len(none.axes) == 1 and "istorical" not in none.alt  # nothing to compare with


def test_historical_curves_stand_beside_ours_epoch_by_epoch(all_figures):
    old, ours, figure = historical_table(), history(seeds=(0, 1)), all_figures["beside"]
    for norm, ax in zip(NORMS, figure.axes, strict=True):
        (there,) = [line for line in ax.lines if line.get_gid() == "historical"]
        np.testing.assert_array_equal(there.get_xydata(), old[old.variant == norm][["epoch", "val_accuracy"]])
        (here,) = [line for line in ax.lines if line.get_gid() == "mean"]
        np.testing.assert_allclose(here.get_ydata(), ours[ours.norm == norm].groupby("epoch").val_accuracy.mean())
        assert len([line for line in ax.lines if line.get_gid() == "seed"]) == 2
    mean = ours[(ours.norm == "batch") & (ours.epoch == 18)].val_accuracy.mean()
    assert f"BatchNorm is at {mean:.2f} % here and at 97.46 % in the historical run (epoch 18)" in figure.alt
    free = ours[ours.norm == "batch"].assign(val_accuracy=lambda table: np.where(table.epoch == 18, 99.25, 99.0))
    beside = plot_beside_historical(ours, old, "MNIST", free)
    assert [len([line for line in ax.lines if line.get_gid() == "without"]) for ax in beside.axes] == [0, 0, 1]
    assert "dotted: no penalty, 99.25 %" in texts(beside) and "and without its penalty at 99.25 %" in beside.alt
    assert "one seed" in plot_beside_historical(history(["group"], epochs=1), old, "MNIST").alt


@pytest.mark.parametrize(("plot", "column"), CURVES)
def test_one_epoch_one_variant(plot, column):
    figure = plot(history(["group"], epochs=1), "MNIST")
    (line,) = marked(figure, "mean", mpl.lines.Line2D)
    assert len(line.get_xdata()) == 1 and line.get_marker() == "s" and line.get_markevery() == [0]
    low, high = figure.axes[0].get_ylim()
    assert low < line.get_ydata()[0] < high
    assert "over 1 epoch," in figure.alt


def test_a_diverged_run_is_drawn_and_named():
    frame = history()
    frame.loc[(frame["norm"] == "batch") & (frame["epoch"] > 3), "val_loss"] = np.nan
    figure = plot_validation_loss(frame, "MNIST")
    render(figure, "png", 72)
    assert "L1 + BatchNorm ends at nan nats" in figure.alt
    frame["val_loss"] = np.inf
    render(plot_validation_loss(frame, "MNIST"), "svg")


def test_spread():
    assert len(spread([], 0.1)) == 0
    np.testing.assert_allclose(spread([0.9, 0.1, 0.5], 0.1), [0.9, 0.1, 0.5])  # room enough: nothing moves
    np.testing.assert_allclose(spread([0.5, 0.5, 0.9], 0.2), [0.4, 0.6, 0.9])  # the others stay
    np.testing.assert_allclose(spread([1.0, 1.0, 0.98], 0.1), [0.9, 1.0, 0.8])  # pushed back from the edge


# --- images, errors, diagram ---------------------------------------------------------------------------------------


def test_samples_are_the_first_of_each_digit_in_file_order():
    data = dataset(num_images=25)
    images = plot_samples(data, num_samples=3).axes[0].images
    assert len(images) == 25  # two or three of each, blank where there are fewer
    shown = [image.get_array() for image in images[:3]]
    for got, index in zip(shown, (0, 10, 20), strict=True):
        np.testing.assert_array_equal(got, data.train_images[index])
    assert not np.array_equal(shown[0], shown[1])


def test_augmentation_shows_the_original_then_the_recipes_versions():
    data, still = dataset(), RECIPES["original"]
    figure = plot_augmentation(data, still.__class__(rotation=0, shift=0, scale=0, shear=0))
    assert "Augmentation: none." in texts(figure)
    for image in figure.axes[0].images[:9]:  # nothing to do: nine times the same image
        np.testing.assert_allclose(image.get_array(), data.train_images[0], atol=0.05)
    turned = plot_augmentation(data, still)
    assert "rotation ±7°, uncovered corners filled with 100 % ink" in texts(turned)
    assert render(turned, "png", 50) != render(plot_augmentation(data, still, seed=1), "png", 50)


@pytest.mark.parametrize(("count", "title"), [
    (12, "Layer Normalization on MNIST: the first 10 of 12 misclassified images"),
    (3, "Layer Normalization on MNIST: all 3 misclassified images"),
    (1, "Layer Normalization on MNIST: the only misclassified image"),
    (0, "Layer Normalization on MNIST: no misclassified image"),
])
def test_misclassified(count, title):
    data = dataset()
    figure = plot_misclassified(wrong(count), data.val_images, "layer", "MNIST")
    shown = min(count, 10)
    assert title in texts(figure) and len(figure.axes[0].images) == shown
    assert texts(figure).count("4 → 9") == shown
    assert ("Seed 7" in figure.alt) == (count > 0)
    for place, image in enumerate(figure.axes[0].images):
        np.testing.assert_array_equal(image.get_array(), data.val_images[3 + place])
        assert f"index {3 + place}: true 4, predicted 9 with" in figure.alt
    if count == 12:
        widths = [bar.get_width() for bar in figure.axes[0].patches if bar.get_linewidth() == 1.2]
        np.testing.assert_allclose(widths[::2], wrong(12)["confidence"][:10])
        np.testing.assert_allclose(widths[1::2], 0.2)
    if count == 0:
        assert "Every one of the 40 images is classified correctly." in texts(figure)


def test_percent_never_rounds_to_certainty():
    assert [figures._percent(p) for p in (0, 0.0004, 0.5, 0.994, 0.9991, 1)] == [
        "0 %", "< 1 %", "50 %", "99 %", "> 99 %", "100 %"]


def test_confusion_shows_errors_only_true_digits_in_rows():
    figure = plot_confusion({"group": matrix({(4, 9): 6, (7, 2): 3})}, "MNIST")
    (ax,) = figure.axes
    cells = {(round(text.get_position()[1] - 0.5), round(text.get_position()[0] - 0.5)): text.get_text()
             for text in ax.texts}
    assert cells == {(4, 9): "6", (7, 2): "3"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted digit", "true digit")
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # 0 above, as in every table
    assert "GroupNorm: 9 of 909 wrong, most often 4 taken for 9 (6 times)" in figure.alt
    perfect = plot_confusion({"group": matrix({})}, "MNIST")
    assert "GroupNorm: 0 of 900 wrong." in perfect.alt and not perfect.axes[0].texts
    three = plot_confusion({norm: matrix({(1, 7): 1 + 20 * place}) for place, norm in enumerate(NORMS)}, "MNIST")
    assert len({ax.collections[0].get_clim() for ax in three.axes}) == 1  # one scale for all


def test_overlap_bars_are_proportional_and_numbered():
    counts = pd.Series({("batch",): 5, ("layer", "batch"): 10, ("layer", "group", "batch"): 20})
    figure = plot_overlap(counts, "MNIST")
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(np.array(widths) / widths[0], [1, 0.5, 0.25])  # all together first
    assert "LayerNorm and GroupNorm and L1 + BatchNorm: 20; LayerNorm and L1 + BatchNorm only: 10; " in figure.alt
    assert "No image is misclassified." in texts(plot_overlap(pd.Series(dtype=int), "MNIST"))
    assert "GroupNorm: 3." in plot_overlap(pd.Series({("group",): 3}), "MNIST").alt


@pytest.mark.parametrize(("num_groups", "group"), [(1, "111122223333"), (2, "112233445566"),
                                                   (4, "123456789101112")])
def test_normalization_axes_numbers_what_shares_a_mean(num_groups, group):
    figure = plot_normalization_axes(num_groups)
    for norm, expected in (("layer", "111122223333"), ("group", group), ("batch", "123412341234")):
        assert "".join(text.get_text() for text in marked(figure, norm, mpl.text.Text)) == expected
    words = texts(figure)
    assert "N = 3 means" in words and f"= {3 * num_groups} means" in words and "C = 4 means" in words
    assert "2·C·H·W = 72 parameters" in words and words.count("2·C = 8 parameters") == 2


def test_normalization_axes_refuses_other_groups():
    with pytest.raises(ParameterError, match="num_groups"):
        plot_normalization_axes(3)


def test_png_is_opaque_white():
    picture = imread(io.BytesIO(render(plot_overlap(pd.Series({("group",): 3}), "MNIST"), "png", 50)))
    assert (picture[..., 3] == 1).all() and (picture[0, 0, :3] == 1).all()
