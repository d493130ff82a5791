"""What all figures share: style, canvas, labels at line ends, files and display.

No figure enters pyplot's global list: its memory is freed with its last reference. The same numbers
give the same bytes. Line graphs and diagrams become SVG with real text, image grids become PNG.
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
from matplotlib.scale import FuncScale
from matplotlib.ticker import MaxNLocator
from sklearn.isotonic import isotonic_regression

from helpers.config import ALL_NORMS
from helpers.files import FIGURE_MARK, write_atomically

INK = "#1a1a1a"
MUTED = "#4d4d4d"  # lesser text; contrast 8:1 on white
WIDTH = 8.0  # inches
PNG_DPI = {"png": 250, "svg": 150}  # the second: of the PNG beside an SVG, for readers without SVG

STYLE = {
    # matplotlib brings DejaVu Sans: the same widths everywhere. Others stand in for it in an SVG.
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "text.color": INK,
    "text.parse_math": False,  # a $ in a title is a $
    "axes.edgecolor": "#808080",
    "axes.titlelocation": "left", "axes.titlesize": 10.5,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#e4e4e4",
    "axes.formatter.useoffset": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "helpers.plots",  # ids do not change from run to run
}


class Look(NamedTuple):
    """How every figure draws a variant: told apart by colour, marker and line."""

    colour: str
    marker: str
    line: str | tuple


# Colours of Okabe and Ito, for the colour-blind too. A new variant in config takes the next look.
LOOKS = dict(zip(ALL_NORMS, [
    Look("#0072b2", "o", "-"),
    Look("#d55e00", "s", "--"),
    Look("#009e73", "^", "-."),
    Look("#000000", "D", ":"),
    Look("#a05080", "v", (0, (1, 3))),
    Look("#7a6a00", "P", (0, (8, 2))),
], strict=False))


@contextlib.contextmanager
def style():
    """Sets matplotlib's defaults and STYLE; afterwards restores what a notebook has set."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def label_ends(ax: Axes, ends: dict[str, tuple]) -> None:
    """Labels each line's end, norm: (x, y, text), right of axes whose limits are set."""
    if not ends:
        return
    low, high = ax.get_ylim()  # a leader starts inside, for NaN at the top
    points = [(x, np.clip(np.nan_to_num(y, nan=high), low, high)) for x, y, _ in ends.values()]
    points = (ax.transData - ax.transAxes).transform(points)
    heights = spread(points[:, 1], 0.135, 0.04, 0.96)
    inch = 1 / (ax.get_position().width * WIDTH)  # in widths of the axes
    for norm, (x, y), height in zip(ends, points, heights, strict=True):
        look = LOOKS[norm]
        ax.plot([x + 0.06 * inch, 1 + 0.3 * inch], [y, height], color=look.colour, linewidth=1,
                marker=look.marker, markevery=[1], transform=ax.transAxes, clip_on=False)
        ax.text(1 + 0.43 * inch, height, ends[norm][2], va="center", transform=ax.transAxes,
                gid="end-label")


def spread(heights: np.ndarray, gap: float, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Moves `heights` by least squares to lie `gap` apart within [low, high], in their order."""
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    moved = isotonic_regression(heights[order] - steps, y_min=low, y_max=high - steps[-1])
    return (moved + steps)[np.argsort(order)]


def bare(ax: Axes) -> None:
    """Takes away grid, frame and tick marks, and sets the tick labels upright."""
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, rotation=0)


TICKS = np.array([10, 50, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9])  # percent, on the stretched axis


def limits(values: pd.Series) -> tuple[float, float]:
    """Where a stretched axis of these accuracies (percent) starts and ends."""
    error = 100 - values
    return max(0.0, 100 - error.max() * 1.3), 100 - error.min() / 1.3


def stretch(ax: Axes, low: float, high: float, axis: str = "y") -> None:
    """Makes an axis of accuracies on which half the error is always the same distance away."""
    ticks = TICKS
    if np.sum((low <= ticks) & (ticks <= high)) < 4:
        ticks = MaxNLocator(6).tick_values(low, high)
    ax.set(**{
        f"{axis}scale": FuncScale(None, (  # 100.001: so that 100 % lies at a finite distance
            lambda accuracy: -np.log10(np.maximum(100.001 - accuracy, 1e-6)),
            lambda stretched: 100.001 - 10 ** -stretched)),
        f"{axis}ticks": ticks,
        f"{axis}ticklabels": [f"{tick:g}" for tick in ticks],
        f"{axis}lim": (low, high),  # last: ticks beyond it would widen the axis
    })
    ax.minorticks_off()


def blank(height: float) -> Figure:
    """White, opaque figure of `height` inches: readable on a dark page too."""
    return Figure(figsize=(WIDTH, height), facecolor="white")


def canvas(height: float) -> tuple[Figure, Axes]:
    """A figure whose one axes is a sheet measured in inches from the upper left corner."""
    figure = blank(height)
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
    ax.set_axis_off()
    return figure, ax


def panels(height: float, count: int) -> tuple[Figure, np.ndarray]:
    """A figure and its `count` axes side by side, which share their scales."""
    figure = blank(height)
    axes = figure.subplots(1, count, sharex=True, sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.08, right=0.985, bottom=0.14, top=0.67, wspace=0.08)
    return figure, axes


def headline(figure: Figure, title: str, subtitle: str) -> None:
    """Writes both from the left edge, a line too long for the figure in smaller letters."""
    height = figure.get_figheight()
    figure.text(0.1 / WIDTH, 1 - 0.14 / height, title, va="top", size=13, weight="bold")
    figure.text(0.1 / WIDTH, 1 - 0.42 / height, subtitle, va="top", color=MUTED)
    for text in figure.texts:
        width = text.get_window_extent().width / figure.dpi
        text.set_size(text.get_size() * min(1, (WIDTH - 0.3) / max(1, width)))


def described(figure: Figure, file_format: str, alt: str) -> Figure:
    """The figure with its alt text (`figure.alt`) and its file's format (`figure.file_format`)."""
    figure.alt = alt
    figure.file_format = file_format
    return figure


def captioned(figure: Figure, file_format: str, title: str, subtitle: str, *facts: str) -> Figure:
    """The figure with a headline; its alt text is headline and facts, given without final stops."""
    headline(figure, title, f"{subtitle}.")
    alt = ". ".join([title, subtitle, *facts])
    return described(figure, file_format, alt.replace("\n", " ") + ".")


@style()
def render(figure: Figure, file_format: str, dpi: float = 250) -> bytes:
    """The figure as "svg", its alt text inside, or "png". The same figure gives the same bytes."""
    buffer = io.BytesIO()
    if file_format == "png":
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": FIGURE_MARK})
        return buffer.getvalue()
    no_clock = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=no_clock)
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg"):]  # no prolog: the same text stands in a file and inside HTML
    # ids that nothing refers to would only repeat from figure to figure on one page
    used = "|".join(set(re.findall(r"#([\w-]+)", svg)))
    svg = re.sub(rf'(<[^<>]*?) id="(?!({used})")[^"]*"', r"\1", svg)
    opening = f'<svg role="img" data-from="{FIGURE_MARK}" aria-label={quoteattr(figure.alt)}'
    return svg.replace("<svg", opening, 1).encode()


def save_figure(figure: Figure, folder: str | Path, name: str) -> Path:
    """Writes `folder`/`name`.svg or .png, whole or not at all; returns its path. Raises OSError."""
    path = Path(folder) / f"{name}.{figure.file_format}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, render(figure, figure.file_format))
    return path


def show(figure: Figure, name: str, folder: str | Path | None = None) -> None:
    """Displays the figure, and saves it as `folder`/figures/`name` if there is a folder."""
    show_figure(figure)
    if folder is not None:
        save_figure(figure, Path(folder) / "figures", name)


def show_figure(figure: Figure) -> None:
    """Displays the figure in a notebook with its alt text; an SVG brings a PNG as fallback."""
    from IPython.display import display

    bundle = {"image/png": render(figure, "png", PNG_DPI[figure.file_format])}
    if figure.file_format == "svg":
        bundle["image/svg+xml"] = render(figure, "svg").decode()
    display(bundle, metadata={mime: {"alt": figure.alt} for mime in bundle}, raw=True)
