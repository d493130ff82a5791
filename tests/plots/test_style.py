"""Every figure: same numbers, same bytes; whole, large and described; files, display, looks, axes."""

import io
import itertools
import xml.etree.ElementTree as ET

import IPython.display
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from plot_examples import NORMS, examples, history, texts

from helpers.config import ALL_NORMS
from helpers.plots import style
from helpers.plots.comparisons import plot_answer
from helpers.plots.style import LOOKS, render


@pytest.fixture(scope="module")
def all_figures():
    return examples()


def test_same_numbers_same_bytes_whatever_the_notebook_has_set(all_figures):
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": None, "axes.facecolor": "black", "savefig.bbox": "tight"}):
        for name, again in examples().items():
            before = render(all_figures[name], again.file_format, 50)
            assert render(again, again.file_format, 50) == before, name
        assert mpl.rcParams["font.size"] == 30  # and the notebook's own setting is left alone
    assert plt.get_fignums() == []  # no figure enters pyplot


def test_every_figure_is_whole_readable_and_described(all_figures):
    for name, figure in all_figures.items():
        picture = imread(io.BytesIO(render(figure, "png", 72)))
        assert (picture[..., 3] == 1).all() and (picture[0, 0, :3] == 1).all(), name  # opaque white
        drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert max(-drawn.x0, -drawn.y0, drawn.x1 - width, drawn.y1 - height) < 1e-6, name
        assert min(text.get_size() for text in figure.findobj(mpl.text.Text) if text.get_text()) >= 11.5, name
        assert name == "axes" or ("MNIST" in " ".join(texts(figure)) and "MNIST" in figure.alt)
        assert len(figure.alt) > 60 and figure.alt.endswith(".") and "\n" not in figure.alt and ".." not in figure.alt


def test_svg_is_real_text_with_an_escaped_name_and_nothing_foreign():
    evil = '<script>alert("1")</script> & $x_1$'
    svg = render(plot_answer(history(), "MNIST", evil), "svg").decode()
    root = ET.fromstring(svg)
    assert root.get("role") == "img" and evil in root.get("aria-label")
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert evil in " ".join(words) and "validation accuracy (%)" in words  # no outlines; $ is no formula
    assert "<script" not in svg and "http" not in svg.replace("http://www.w3.org/", "")
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert ids and all(f"#{name}" in svg for name in ids) and len(ids) == len(set(ids))


def test_a_figure_is_saved_in_its_format_and_shown_with_its_alt_text(all_figures, monkeypatch, tmp_path):
    sent = []
    monkeypatch.setattr(IPython.display, "display", lambda *args, **kwargs: sent.append((args[0], kwargs)))
    for name, mimes in (("loss", {"image/png", "image/svg+xml"}), ("samples", {"image/png"})):
        style.show(all_figures[name], name, tmp_path)
        bundle, options = sent.pop()
        assert set(bundle) == mimes and options["raw"]
        assert options["metadata"] == {mime: {"alt": all_figures[name].alt, "width": 403} for mime in mimes}
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["loss.svg", "samples.png"]
    assert imread(tmp_path / "figures" / "samples.png").shape[1] >= 4 * 400  # sharp


def test_variants_differ_in_colour_marker_and_line():
    assert list(LOOKS) == list(ALL_NORMS)[:len(LOOKS)]
    for field in zip(*LOOKS.values(), strict=True):
        assert len(set(field)) == len(LOOKS) >= len(NORMS)
    colours = np.array([to_rgb(LOOKS[norm].colour) for norm in NORMS])
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)) > 0.25
    assert min(contrast(look.colour) for look in LOOKS.values()) >= 3  # WCAG: graphics
    assert contrast(style.INK) >= 7 and contrast(style.MUTED) >= 4.5  # text


def contrast(colour):
    """WCAG 2.2's contrast ratio against white."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 1.05 / (float(np.dot(linear, [0.2126, 0.7152, 0.0722])) + 0.05)


def test_stretch():
    ax = style.blank(3).add_axes((0, 0, 1, 1))
    style.stretch(ax, *style.limits(np.array([90.0, 99.9])))
    places = ax.transData.transform([(0, value) for value in (92, 96, 98, 99)])[:, 1]
    np.testing.assert_allclose(np.diff(places), places[1] - places[0], rtol=1e-3)  # half the error each
    style.stretch(ax, 99.2, 99.7)  # a narrow axis has ticks too
    assert sum(99.2 <= tick <= 99.7 for tick in ax.get_yticks()) >= 4 and ax.get_ylim() == (99.2, 99.7)
