"""Comparisons of two, seed by seed: differences, verdicts, the headline; every comparison that was ever run.

The rules stand in records/plan.md. A difference is in validation images: how many more the first of two gets right.
"""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations

import numpy as np
from pandas import DataFrame, Series, concat, read_csv

from helpers.config import RECIPES, VARIANTS
from helpers.files import RECORDS
from helpers.results import intervals
from helpers.results.frames import Records, history_frame
from helpers.results.words import count_seeds, join_words, p_text
from helpers.runs.confirm import Confirmation

FREE = "free"  # stands beside the variants in a pair
SHORT = {norm: variant.short for norm, variant in VARIANTS.items()}
SHORT[FREE] = f"{VARIANTS['batch'].bare} without L1"
CONFIRMATION = "confirmation"  # among the sources of runs
MARGIN = 5 / 10_000  # share of the images; two that differ by less are equal

BETTER = "better"
EQUAL = "equal"
OPEN = "not told apart"
PAIRS = ["a", "b", "num_images", "n", "only_a", "only_b", "differences", "difference", "half_width",
         "new_images", "mcnemar", "p", "p_equal"]


def pairs_frame(records: Records, control: Records = ()) -> DataFrame:
    """Each pair of variants on the same images with the same seeds. control: each variant beside these instead.

    only_a, only_b: images that one alone gets right, mean over the common seeds. difference: images that a gets
    right more than b, mean; differences: seed by seed. half_width: of its t-interval; new_images: of the
    interval on new images (see `crossed_half_width`). p: of the paired t-test over seeds, of one seed McNemar's
    exact test; mcnemar: that p, seed by seed; p_equal: that they differ by the margin or more. p_holm,
    p_equal_holm: corrected for all pairs here. verdict: BETTER, EQUAL or OPEN.
    """
    wrong = {}
    for group in (records, control):
        for record in group:
            name = FREE if group is control else record["config"]["norm"]
            wrong[name, record["config"]["seed"]] = {row[0] for row in record["wrong"]}
    pairs = [(norm, FREE) for norm in VARIANTS] if control else combinations(VARIANTS, 2)
    rows = []
    for a, b in pairs:
        seeds = [seed for name, seed in wrong if name == a and (b, seed) in wrong]
        if seeds:
            num_images = records[0]["dataset"]["num_val"]
            compared = _compare([wrong[a, seed] for seed in seeds], [wrong[b, seed] for seed in seeds], num_images)
            rows.append({"a": a, "b": b, "num_images": num_images, **compared})
    frame = DataFrame(rows, columns=PAIRS)
    frame = frame.assign(p_holm=intervals.holm(frame.p), p_equal_holm=intervals.holm(frame.p_equal))
    several = frame.n > 1
    better = several & (frame.p_holm < 1 - intervals.LEVEL)
    equal = several & (frame.p_equal_holm < 1 - intervals.LEVEL)
    return frame.assign(verdict=np.select([better, equal], [BETTER, EQUAL], OPEN), is_small=equal)


def _compare(wrong_a: Sequence[set], wrong_b: Sequence[set], num_images: int) -> dict:
    """One pair, from the misclassified images of each seed."""
    images = list(set().union(*wrong_a, *wrong_b))
    a_wrong = np.array([np.isin(images, list(wrong)) for wrong in wrong_a])
    b_wrong = np.array([np.isin(images, list(wrong)) for wrong in wrong_b])
    only_a = (b_wrong & ~a_wrong).sum(1)
    only_b = (a_wrong & ~b_wrong).sum(1)
    differences = only_a - only_b
    mcnemar = list(map(intervals.mcnemar_p, only_a, only_b))
    return {
        "n": len(differences), "only_a": only_a.mean(), "only_b": only_b.mean(),
        "differences": differences.tolist(), "difference": differences.mean(),
        "half_width": intervals.half_width(differences),
        "new_images": intervals.crossed_half_width(b_wrong * 1.0 - a_wrong, num_images), "mcnemar": mcnemar,
        "p": intervals.paired_p(differences, mcnemar) if len(differences) > 1 else mcnemar[0],
        "p_equal": intervals.equivalence_p(differences, MARGIN * num_images)}


def in_order(pair) -> tuple[str, str]:
    """The names of a pair, whoever is ahead first."""
    names = SHORT[pair.a], SHORT[pair.b]
    return names if pair.difference >= 0 else names[::-1]


def verdict_words(pair) -> str:
    """The verdict of one row of `pairs_frame`."""
    ahead, behind = in_order(pair)
    if pair.verdict == BETTER:
        return f"{ahead} is better than {behind}"
    if pair.verdict == EQUAL:
        return f"{ahead} and {behind} are equal within {MARGIN * pair.num_images:g} images"
    return f"{ahead} and {behind} are not told apart"


def pair_sentence(pair) -> str:
    """What one row of `pairs_frame` says."""
    ahead, behind = in_order(pair)
    images = f"of {pair.num_images:,} images"
    if pair.n == 1:
        return _one_seed_sentence(pair, ahead, behind, images)
    size = f"{abs(pair.difference):.1f} ± {pair.half_width:.1f} {images} ({p_text(pair.p_holm)}, {pair.n} seeds)"
    if pair.verdict != BETTER:
        return f"{verdict_words(pair)}: {ahead} leads by {size}."
    text = f"{verdict_words(pair)} by {size}"
    if pair.is_small:
        text += f", by less than {MARGIN * pair.num_images:g} images"
    if abs(pair.difference) <= pair.new_images:
        text += f", on these test images: on new ones ± {pair.new_images:.1f}"
    return f"{text}."


def _one_seed_sentence(pair, ahead: str, behind: str, images: str) -> str:
    if pair.difference == 0:
        return f"{ahead} and {behind} get equally many {images} right (one seed)."
    verdict = "one seed can't tell them apart"
    if pair.p_holm < 1 - intervals.LEVEL:
        verdict = "a clear gap between these two networks, but one seed can't tell it from luck"
    return (f"{ahead} gets {abs(pair.difference):.0f} {images} more right than {behind} "
            f"({p_text(pair.p_holm)}): {verdict}.")


def wins(pairs: DataFrame) -> list[tuple[str, str]]:
    """Who is better than whom."""
    better = pairs[pairs.verdict == BETTER]
    return [(pair.a, pair.b) if pair.difference > 0 else (pair.b, pair.a) for pair in better.itertuples()]


def headline(pairs: DataFrame) -> str:
    """Which normalisation to choose, by the verdicts on all pairs of two or three variants."""
    if pairs.n.max() == 1:
        return "one seed can't show which normalisation is best: run several before you choose"
    won = wins(pairs)
    num_others = len({*pairs.a, *pairs.b}) - 1
    for norm in VARIANTS:
        mine = pairs[(pairs.a == norm) | (pairs.b == norm)]
        rest = pairs.drop(mine.index)
        beaten = [loser for winner, loser in won if winner == norm]
        ahead = [winner for winner, loser in won if loser == norm]
        if len(beaten) == num_others:
            leads = mine.difference.abs().map("{:.1f}".format) + mine.half_width.map(" ± {:.1f}".format)
            return (f"choose {VARIANTS[norm].title}: it is better than {names_of(beaten)}, "
                    f"by {join_words(leads.tolist())} of {pairs.num_images[0]:,} images")
        if len(ahead) == num_others == len(won) and len(rest):
            return f"{SHORT[norm]} is behind; {_verdicts(rest)}"
    if (pairs.verdict == EQUAL).all():
        return f"the normalisation makes no difference of {MARGIN * pairs.num_images[0]:g} images: choose by cost"
    return f"{'no ranking can be made' if won else 'no difference is shown'}: {_verdicts(pairs)}"


def _verdicts(pairs: DataFrame) -> str:
    return "; ".join(map(verdict_words, pairs.itertuples()))


def cause(pairs: DataFrame, beside_control: DataFrame) -> str:
    """Why L1 + BatchNorm is behind: its penalty, its normalisation, or open; nothing where it is not behind."""
    ahead = [winner for winner, loser in wins(pairs) if loser == "batch"]
    if not ahead:
        return ""
    won = wins(beside_control)
    penalty_costs = (FREE, "batch") in won
    num_ahead = sum((norm, FREE) in won for norm in ("layer", "group"))
    if penalty_costs and num_ahead == 0:
        return f"Its penalty puts {SHORT['batch']} behind: {SHORT[FREE]} is better, and behind no other variant."
    if num_ahead == 2 and not penalty_costs:
        return f"Its normalisation puts {SHORT['batch']} behind: {SHORT[FREE]} is behind the others too."
    return (f"What puts {SHORT['batch']} behind {names_of(ahead)} is left open by the plan's rule. "
            f"{_verdicts(beside_control)}.")


def names_of(norms: Sequence[str]) -> str:
    return join_words([SHORT[norm] for norm in norms])


def evidence_frame(own: Confirmation, confirmation: Confirmation) -> DataFrame:
    """Each pair in each set of runs, the confirmation last: differences by seed, their mean and half width.

    Pairs of variants, and of each with BatchNorm without its penalty. own: the runs of the main notebook.
    """
    sources = {"this notebook": _counts(own), **_published(), CONFIRMATION: _counts(confirmation)}
    rows = []
    for a, b in [*combinations(VARIANTS, 2), *((norm, FREE) for norm in VARIANTS)]:
        for source, runs in sources.items():
            correct = runs.groupby(["seed", "norm"]).val_correct.last().unstack()
            differences = correct.reindex(columns=[a, b]).diff(-1, axis=1)[a].dropna()
            if len(differences):
                rows.append({"a": a, "b": b, "source": source, "seeds": differences.index.tolist(),
                             "differences": differences.tolist(), "difference": differences.mean(),
                             "half_width": intervals.half_width(differences),
                             "num_images": confirmation.records[0]["dataset"]["num_val"]})
    return DataFrame(rows)


def _counts(runs: Confirmation) -> DataFrame:
    control = history_frame(runs.control).assign(norm=FREE)
    return concat([history_frame(runs.records), control])


def _published() -> dict[str, DataFrame]:
    """Runs of the recipe that are kept as numbers alone: norm, seed, val_correct."""
    same = read_csv(RECORDS / "same_results.csv")
    search = read_csv(RECORDS / "search.csv")
    recipe = asdict(RECIPES["tuned"])
    shared = [name for name in search if name in recipe and not name.startswith("l1_")]
    penalty = np.where(search.norm == "batch", recipe["l1_lambda"], 0.0)
    chosen = (search[shared] == Series(recipe)[shared]).all(axis=1) & (search.l1_lambda == penalty)
    return {"bfloat16": same[(same.path == "bfloat16") & (same.num_epochs == 20)],
            "hold-out": search[chosen & (search.num_epochs == 20)]}


def against(pairs: DataFrame, evidence: DataFrame) -> str:
    """Which other runs have the other sign than the confirmation; pairs: of the confirmation."""
    others = evidence[evidence.source != CONFIRMATION]
    others = others.merge(pairs[["a", "b", "difference"]], on=["a", "b"], suffixes=("", "_confirmed"))
    parts = []
    for row in others[others.difference * others.difference_confirmed < 0].itertuples():
        ahead, behind = in_order(row)
        parts.append(f"{row.source} ({ahead} {abs(row.difference):.1f} images ahead of {behind}, "
                     f"{count_seeds(len(row.seeds))})")
    if not parts:
        return "No earlier runs of this recipe point the other way."
    return f"Earlier runs that point another way: {join_words(parts)}."
