"""Is it the normalisation, or the L1 penalty that came with it?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from helpers.ablations import common
from helpers.config import ALL_NORMS, RECIPES, TARGET_NAMES, VARIANTS, Recipe, RunConfig
from helpers.plots.style import blank, captioned, limits, style
from helpers.results.frames import Records
from helpers.results.words import count_seeds

LAMBDAS = [0.0, 1e-5, 1e-4, 1e-3, 1e-2]
STRONGEST = LAMBDAS[-1]
CASE = ["norm", "l1_lambda", "l1_target"]


def runs(recipe: Recipe, seeds: Sequence[int], num_epochs: int) -> list[RunConfig]:
    """Each normalisation, and none, with each strength of the penalty, on each target.

    Without a norm the recipe's peak rate kills the network (`inside.py`): it is trained at a tenth of
    it. There is nothing but weights to penalise then.
    """
    slow = replace(recipe, lr=recipe.lr / 10)
    configs = []
    for norm in (*VARIANTS, "none"):
        for strength in LAMBDAS:
            both = strength and norm != "none"
            for target in ("weights", "all") if both else ("weights",):
                own = replace(slow if norm == "none" else recipe, l1_lambda=strength, l1_target=target)
                configs += [common.ablation_config(norm, seed, num_epochs, own) for seed in seeds]
    return configs


def frame(records: Records) -> pd.DataFrame:
    """norm, seed, val_accuracy, val_loss, l1_lambda, l1_target, near_zero, gamma, train_mode."""
    return common.last_epochs(records, CASE, ["near_zero", "gamma", "train_mode"])


def finding(frame: pd.DataFrame) -> str:
    """How far the strongest penalty moves accuracy, beside how far the normalisation does."""
    free = common.by_seed(frame[frame.l1_lambda == 0])
    strong = common.by_seed(frame[(frame.l1_lambda == STRONGEST) & (frame.l1_target == "all")])
    free, strong = free.align(strong, join="inner")
    complete = (free + strong).notna().all(axis=1)
    free = free[complete]
    strong = strong[complete]
    if free.empty or free.shape[1] < 2:
        return common.TOO_FEW
    moves = [f"{VARIANTS[norm].bare} from {free[norm].mean():.2f} to {_level(strong[norm])}"
             for norm in VARIANTS if norm in free]
    cost = free.mean() - strong.mean()
    verdict = "penalty and normalisation are not told apart"
    if cost.min() > 2 * max(np.ptp(free.mean()), np.ptp(strong.mean())):
        verdict = "the penalty decides here, not the normalisation"
    return (f"λ = {STRONGEST:g} on {TARGET_NAMES['all']}, the strength of the historical run, at this "
            f"recipe's peak rate of {RECIPES['tuned'].lr:g}, takes {', '.join(moves)} "
            f"({count_seeds(len(free))}): {verdict}.")


def _level(accuracies: pd.Series) -> str:
    """The mean, and the seeds' range where they lie more than a point apart."""
    level = f"{accuracies.mean():.2f} %"
    if np.ptp(accuracies) > 1:
        level += f" ({accuracies.min():.2f} to {accuracies.max():.2f})"
    return level


def table(frame: pd.DataFrame, labels: Tensor) -> pd.DataFrame:
    """Each case for readers: means over seeds. labels: of the validation images."""
    free = common.by_seed(frame[frame.l1_lambda == 0])
    rows = {}
    for (norm, strength, target), part in frame.groupby(CASE, sort=False):
        accuracies = part.set_index("seed").val_accuracy
        changes = {}
        if strength and norm in free:
            changes = common.changes_in_words({norm: accuracies - free[norm]})
        rows[f"{ALL_NORMS[norm].bare}, λ = {strength:g} on {TARGET_NAMES[target]}"] = {
            "accuracy": _level(accuracies),
            "one answer for all": "yes" if common.is_blind(accuracies, labels) else "no",
            "beside λ = 0 (p of this case alone)": changes.get(norm, ""),
            "on its own batches": f"{part.train_mode.mean():.2f} %",
            "weights below 0.001": f"{100 * part.near_zero.mean():.1f} %",
            "mean |γ| of the weakest block": f"{part.gamma.mean():.2g}",
        }
    return pd.DataFrame.from_dict(rows, "index").replace(["nan %", "nan"], "")


@style()
def plot(frame: pd.DataFrame, dataset_title: str) -> Figure:
    """Accuracy by λ for both targets, and what the penalty does to weights and γ."""
    figure = blank(6.4)
    bounds = limits(frame[["val_accuracy", "train_mode"]].stack())
    facts = []
    for left, target in [(0.09, "weights"), (0.47, "all")]:
        name = f"accuracy (%), λ on {TARGET_NAMES[target]}"
        on_target = frame[(frame.l1_target == target) | (frame.l1_lambda == 0) | (frame.norm == "none")]
        ax = _panel(figure, (left, 0.52, 0.29, 0.29), name)
        common.plot_accuracies(ax, on_target, "l1_lambda", bounds)
        lines = common.means(on_target, "l1_lambda")
        own_batches = common.means(on_target, "l1_lambda", "train_mode")
        facts += common.describe_lines(name, lines, "{:.2f}")
        facts += common.describe_lines(f"{name}, on its own batches", own_batches, "{:.2f}")
    common.label_lines(ax, lines, "{:.2f} %")
    for left, column, name in [
        (0.09, "near_zero", "share of weights below 0.001"), (0.47, "gamma", "mean |γ| of the weakest block"),
    ]:
        ax = _panel(figure, (left, 0.1, 0.29, 0.28), f"{name}, λ on all parameters")
        lines = common.means(on_target, "l1_lambda", column)
        common.plot_lines(ax, lines)
        ax.set_ylim(bottom=0)
        facts += common.describe_lines(name, lines, "{:.2g}")
    common.label_lines(ax, lines, "{:.2g}")
    subtitle = (f"{common.subtitle(frame, dataset_title)}.\n"
                f"No norm: a tenth of the rate. {common.CROSSES}")
    return captioned(figure, "svg", "Is it the normalisation, or the penalty?", subtitle, *facts)


def _panel(figure: Figure, rectangle: tuple, title: str) -> Axes:
    """Axes with the strengths of the penalty below."""
    ax = figure.add_axes(rectangle)
    ax.set_title(title, size=10, loc="left")
    ax.set_xscale("symlog", linthresh=LAMBDAS[1])
    ax.set_xticks(LAMBDAS, [f"{strength:g}" for strength in LAMBDAS])
    ax.minorticks_off()
    ax.set_xlabel("λ")
    return ax
