"""What all figures share: style, canvas, captions and keys, files and display.

No figure enters pyplot's global list: its memory is freed with its last reference. The same numbers
give the same bytes. Line graphs and diagrams become SVG with real text, image grids become PNG.
"""

import io
import re
from pathlib import Path
from textwrap import fill
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from pandas import Series

from helpers.config import ALL_NORMS
from helpers.files import FIGURE_MARK, write_atomically

INK = "#1a1a1a"
ON_TILE = "#111111"  # text on a coloured tile, dark on every ground
MUTED = "#4d4d4d"  # lesser text; contrast 8:1 on white
# One width for phone, screen and paper, in inches: on a phone's 288 pixels a text of 11.5 points is 11 pixels high.
WIDTH = 4.2

STYLE = {
    # matplotlib brings DejaVu Sans: the same widths everywhere. Others stand in for it in an SVG.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 11.5,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "legend.fontsize": 11.5,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a title is a $
    "axes.edgecolor": "#808080",
    "axes.titlelocation": "left",
    "axes.titlesize": 11.5,
    "axes.labelsize": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
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


def style():
    """Context or decorator: matplotlib's defaults and STYLE; afterwards what a notebook has set again."""
    return matplotlib.style.context(STYLE, after_reset=True)


def key(ax: Axes, texts: dict[str, str]) -> None:
    """Lists the variants' lines above the axes, one a line: norm -> what is said of it."""
    handles = []
    for norm, text in texts.items():
        look = LOOKS[norm]
        handles.append(Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line, label=text))
    ax.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.01), frameon=False, borderpad=0,
        borderaxespad=0, labelspacing=0.3, handlelength=2.6)


def bare(ax: Axes) -> None:
    """Takes away grid, frame and tick marks, and sets the tick labels upright."""
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, rotation=0)


TICKS = np.array([10, 50, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9])  # percent, on the stretched axis


def limits(values: Series) -> tuple[float, float]:
    """Where a stretched axis of these accuracies (percent) starts and ends."""
    error = 100 - values
    return max(0.0, 100 - error.max() * 1.3), 100 - error.min() / 1.3


def stretch(ax: Axes, low: float, high: float) -> None:
    """Makes a vertical axis of accuracies on which half the error is always the same distance away."""
    ticks = TICKS
    if np.sum((low <= ticks) & (ticks <= high)) < 4:
        ticks = MaxNLocator(6).tick_values(low, high)
    ax.set_yscale("function", functions=(  # 100.001: so that 100 % lies at a finite distance
        lambda accuracy: -np.log10(np.maximum(100.001 - accuracy, 1e-6)),
        lambda stretched: 100.001 - 10 ** -stretched))
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_ylim(low, high)  # last: ticks beyond it would widen the axis
    ax.minorticks_off()


def blank(height: float) -> Figure:
    """White, opaque figure of `height` inches (in `style`): readable on a dark page too."""
    return Figure(figsize=(WIDTH, height))


def canvas(height: float) -> tuple[Figure, Axes]:
    """A figure whose one axes is a sheet measured in inches from the upper left corner."""
    figure = blank(height)
    ax = figure.add_axes(
        (0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
    ax.set_axis_off()
    return figure, ax


def panels(height: float, count: int) -> tuple[Figure, np.ndarray]:
    """A figure and its `count` axes, each `height` inches with its title, one below the other; they share scales."""
    figure = blank(height * count)
    axes = figure.subplots(count, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    figure.subplots_adjust(
        left=0.15, right=0.97, bottom=0.55 / (height * count), top=1 - 0.5 / (height * count), hspace=0.45)
    return figure, axes


def described(figure: Figure, file_format: str, alt: str) -> Figure:
    """The figure with its alt text (`figure.alt`) and its file's format (`figure.file_format`)."""
    figure.alt = alt
    figure.file_format = file_format
    return figure


def captioned(figure: Figure, file_format: str, title: str, subtitle: str, *facts: str) -> Figure:
    """The figure with headline and subtitle above what is drawn; it grows by their height.

    The alt text is headline, subtitle and facts, all given without final stops.
    """
    lines = fill(title, 36).splitlines()
    below = fill(f"{subtitle}.", 46).splitlines()
    body = figure.get_figheight()
    caption = 0.12 + 0.22 * len(lines) + 0.19 * len(below)  # inches
    height = body + caption
    boxes = [ax.get_position() for ax in figure.axes]
    figure.set_figheight(height)
    for ax, box in zip(figure.axes, boxes, strict=True):
        ax.set_position((box.x0, box.y0 * body / height, box.width, box.height * body / height))
    figure.text(0.02, 1 - 0.06 / height, "\n".join(lines), va="top", size=13, weight="bold", linespacing=1.15)
    figure.text(0.02, 1 - (0.1 + 0.22 * len(lines)) / height, "\n".join(below), va="top", color=MUTED)
    alt = ". ".join([title, subtitle, *facts])
    return described(figure, file_format, alt.replace("\n", " ") + ".")


@style()
def render(figure: Figure, file_format: str, dpi: float = 400) -> bytes:
    """The figure as "svg", its alt text inside, or "png". The same figure gives the same bytes."""
    metadata = {"Software": FIGURE_MARK}
    if file_format == "svg":
        metadata = dict.fromkeys(["Date", "Creator", "Format", "Type"])  # none: no clock
    buffer = io.BytesIO()
    figure.savefig(buffer, format=file_format, dpi=dpi, metadata=metadata)
    if file_format == "png":
        return buffer.getvalue()
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg"):]  # no prolog: the same text stands in a file and inside HTML
    # ids that nothing refers to would only repeat from figure to figure on one page
    used = "|".join(set(re.findall(r"#([\w-]+)", svg)))
    svg = re.sub(rf'(<[^<>]*?) id="(?!({used})")[^"]*"', r"\1", svg)
    opening = f'<svg role="img" data-from="{FIGURE_MARK}" aria-label={quoteattr(figure.alt)}'
    return svg.replace("<svg", opening, 1).encode()


def show(figure: Figure, name: str, folder: Path | None = None, handle=None) -> None:
    """Displays the figure with its alt text, and saves it as `folder`/figures/`name` if there is a folder.

    An SVG brings a PNG, for readers without SVG. handle: of an earlier display, in whose place the figure appears.
    """
    from IPython.display import display

    content = render(figure, figure.file_format)
    bundle = {"image/png": content}
    if figure.file_format == "svg":
        bundle = {"image/svg+xml": content.decode(), "image/png": render(figure, "png", 200)}
    # the width: Jupyter shows a PNG with one pixel a dot, several times as wide as an SVG
    metadata = {mime: {"alt": figure.alt, "width": round(96 * WIDTH)} for mime in bundle}
    put = handle.update if handle else display
    put(bundle, metadata=metadata, raw=True)
    if folder is not None:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "figures" / f"{name}.{figure.file_format}", content)
