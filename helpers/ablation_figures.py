"""The figures of the ablations: one a question, from the tables of `helpers.ablations`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator

from helpers.ablations import BATCH_SIZES, FREE, FREE_NAME, LAMBDAS, NAMES, TARGETS
from helpers.config import VARIANTS
from helpers.drawing import INK, LOOKS, MUTED, blank, described, headline, label_ends, limits, stretch, style


@style()
def plot_penalty(table: pd.DataFrame, dataset_title: str) -> Figure:
    """Accuracy by λ for both targets, and what the penalty does to the weights: columns of `penalty_table`."""
    figure = _figure_of(6.4, "Is it the normalisation, or the penalty?",
                        f"{dataset_title}, last epoch, {_seeds(table)}. No norm: a tenth of the rate. "
                        "The accuracy axis is stretched towards 100 %.")
    panels = {"weights": (0.09, 0.535), "all": (0.47, 0.535)}
    low, high = limits(pd.concat([table.val_accuracy, table.train_mode.dropna()]))
    sentences = []
    for target, (left, bottom) in panels.items():
        ax = figure.add_axes((left, bottom, 0.29, 0.3))
        part = _on(table, target)
        lines = {norm: mine.groupby("l1_lambda").val_accuracy.mean() for norm in _norms(table)
                 if len(mine := part[part.norm == norm])}
        stretch(ax, low, high)
        _lambda_axis(ax)
        _dots_of(ax, part, part.l1_lambda.map(LAMBDAS.index))
        inside = part.groupby("l1_lambda").train_mode.mean().dropna()
        ax.plot([LAMBDAS.index(strength) for strength in inside.index], inside, **OWN_BATCHES)
        _lines(ax, lines, LAMBDAS, range(len(LAMBDAS)))
        where = TARGETS[target].removeprefix("the ")
        ax.set_title(f"penalty on {where}", size=10.5, loc="left")
        ax.set_ylabel("accuracy (%)" if target == "weights" else "")
        if target == "all":
            label_ends(ax, {norm: (LAMBDAS.index(line.index[-1]), line.iloc[-1], f"{NAMES[norm]} {line.iloc[-1]:.2f} %")
                            for norm, line in lines.items()})
        named = {NAMES[norm]: line for norm, line in lines.items()
                 if norm != "none" or target == "weights"}  # without a norm there is nothing but weights
        named[f"{NAMES['batch']} on the statistics of its own batches"] = inside
        sentences += [f"{name}, penalty on {where}: " + ", ".join(
            f"λ = {strength:g} {accuracy:.2f} %" for strength, accuracy in line.items())
            for name, line in named.items() if len(line)]
    for column, name, left in (("near_zero", "weights below 0.001 (%)", 0.09),
                               ("gamma", "mean |γ| of the weakest block", 0.47)):
        ax = figure.add_axes((left, 0.115, 0.29, 0.28))
        part = _on(table, "all").dropna(subset=[column])
        scale = 100 if column == "near_zero" else 1
        values = {norm: scale * part[part.norm == norm].groupby("l1_lambda")[column].mean() for norm in _norms(part)}
        _lambda_axis(ax)
        _lines(ax, values, LAMBDAS, range(len(LAMBDAS)))
        ax.set_ylim(bottom=0)
        ax.set_title(name, size=10.5, loc="left")
        ax.set_xlabel("λ, on all parameters")
        if column == "gamma":
            label_ends(ax, {norm: (LAMBDAS.index(line.index[-1]), line.iloc[-1], f"{NAMES[norm]} {line.iloc[-1]:.2g}")
                            for norm, line in values.items() if len(line)})
        unit = " %" if column == "near_zero" else ""
        sentences += [f"{name.removesuffix(' (%)')}, {NAMES[norm]}: from {line.iloc[0]:.3g}{unit} at λ = "
                      f"{line.index[0]:g} to {line.iloc[-1]:.3g}{unit} at λ = {line.index[-1]:g}"
                      for norm, line in values.items()]
    if table.train_mode.notna().any():
        figure.text(0.09, 0.02, "×: BatchNorm on the statistics of its own batches. Pale dots: single seeds.", size=9,
                    color=MUTED)
    return described(figure, "svg", f"Four line graphs by λ on {dataset_title}, {_seeds(table)}. "
                     + "; ".join(sentences) + ".")


@style()
def plot_affine(table: pd.DataFrame, dataset_title: str) -> Figure:
    """LayerNorm with and without γ and β, and GroupNorm(1, C): columns of `affine_table`."""
    names = {"layer": "LayerNorm\nγ, β of (C, H, W)", "layer_plain": "LayerNorm\nno γ, no β",
             "group": "GroupNorm(1, C)\nγ, β of C"}
    rows = {f"{name}\n{part.parameters.iloc[0]:,} parameters": part.val_accuracy for norm, name in names.items()
            if len(part := table[table.norm == norm])}
    return _dots(rows, "What do LayerNorm's extra parameters buy?", dataset_title, _seeds(table), 0.95)


@style()
def plot_groups(table: pd.DataFrame, dataset_title: str) -> Figure:
    """Accuracy by the number of groups: columns of `group_table`."""
    rows = {f"G = {groups}": table[table.groups == groups].val_accuracy
            for groups in sorted(set(table.groups))}  # "C" is behind the numbers
    return _dots(rows, "How many groups?", dataset_title, _seeds(table), 0.6)


@style()
def plot_batch_size(table: pd.DataFrame, dataset_title: str, num_images: int, num_epochs: int) -> Figure:
    """Accuracy by batch size: columns of `batch_size_table`; BatchNorm also with its batches' own statistics."""
    figure = _figure_of(4.3, "How small may a batch be?",
                        f"{dataset_title}, {num_images:,} training images, {num_epochs} epochs in all cases, "
                        f"{_seeds(table)}. The accuracy axis is stretched towards 100 %.")
    ax = figure.add_axes((0.09, 0.13, 0.56, 0.64))
    lines = {norm: table[table.norm == norm].groupby("batch_size").val_accuracy.mean() for norm in _norms(table)}
    inside = table.dropna(subset=["train_mode"]).groupby("batch_size").train_mode.mean()
    stretch(ax, *limits(pd.concat([table.val_accuracy, table.train_mode.dropna()])))
    ax.set_xscale("log", base=2)
    _dots_of(ax, table, table.batch_size)
    ax.plot(inside.index, inside, **OWN_BATCHES)
    _lines(ax, lines, BATCH_SIZES, BATCH_SIZES)
    ax.set_xticks(sorted(table.batch_size.unique()), [f"{size:g}" for size in sorted(table.batch_size.unique())])
    ax.minorticks_off()
    ax.set(xlabel="images a batch", ylabel="accuracy (%)")
    label_ends(ax, {norm: (line.index[-1], line.iloc[-1], f"{NAMES[norm]}\n{line.iloc[-1]:.2f} %")
                    for norm, line in lines.items()})
    if len(inside):
        ax.text(0.98, 0.03, "×: BatchNorm on the statistics of its own batches", size=9, ha="right",
                transform=ax.transAxes, color=LOOKS["batch"].colour)
    named = {**{NAMES[norm]: line for norm, line in lines.items()}, f"{NAMES['batch']} on its own batches": inside}
    sentences = [f"{name}: " + ", ".join(f"{size} {value:.2f} %" for size, value in line.items())
                 for name, line in named.items() if len(line)]
    return described(figure, "svg", f"Line graph of the accuracy on {dataset_title} by batch size, {_seeds(table)}. "
                     + "; ".join(sentences) + ".")


@style()
def plot_inside(table: pd.DataFrame, dataset_title: str) -> Figure:
    """Activations and gradients by depth, at five times: columns of `ablations.inside`."""
    norms, updates = _norms(table), sorted(table["update"].unique())
    shown = sorted({updates[round(place * (len(updates) - 1) / 4)] for place in range(5)})
    figure = _figure_of(6.4, "What happens inside?", f"{dataset_title}, one seed. What each block's convolution "
                        "gives, and the gradient of its weights; lighter is earlier.")
    colours = dict(zip(shown, sns.color_palette("flare", len(shown)), strict=True))
    marks = dict(zip(shown, "os^Dv", strict=False))
    quantities = {"mean": "mean of activations", "std": "standard deviation", "gradient": "gradient norm"}
    width = (1 - 0.11 - 0.02) / len(norms)
    sentences = []
    for row, (column, name) in enumerate(quantities.items()):
        values = table[table["update"].isin(shown)][column].dropna()
        for place, norm in enumerate(norms):
            ax = figure.add_axes((0.11 + width * place, 0.62 - 0.25 * row, width - 0.035, 0.2))
            for update in shown:
                part = table[(table.norm == norm) & (table["update"] == update)]
                shown_values = part[column] if column == "mean" else part[column].where(part[column] > 0)
                ax.plot(part.block, shown_values, color=colours[update], marker=marks[update], markersize=4,
                        linewidth=1.5)
            if column == "mean":  # of both signs, and of any size where nothing normalises
                ax.set_yscale("symlog", linthresh=1)
                ax.set_ylim(1.5 * min(values.min(), -1), 1.5 * max(values.max(), 1))
            else:
                ax.set_ylim(values[values > 0].min() / 1.5, values.max() * 1.5)  # first: a dead network has no positive
                ax.set_yscale("log")                                            # value to find limits from
                ax.yaxis.set_major_locator(LogLocator(subs=(1,) if values.max() > 50 * values.min() else (1, 2, 5)))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
            dead = table[(table.norm == norm) & (table.gradient == 0)]["update"]
            if column == "gradient" and len(dead):
                ax.text(0.5, 0.5, f"0 at update\n{dead.min():,} and after", size=9.5, ha="center",
                        transform=ax.transAxes)
            ax.minorticks_off()
            ax.set_xlim(0.7, 6.3)
            ax.set_xticks(range(1, 7), [] if row < 2 else [str(block) for block in range(1, 7)])
            ax.tick_params(labelleft=place == 0, labelsize=9)
            if place == 0:
                ax.set_ylabel(name, size=9.5)
            if row == 0:
                ax.set_title(NAMES[norm], size=10.5, loc="left")
            if row == 2:
                ax.set_xlabel("block", size=9.5)
            last = table[(table.norm == norm) & (table["update"] == shown[-1])]
            sentences.append(f"{NAMES[norm]}, {name} of blocks 1 and 6 at the end: {last[column].iloc[0]:.2g} and "
                             f"{last[column].iloc[-1]:.2g}")
    for place, update in enumerate(shown):
        x = 0.12 + 0.17 * place
        figure.add_artist(Line2D([x], [0.033], color=colours[update], marker=marks[update], markersize=6))
        figure.text(x + 0.015, 0.025, f"update {update:,}", color=INK, size=9.5)
    return described(figure, "svg", "Small line graphs by depth. " + "; ".join(sentences) + ".")


@style()
def plot_luck(pairs: pd.DataFrame, dataset_title: str) -> Figure:
    """Each pair's difference seed by seed, with its mean and interval: columns of `luck_table`."""
    figure = _figure_of(1.3 + 0.75 * len(pairs), "How much does luck weigh?",
                        f"{dataset_title}: how many images more the first of two gets right. Dots: seeds; "
                        "bar: mean and 95 % interval.")
    ax = figure.add_axes((0.27, 0.55 / figure.get_figheight(), 0.47, 1 - 1.4 / figure.get_figheight()))
    ax.axvline(0, color=INK, linewidth=1)
    names, sentences = [], []
    for row, pair in enumerate(pairs.itertuples()):
        a, b = VARIANTS[pair.a].short, FREE_NAME if pair.b == FREE else VARIANTS[pair.b].short
        ax.plot(pair.differences, [row] * pair.n, "o", color=LOOKS["layer"].colour, alpha=0.5, markersize=6)
        ax.errorbar(pair.difference, row, xerr=0 if np.isnan(pair.half_width) else pair.half_width, color=INK,
                    capsize=5, marker="|", markersize=14, linewidth=1.5)
        low, high = ("> 10,000" if np.isinf(seeds) else "?" if np.isnan(seeds) else f"{seeds:,.0f}"
                     for seeds in (pair.seeds_at_least, pair.seeds_at_most))
        needed = low if low == high else f"{low} or more" if ">" in high else f"{low} to {high}"
        half = "" if np.isnan(pair.half_width) else f" ± {pair.half_width:.1f}"
        measured = f"{pair.difference:+.1f}{half} images".replace("-", "−")
        ax.text(1.03, row, f"{measured}\nseeds to tell: {needed}", size=9.5, va="center",
                transform=ax.get_yaxis_transform())
        names.append(f"{a} against\n{b}".replace(" without", "\nwithout"))
        sentences.append(f"{a} against {b}: {pair.difference:+.1f} images, single seeds from "
                         f"{min(pair.differences):+d} to {max(pair.differences):+d}")
    ax.set_yticks(range(len(pairs)), names)
    ax.set_ylim(len(pairs) - 0.5, -0.5)
    ax.set_xlabel("difference (images)")
    return described(figure, "svg", "Dot plot of differences. " + "; ".join(sentences) + ".")


# --- parts ------------------------------------------------------------------------------------------------------------


def _figure_of(height: float, title: str, subtitle: str) -> Figure:
    figure = blank(height)
    headline(figure, title, subtitle)
    return figure


def _norms(table: pd.DataFrame) -> list[str]:
    return [norm for norm in LOOKS if norm in set(table.norm)]


def _seeds(table: pd.DataFrame) -> str:
    count = table.seed.nunique()
    return f"mean of {count} seeds" if count > 1 else "one seed"


def _on(table: pd.DataFrame, target: str) -> pd.DataFrame:
    """The runs with a penalty on `target`, and those that are the same with either."""
    return table[(table.l1_target == target) | (table.l1_lambda == 0) | (table.norm == "none")]


def _lambda_axis(ax: Axes) -> None:
    ax.set_xlim(-0.2, len(LAMBDAS) - 0.8)
    ax.set_xticks(range(len(LAMBDAS)), ["0", *(f"$10^{{{np.log10(s):.0f}}}$" for s in LAMBDAS[1:])], parse_math=True)


def _lines(ax: Axes, lines: dict[str, pd.Series], cases: Sequence[float], places: Sequence[float]) -> None:
    """A line for each norm: its values by case, at the cases' `places` on the axis; none across a case without runs."""
    for norm, line in lines.items():
        look = LOOKS[norm]
        ax.plot(places, line.reindex(cases), color=look.colour, linestyle=look.line, marker=look.marker, linewidth=2,
                markersize=5.5, markeredgecolor="white", markeredgewidth=0.6, gid="mean")


# BatchNorm validated on the statistics of batches as in training, where its own line is on running averages
OWN_BATCHES = {"color": LOOKS["batch"].colour, "linewidth": 1, "marker": "x", "markersize": 5, "gid": "own batches"}


def _dots_of(ax: Axes, table: pd.DataFrame, places: pd.Series) -> None:
    """Each run a pale dot, `places` on the axis."""
    for norm in _norms(table) if table.seed.nunique() > 1 else ():
        mine = table.norm == norm
        ax.plot(places[mine], table.val_accuracy[mine], "o", color=LOOKS[norm].colour, alpha=0.3, markersize=4,
                markeredgewidth=0, gid="seed")


def _dots(rows: dict[str, pd.Series], title: str, dataset_title: str, seeds: str, step: float) -> Figure:
    """A row for each case: every seed a dot, the mean a bar. Cases far below the others are told, not drawn."""
    figure = _figure_of(1.4 + step * len(rows), title, f"{dataset_title}, last epoch. Bar: {seeds}, dots: each. "
                        "The accuracy axis is stretched towards 100 %.")
    best = max(values.max() for values in rows.values())
    seen = {name: values for name, values in rows.items() if values.max() > best / 2}
    height = figure.get_figheight()
    ax = figure.add_axes((0.25, 0.55 / height, 0.56, 1 - 1.35 / height))
    stretch(ax, *limits(pd.concat(list(seen.values()))), axis="x")
    for row, (name, values) in enumerate(rows.items()):
        if name in seen:
            ax.plot(values, [row] * len(values), "o", color=LOOKS["layer"].colour, alpha=0.5, markersize=7)
            ax.plot([values.mean()] * 2, [row - 0.25, row + 0.25], color=INK, linewidth=2)
        else:
            ax.text(0.02, row, "← far below this axis", size=9.5, va="center", transform=ax.get_yaxis_transform())
        ax.text(1.03, row, f"{values.mean():.2f} %", size=10.5, weight="bold", va="center",
                transform=ax.get_yaxis_transform())
    ax.set_yticks(range(len(rows)), list(rows), color=MUTED)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel("accuracy (%)")
    sentences = [f"{' '.join(name.split())}: {values.mean():.2f} % (from {values.min():.2f} to {values.max():.2f})"
                 for name, values in rows.items()]
    return described(figure, "svg", f"Dot plot of accuracies on {dataset_title}. " + "; ".join(sentences) + ".")
