"""Every figure: same numbers, same bytes; all text inside and large enough; alt text; files and display."""

import io
import itertools
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from plot_examples import NORMS, examples, history, texts

from helpers.config import ALL_NORMS
from helpers.plots.curves import plot_validation_loss
from helpers.plots.style import INK, LOOKS, MUTED, blank, limits, render, save_figure, show_figure, spread, stretch


@pytest.fixture(scope="module")
def all_figures():
    return examples()


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
        assert len(figure.alt) > 60 and figure.alt.endswith(".") and "\n" not in figure.alt and ".." not in figure.alt


def test_svg_is_real_text_with_an_escaped_name_and_nothing_foreign():
    evil = '<script>alert("1")</script> & $x_1$'
    svg = render(plot_validation_loss(history(), evil), "svg").decode()
    root = ET.fromstring(svg)
    assert root.get("role") == "img" and evil in root.get("aria-label")
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert f"Validation loss on {evil}" in words and "epoch" in words  # text, not outlines; $ is no formula
    assert "<script" not in svg and "http" not in svg.replace("http://www.w3.org/", "")
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert ids and all(f"#{name}" in svg for name in ids) and len(ids) == len(set(ids))


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


def test_png_is_opaque_white(all_figures):
    picture = imread(io.BytesIO(render(all_figures["overlap"], "png", 50)))
    assert (picture[..., 3] == 1).all() and (picture[0, 0, :3] == 1).all()


def test_variants_differ_in_colour_marker_and_line():
    used = list(LOOKS.values())
    assert list(LOOKS) == list(ALL_NORMS)[:len(LOOKS)] and set(NORMS) <= set(LOOKS)
    for field in range(3):
        assert len({look[field] for look in used}) == len(used)
    for one, other in itertools.combinations(used[:3], 2):
        assert np.linalg.norm(np.subtract(to_rgb(one.colour), to_rgb(other.colour))) > 0.25
    assert all(contrast(look.colour) >= 3 for look in used)  # WCAG: graphics
    assert contrast(INK) >= 7 and contrast(MUTED) >= 4.5  # text


def contrast(colour):
    """WCAG 2.2's contrast ratio against white."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 1.05 / (float(np.dot(linear, [0.2126, 0.7152, 0.0722])) + 0.05)


@pytest.mark.parametrize(("heights", "gap", "expected"), [
    ([0.9, 0.1, 0.5], 0.1, [0.9, 0.1, 0.5]),  # room enough: nothing moves
    ([0.5, 0.5, 0.9], 0.2, [0.4, 0.6, 0.9]),  # the others stay
    ([1.0, 1.0, 0.98], 0.1, [0.9, 1.0, 0.8]),  # pushed back from the edge
])
def test_spread(heights, gap, expected):
    np.testing.assert_allclose(spread(np.array(heights), gap), expected)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_half_the_error_is_the_same_distance_on_a_stretched_axis(axis):
    ax = blank(3).add_axes((0, 0, 1, 1))
    low, high = limits(np.array([90.0, 99.9]))
    stretch(ax, low, high, axis)
    points = ax.transData.transform([(value, value) for value in (92, 96, 98, 99)])[:, "xy".index(axis)]
    np.testing.assert_allclose(np.diff(points), np.diff(points)[0], rtol=1e-3)
    assert low < 90 and 99.9 < high <= 100 and getattr(ax, f"get_{axis}lim")() == (low, high)
    stretch(ax, 99.2, 99.7, axis)  # a narrow axis has ticks too
    inside = [tick for tick in getattr(ax, f"get_{axis}ticks")() if 99.2 <= tick <= 99.7]
    assert len(inside) >= 4 and getattr(ax, f"get_{axis}lim")() == (99.2, 99.7)
