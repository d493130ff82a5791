"""What all figures share: style, colours, canvas, labels at line ends, files and display.

A figure never enters pyplot's global list, so none leaks, and the same numbers give the same bytes. Line graphs and
diagrams become SVG with real text, image grids become PNG.
"""

import contextlib
import io
import re
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from sklearn.isotonic import isotonic_regression

from helpers.config import CONTROLS, VARIANTS
from helpers.files import FIGURE_MARK, write_atomically

INK, MUTED, PALE = "#1a1a1a", "#4d4d4d", "#e4e4e4"  # text, lesser text (8:1 on white), grid lines
WIDTH = 8.0  # inches
FILE_DPI, FALLBACK_DPI = 250, 150  # of a PNG file; of the PNG beside an SVG, for readers that show no SVG

STYLE = {
    # DejaVu Sans comes with matplotlib: the same text widths everywhere. The others stand in for it in an SVG.
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 10, "text.color": INK, "text.parse_math": False,  # a $ in a title is a $
    "axes.labelsize": 10.5, "axes.labelcolor": INK, "axes.edgecolor": "#808080", "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "xtick.color": INK, "ytick.color": INK,
    "axes.grid": True, "grid.color": PALE, "grid.linewidth": 0.8, "axes.unicode_minus": True,
    "svg.fonttype": "none", "svg.hashsalt": "helpers.figures",  # text stays text; ids do not change with every run
}


class Look(NamedTuple):
    """How a variant is drawn, in every figure: told apart by colour, marker and line."""

    colour: str
    marker: str
    line: str | tuple


# Colours of Okabe and Ito, which the colour-blind can tell apart; a new variant in config takes the next look.
LOOKS = dict(zip([*VARIANTS, *CONTROLS], [
    Look("#0072b2", "o", "-"), Look("#d55e00", "s", (0, (5, 1.5))), Look("#009e73", "^", (0, (5, 1.5, 1, 1.5))),
    Look("#000000", "D", (0, (2, 1))), Look("#a05080", "v", (0, (1, 1))), Look("#7a6a00", "P", (0, (4, 1, 1, 1, 1, 1))),
], strict=False))


@contextlib.contextmanager
def style():
    """matplotlib's defaults and STYLE, whatever a notebook has set; afterwards all is as it was."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def label_ends(ax: Axes, ends: dict[str, tuple[float, float, str]]) -> None:
    """A label for each line's end, right of the axes, with the line's marker and a leader to the end."""
    at = [fraction(ax, y) for _, y, _ in ends.values()]
    inch = ax.get_position().width * WIDTH
    for (norm, (x, y, text)), start, place in zip(ends.items(), at, spread(at, 0.135, 0.04, 0.96), strict=True):
        look = LOOKS[norm]
        x = ax.transAxes.inverted().transform(ax.transData.transform((x, y)))[0]
        ax.plot([x + 0.06 / inch, 1 + 0.2 / inch, 1 + 0.32 / inch], [start, place, place], transform=ax.transAxes,
                color=look.colour, linewidth=0.9, clip_on=False, gid="leader")
        ax.plot([1 + 0.32 / inch], [place], transform=ax.transAxes, color=look.colour, marker=look.marker, markersize=7,
                clip_on=False, gid="leader")
        ax.text(1 + 0.45 / inch, place, text, transform=ax.transAxes, va="center", linespacing=1.15, gid="end-label")


def fraction(ax: Axes, value: float) -> float:
    """Where `value` lies on the y axis: 0 at the bottom, 1 at the top; beyond them, and for NaN, the nearer end."""
    place = ax.transAxes.inverted().transform(ax.transData.transform((1, value)))[1]
    return float(np.clip(np.nan_to_num(place, nan=1.0), 0, 1))


def spread(places: list[float], gap: float, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """`places` moved as little as possible (least squares) to lie `gap` apart within [low, high], their order kept."""
    if not len(places):
        return np.empty(0)
    order = np.argsort(places, kind="stable")
    steps = gap * np.arange(len(places))
    moved = isotonic_regression(np.asarray(places, float)[order] - steps, y_min=low, y_max=high - steps[-1])
    result = np.empty(len(places))
    result[order] = moved + steps
    return result


TICKS = (10, 50, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9)  # percent, on the stretched axis


def limits(values: pd.Series) -> tuple[float, float]:
    """Where a stretched axis of these accuracies (percent) starts and ends."""
    error = 100 - values
    return max(0.0, 100 - error.max() * 1.3), 100 - error.min() / 1.3


def stretch(ax: Axes, low: float, high: float, axis: str = "y") -> None:
    """Makes an axis of accuracies on which half the error is always the same distance away."""
    set_scale, set_limits, set_ticks = (getattr(ax, f"set_{axis}{name}") for name in ("scale", "lim", "ticks"))
    set_scale("function", functions=(lambda a: -np.log10(np.maximum(100.001 - np.asarray(a, float), 1e-6)),
                                     lambda t: 100.001 - 10 ** -np.asarray(t, float)))
    set_limits(low, high)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    if len(ticks) < 4:
        ticks = [tick for tick in MaxNLocator(6, steps=[1, 2, 5]).tick_values(low, high) if low <= tick <= high]
    set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()


# --- canvas, files, display ----------------------------------------------------------------------------------------


def blank(height: float) -> Figure:
    """White and opaque, so that a dark page leaves it readable. Inches."""
    return Figure(figsize=(WIDTH, height), facecolor="white")


def canvas(height: float) -> tuple[Figure, Axes]:
    """A figure whose one axes is a sheet measured in inches from the upper left corner."""
    figure = blank(height)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set(xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
    return figure, ax


def headline(figure: Figure, title: str, subtitle: str) -> None:
    """Both from the left edge; a line that is too long for the figure is set in smaller letters."""
    height = figure.get_figheight()
    for text, top, size, look in ((title, 0.14, 13, {"weight": "bold"}), (subtitle, 0.42, 10, {"color": MUTED})):
        font = FontProperties(weight=look.get("weight"), size=size)
        width = max(TextPath((0, 0), line or "-", prop=font).get_extents().width / 72 for line in text.split("\n"))
        figure.text(0.1 / WIDTH, 1 - top / height, text, size=size * min(1.0, (WIDTH - 0.3) / width),
                    va="top", linespacing=1.3, **look)


def described(figure: Figure, file_format: str, alt: str) -> Figure:
    """Gives the figure its alt text (`figure.alt`) and the format of its file (`figure.file_format`)."""
    figure.alt, figure.file_format = alt, file_format
    return figure


@style()
def render(figure: Figure, file_format: str, dpi: float = FILE_DPI) -> bytes:
    """The figure as "svg" or "png": the same figure gives the same bytes, with the alt text inside an SVG."""
    buffer = io.BytesIO()
    if file_format == "png":
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": FIGURE_MARK})
        return buffer.getvalue()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg"):]  # no prolog: the same text stands in a file and inside HTML
    # ids that nothing refers to would only repeat from figure to figure on one page
    svg = re.sub(r'(<[^<>]*?) id="([^"]*)"', lambda tag: tag[0] if f"#{tag[2]}" in svg else tag[1], svg)
    own = f'<svg role="img" data-from="{FIGURE_MARK}" aria-label={quoteattr(figure.alt)}'
    return svg.replace("<svg", own, 1).encode()


def save_figure(figure: Figure, folder: str | Path, name: str) -> Path:
    """Writes `folder`/`name`.svg or .png, whole or not at all, and returns its path. Raises OSError."""
    path = Path(folder) / f"{name}.{figure.file_format}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, render(figure, figure.file_format))
    return path


def show(figure: Figure, name: str, folder: str | Path | None = None) -> None:
    """Displays the figure, and saves it as `folder`/figures/`name` when there is a folder for results."""
    show_figure(figure)
    if folder is not None:
        save_figure(figure, Path(folder) / "figures", name)


def show_figure(figure: Figure) -> None:
    """Displays the figure in a notebook, with its alt text; an SVG brings a PNG for readers that show no SVG."""
    from IPython.display import display

    bundle = {"image/png": render(figure, "png", FALLBACK_DPI if figure.file_format == "svg" else FILE_DPI)}
    if figure.file_format == "svg":
        bundle["image/svg+xml"] = render(figure, "svg").decode()
    display(bundle, metadata={mime: {"alt": figure.alt} for mime in bundle}, raw=True)
