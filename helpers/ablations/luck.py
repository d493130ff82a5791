"""How much does luck weigh, and how much the study's own penalty?"""

import math

import numpy as np
from matplotlib.figure import Figure
from pandas import DataFrame, Series
from scipy import stats

from helpers.ablations import common
from helpers.config import VARIANTS, Recipe
from helpers.plots.style import INK, style
from helpers.results.frames import Records, pairs_frame
from helpers.results.intervals import LEVEL, half_width
from helpers.results.words import compare_in_words, count_seeds

FREE = "free"  # stands beside the variants in a pair
NAMES = {norm: variant.short for norm, variant in VARIANTS.items()}
NAMES[FREE] = f"{VARIANTS['batch'].bare} without the penalty"


@common.for_each_seed
def runs(recipe: Recipe) -> list[tuple]:
    """The variants as the main study trains them, and BatchNorm without its penalty."""
    free = recipe.without_l1()
    cases = [(norm, recipe if variant.l1 else free, 2) for norm, variant in VARIANTS.items()]
    return [*cases, ("batch", free, 2)]


def split_by_penalty(records: Records) -> tuple[list, list]:
    """The records of the variants as they are, and of those that lack the penalty they should have."""
    parts = ([], [])
    for record in records:
        config = record["config"]
        lacks_penalty = VARIANTS[config["norm"]].l1 and config["recipe"]["l1_lambda"] == 0
        parts[lacks_penalty].append(record)
    return parts


def frame(records: Records, without_l1: Records = ()) -> DataFrame:
    """`pairs_frame`, then each variant beside BatchNorm without its penalty (b is FREE).

    Three columns more. std: of a pair's difference over seeds (images). seeds_at_least, seeds_at_most: see
    `seeds_needed`, for the difference as large as seen, and as small as its interval leaves it. Columns that
    need the single images are empty beside FREE.
    """
    pairs = pairs_frame(records)
    rows = pairs.to_dict("records")
    free = _correct(without_l1, "batch")
    for norm in VARIANTS:
        correct = _correct(records, norm)
        differences = [correct[seed] - free[seed] for seed in correct if seed in free]
        if differences:
            rows.append({"a": norm, "b": FREE, "n": len(differences), "difference": np.mean(differences),
                         "half_width": half_width(differences), "differences": differences})
    pairs = DataFrame(rows, columns=pairs.columns)
    std = pairs.differences.map(lambda differences: Series(differences).std())
    smallest = (pairs.difference.abs() - pairs.half_width).clip(lower=0)
    return pairs.assign(std=std, seeds_at_least=list(map(seeds_needed, pairs.difference, std)),
                        seeds_at_most=list(map(seeds_needed, smallest, std)))


def _correct(records: Records, norm: str) -> dict[int, int]:
    """Images right in the last epoch, by seed."""
    return {record["config"]["seed"]: record["history"][-1]["val_correct"]
            for record in records if record["config"]["norm"] == norm}


def seeds_needed(difference: float, std: float) -> float:
    """The smallest number of seeds at which a paired t-test finds `difference` with a power of 0.8.

    inf above 10,000, nan without a spread. From the noncentral t distribution (Cohen 1988, chapter 2).
    """
    if not std > 0:
        return math.nan
    n = np.arange(2, 10_001)
    critical = stats.t.ppf((1 + LEVEL) / 2, n - 1)
    power = stats.nct.sf(critical, n - 1, abs(difference) / std * n**0.5)  # the other tail's share is < 1e-6
    return min(n[~(power < 0.8)], default=math.inf)


def finding(frame: DataFrame) -> str:
    """How many seeds it would take to tell the variants apart."""
    parts = []
    for pair in frame[frame.seeds_at_least.notna()].itertuples():
        part = (f"{NAMES[pair.a]} and {NAMES[pair.b]}, {abs(pair.difference):.1f} images apart with a "
                f"spread over seeds of {pair.std:.1f}: {pair.seeds_at_least:,.0f} seeds")
        if pair.seeds_at_least < math.inf:
            part += f", or {pair.seeds_at_most:,.0f} if the difference is as small as its interval allows"
        parts.append(part)
    if not parts:
        return common.TOO_FEW
    needed = "; ".join(parts).replace("inf", "more than 10,000")
    return f"To show the difference seen, four times in five and each pair tested alone, it takes: {needed}."


def own_penalty_finding(frame: DataFrame, without_l1: Records) -> str:
    """Whether the third variant's gap in the main study is its penalty's. frame: the rows beside FREE."""
    if frame.empty:
        return common.TOO_FEW
    beside = {NAMES[pair.a]: Series(pair.differences) for pair in frame.itertuples()}
    right = list(_correct(without_l1, "batch").values())
    num_val = without_l1[0]["dataset"]["num_val"]
    return (f"{NAMES[FREE]} gets {np.mean(right):,.1f} of {num_val:,} images right "
            f"({count_seeds(len(right))}). Beside it: {compare_in_words(beside, 'images')}.")


@style()
def plot(frame: DataFrame, dataset_title: str) -> Figure:
    """Each pair's difference seed by seed, with its mean and interval."""
    rows = {}
    for pair in frame.itertuples():
        name = f"{NAMES[pair.a]} against\n{NAMES[pair.b]}".replace(" without", "\nwithout")
        note = f"{pair.difference:+.1f} ± {pair.half_width:.1f} images\nseeds: {pair.seeds_at_least:,.0f}"
        if pair.seeds_at_most > pair.seeds_at_least:
            note += f" to {pair.seeds_at_most:,.0f}"
        rows[name] = (pair.differences, note.replace("inf", "> 10,000"))
    subtitle = (f"{dataset_title}: how many images more the first of two gets right. Dots: seeds; bar: mean "
                "and 95 % interval.\nRight: how many seeds it takes to show the difference")
    ax = common.plot_rows(rows, "How much does luck weigh?", subtitle)
    ax.axvline(0, color=INK)
    ax.errorbar(frame.difference, list(rows), xerr=frame.half_width.fillna(0), fmt="none", color=INK,
                capsize=5)
    ax.set_xlabel("difference (images)")
    return ax.figure
