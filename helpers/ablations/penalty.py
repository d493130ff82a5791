"""Is it the normalisation, or the L1 penalty that came with it?"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
from matplotlib.figure import Figure
from pandas import DataFrame, Series
from torch import Tensor

from helpers.ablations import common
from helpers.config import ALL_NORMS, RECIPES, TARGET_NAMES, VARIANTS, Recipe
from helpers.plots.style import blank, style
from helpers.results.words import compare_in_words, count_seeds

LAMBDAS = [0.0, 1e-5, 1e-4, 1e-3, 1e-2]
STRONGEST = LAMBDAS[-1]


@common.for_each_seed
def runs(recipe: Recipe) -> Iterator[tuple]:
    """Each normalisation, and none, with each strength of the penalty, on each target.

    Without a norm the recipe's peak rate kills the network (`inside.py`): it is trained at a tenth of it.
    There is nothing but weights to penalise then.
    """
    for norm, strength, target in product((*VARIANTS, "none"), LAMBDAS, TARGET_NAMES):
        if target == "weights" or (strength and norm != "none"):
            lr = recipe.lr / 10 if norm == "none" else recipe.lr
            yield norm, replace(recipe, lr=lr, l1_lambda=strength, l1_target=target), 2


def finding(frame: DataFrame) -> str:
    """What the strongest penalty does on each target, and whether it or the normalisation decides."""
    parts = [_strongest(frame, target) for target in ("all", "weights") if len(frame)]
    parts = [part for part in parts if part]
    if not parts:
        return common.TOO_FEW
    return (f"λ = {STRONGEST:g}, the strength of the historical run, at this recipe's peak rate of "
            f"{RECIPES['tuned'].lr:g} ({count_seeds(frame.seed.nunique())}): {'; '.join(parts)}.")


def _strongest(frame: DataFrame, target: str) -> str:
    """What the strongest penalty does on one target; nothing where fewer than two normalisations can tell."""
    free = common.means(frame[frame.l1_lambda == 0], "seed")
    strong = common.means(frame[(frame.l1_lambda == STRONGEST) & (frame.l1_target == target)], "seed")
    free, strong = free.align(strong, join="inner")
    free = free[[norm for norm in VARIANTS if norm in free]].dropna()
    strong = strong.reindex(free.index)[free.columns]
    if len(free.columns) < 2 or (free + strong).isna().any(axis=None) or free.empty:
        return ""
    moves = [f"{VARIANTS[norm].bare} from {free[norm].mean():.2f} to {_level(strong[norm])}" for norm in free]
    cost = free.mean() - strong.mean()
    verdict = "penalty and normalisation are not told apart"
    if cost.min() > 2 * max(np.ptp(free.mean()), np.ptp(strong.mean())):
        verdict = "there the penalty decides, not the normalisation"
    elif np.ptp(cost) > 2 * max(np.ptp(free.mean()), cost.min()):
        verdict = "there the normalisation decides how much is lost"
    return f"on {TARGET_NAMES[target]} it takes {', '.join(moves)}: {verdict}"


def _level(accuracies: Series) -> str:
    """The mean, and the seeds' range where they lie more than a point apart."""
    level = f"{accuracies.mean():.2f} %"
    if np.ptp(accuracies) > 1:
        level += f" ({accuracies.min():.2f} to {accuracies.max():.2f})"
    return level


def table(frame: DataFrame, labels: Tensor) -> DataFrame:
    """Each case for readers: means over seeds. labels: of the validation images."""
    free = common.means(frame[frame.l1_lambda == 0], "seed")
    rows = {}
    for (norm, strength, target), part in frame.groupby(["norm", "l1_lambda", "l1_target"], sort=False):
        accuracies = part.set_index("seed").val_accuracy
        change = accuracies - free.get(norm, np.nan)
        rows[f"{ALL_NORMS[norm].bare}, λ = {strength:g} on {TARGET_NAMES[target]}"] = {
            "accuracy": _level(accuracies),
            "one answer for all": "yes" if common.is_blind(accuracies, labels) else "no",
            "beside λ = 0 (p of this case alone)": compare_in_words({"": change}).strip(),
            "on its own batches": f"{part.train_mode.mean():.2f} %",
            "weights below 0.001": f"{100 * part.near_zero.mean():.1f} %",
            "mean |γ| of the weakest block": f"{part.gamma.mean():.2g}",
        }
    return DataFrame.from_dict(rows, "index").replace(["nan %", "nan"], "")


@style()
def plot(frame: DataFrame, dataset_title: str) -> Figure:
    """Accuracy by λ for both targets, and what the penalty does to weights and γ."""
    figure = blank(6.4)
    axes = figure.subplots(2, 2, sharex=True)
    figure.subplots_adjust(left=0.08, right=0.76, bottom=0.1, top=0.82)
    axes[0, 0].set_xscale("symlog", linthresh=LAMBDAS[1])
    axes[0, 0].set_xticks(LAMBDAS, map("{:g}".format, LAMBDAS))
    axes[0, 0].set_ylabel("accuracy (%)")
    for ax, target in zip(axes[0], TARGET_NAMES, strict=True):
        part = frame[(frame.l1_target == target) | (frame.l1_lambda == 0) | (frame.norm == "none")]
        ax.set_title(f"λ on {TARGET_NAMES[target]}")
        lines = common.plot_accuracies(ax, part, "l1_lambda", frame)
    common.label_lines(ax, lines)
    quantities = {"near_zero": "weights below 0.001 (share)", "gamma": "mean |γ|, weakest block"}
    for ax, (column, name) in zip(axes[1], quantities.items(), strict=True):
        lines = common.means(part, "l1_lambda", column)
        common.plot_lines(ax, lines)
        ax.set(title=name, ylim=(0, None), xlabel="λ on all parameters")
    common.label_lines(ax, lines, "{:.2g}")
    subtitle = f"{common.subtitle(frame, dataset_title)}.\nNo norm: a tenth of the rate."
    title = "Is it the normalisation, or the penalty?"
    return common.captioned_lines(figure, title, subtitle, frame, finding(frame))
