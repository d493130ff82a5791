"""Is it the normalisation, or the L1 penalty that came with it?"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series
from torch import Tensor

from helpers.ablations import common
from helpers.config import RECIPES, TARGET_NAMES, VARIANTS, Recipe
from helpers.plots.style import MUTED, panels, style
from helpers.results.words import count_seeds

LAMBDAS = [0.0, 1e-5, 1e-4, 1e-3, 1e-2]
STRONGEST = LAMBDAS[-1]
CHANCE = 12  # percent: more than any digit's share of the images


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
    """What the strongest penalty does on each target, and whether it or the normalisation decides: a sentence each."""
    sentences = []
    for target, (free, strong) in _beside_strongest(frame).items():
        sentences.append(f"λ = {STRONGEST:g} on {TARGET_NAMES[target]} {_verdict(free, strong)} (peak rate "
                         f"{RECIPES['tuned'].lr:g}, {count_seeds(frame.seed.nunique())}).")
    return " ".join(sentences) or common.TOO_FEW


def _beside_strongest(frame: DataFrame) -> dict[str, tuple[Series, Series]]:
    """For each target mean accuracies without a penalty and with the strongest, of the same seeds.

    A target is left out where fewer than two normalisations have both.
    """
    means = {}
    free = frame[frame.l1_lambda == 0].pivot_table("val_accuracy", "seed", "norm").filter(VARIANTS)
    for target in ("all", "weights"):
        strongest = frame[(frame.l1_lambda == STRONGEST) & (frame.l1_target == target)]
        without, strong = free.align(strongest.pivot_table("val_accuracy", "seed", "norm"), join="inner")
        seeds = (without + strong).dropna().index
        if len(seeds) and without.shape[1] > 1:
            means[target] = without.loc[seeds].mean(), strong.loc[seeds].mean()
    return means


def _verdict(free: Series, strong: Series) -> str:
    """What decides how much is lost, from `_beside_strongest`."""
    cost = free - strong
    if cost.min() > 2 * max(np.ptp(free), np.ptp(strong)):
        return f"leaves no normalisation a mean above {strong.max():.2f} %: the penalty decides"
    if np.ptp(cost) > 2 * max(np.ptp(free), cost.min()):
        worst = strong.idxmin()
        best = strong.idxmax()
        return (f"leaves {common.BARE[worst]} at {strong[worst]:.2f} % and {common.BARE[best]} at "
                f"{strong[best]:.2f} %: the normalisation decides")
    return f"costs {cost.min():.2f} to {cost.max():.2f} points: penalty and normalisation are not told apart"


def table(frame: DataFrame, labels: Tensor) -> DataFrame:
    """Each case for readers: means over seeds. labels: of the validation images."""
    free = frame[frame.l1_lambda == 0].pivot_table("val_accuracy", "seed", "norm")
    rows = {}
    for (norm, strength, target), part in frame.groupby(["norm", "l1_lambda", "l1_target"], sort=False):
        name = f"{common.BARE[norm]}, λ = {strength:g}"
        change = ""
        if strength:
            name += f" on {TARGET_NAMES[target]}"
            differences = part.set_index("seed").val_accuracy - free.get(norm, np.nan)
            change = common.compare({name: differences}).text.get(name, "")
        rows[name] = {
            "accuracy": common.level(part.val_accuracy),
            "one answer for all": "yes" if common.is_blind(part.val_accuracy, labels) else "no",
            "beside λ = 0 (points; p of this case alone)": change,
            "on its own batches": f"{part.train_mode.mean():.2f} %",
            "weights below 0.001": f"{100 * part.near_zero.mean():.1f} %",
            "mean |γ| of the weakest block": f"{part.gamma.mean():.2g}",
        }
    return DataFrame.from_dict(rows, "index").replace(["nan %", "nan"], "")


@style()
def plot(frame: DataFrame, dataset_title: str) -> Figure:
    """Accuracy by λ, a panel for each target."""
    figure, axes = panels(2.8, len(TARGET_NAMES))
    figure.subplots_adjust(left=0.17, top=1 - 0.95 / 5.6, hspace=0.32)
    axes[0].set_xscale("symlog", linthresh=LAMBDAS[1])
    axes[0].set_xticks(LAMBDAS, ["0", "0.00001", "0.0001", "0.001", "0.01"])
    for ax, target in zip(axes, TARGET_NAMES, strict=True):
        part = frame[(frame.l1_target == target) | (frame.l1_lambda == 0) | (frame.norm == "none")]
        ax.axvline(STRONGEST, color=MUTED, linewidth=1, linestyle=":")
        common.plot_accuracies(ax, part, "l1_lambda", frame)
        _label_chance(ax, part)
        ax.set(xlabel=f"λ on {TARGET_NAMES[target]}", ylabel="accuracy (%)")
        ax.tick_params(labelbottom=True)
    axes[0].text(STRONGEST, 0.97, "historical λ ", ha="right", va="top", transform=axes[0].get_xaxis_transform())
    subtitle = f"{common.subtitle(frame, dataset_title)}. Peak rate {RECIPES['tuned'].lr:g}; no norm: a tenth"
    return common.captioned_lines(figure, _title(frame), subtitle, frame, finding(frame))


def _title(frame: DataFrame) -> str:
    names = {"all": "all parameters", "weights": "weights alone"}
    parts = []
    for target, (free, strong) in _beside_strongest(frame).items():
        cost = free - strong
        parts.append(f"{cost.min():.0f} to {cost.max():.0f} points on {names[target]}")
    if not parts:
        return "Is it the normalisation, or the penalty?"
    return f"λ = {STRONGEST:g} costs {', '.join(parts)}"


def _label_chance(ax: Axes, frame: DataFrame) -> None:
    """Marks the accuracy of guessing, and the cases of which some seeds ended there and others far above."""
    if frame.val_accuracy.min() > CHANCE:
        return
    ax.axhline(10, color=MUTED, linewidth=1, linestyle=":")
    ax.text(0.02, 0.05, "10 %: chance", transform=ax.transAxes)
    for (_, strength), case in frame.groupby(["norm", "l1_lambda"]).val_accuracy:
        if case.min() < CHANCE and case.max() > 50:
            label = f"{sum(case < CHANCE)} of {len(case)}\nat chance"
            ax.annotate(label, (strength, case.mean()), (8, 8), textcoords="offset points")
