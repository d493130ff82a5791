"""Is it the normalisation, or the L1 penalty that came with it?"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from pandas import DataFrame, Series
from torch import Tensor

from helpers.ablations import common
from helpers.config import ALL_NORMS, RECIPES, TARGET_NAMES, VARIANTS, Recipe, RunConfig
from helpers.plots.style import blank, captioned, style
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
    cases = []
    for norm in (*VARIANTS, "none"):
        for strength in LAMBDAS:
            for target in TARGET_NAMES:
                if target == "weights" or (strength and norm != "none"):
                    base = slow if norm == "none" else recipe
                    cases.append((norm, replace(base, l1_lambda=strength, l1_target=target), 2))
    return common.ablation_configs(cases, seeds, num_epochs)


def frame(records: Records) -> DataFrame:
    """norm, seed, val_accuracy, val_loss, l1_lambda, l1_target, near_zero, gamma, train_mode."""
    return common.last_epochs(records, CASE, ["near_zero", "gamma", "train_mode"])


def finding(frame: DataFrame) -> str:
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


def _level(accuracies: Series) -> str:
    """The mean, and the seeds' range where they lie more than a point apart."""
    level = f"{accuracies.mean():.2f} %"
    if np.ptp(accuracies) > 1:
        level += f" ({accuracies.min():.2f} to {accuracies.max():.2f})"
    return level


def table(frame: DataFrame, labels: Tensor) -> DataFrame:
    """Each case for readers: means over seeds. labels: of the validation images."""
    free = common.by_seed(frame[frame.l1_lambda == 0])
    rows = {}
    for (norm, strength, target), part in frame.groupby(CASE, sort=False):
        accuracies = part.set_index("seed").val_accuracy
        change = accuracies - free.get(norm, np.nan)
        rows[f"{ALL_NORMS[norm].bare}, λ = {strength:g} on {TARGET_NAMES[target]}"] = {
            "accuracy": _level(accuracies),
            "one answer for all": "yes" if common.is_blind(accuracies, labels) else "no",
            "beside λ = 0 (p of this case alone)": common.changes_in_words({"": change})[""],
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
    facts = []
    for ax, target in zip(axes[0], TARGET_NAMES, strict=True):
        part = frame[(frame.l1_target == target) | (frame.l1_lambda == 0) | (frame.norm == "none")]
        common.stretch_for(ax, frame)
        ax.set_title(f"λ on {TARGET_NAMES[target]}")
        facts += [ax.get_title("left"), *common.plot_accuracies(ax, part, "l1_lambda")]
    axes[0, 0].set_ylabel("accuracy (%)")
    common.label_lines(ax, common.means(part, "l1_lambda"))
    for ax, column, name in [
        (axes[1, 0], "near_zero", "weights below 0.001 (share)"),
        (axes[1, 1], "gamma", "mean |γ|, weakest block"),
    ]:
        lines = common.means(part, "l1_lambda", column)
        facts += common.plot_lines(ax, lines, name)
        ax.set(title=name, ylim=(0, None), xlabel="λ on all parameters")
    common.label_lines(ax, lines, "{:.2g}")
    subtitle = (f"{common.subtitle(frame, dataset_title)}.\n"
                f"No norm: a tenth of the rate. {common.CROSSES}")
    return captioned(figure, "svg", "Is it the normalisation, or the penalty?", subtitle, *facts)
