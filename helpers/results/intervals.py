"""How sure a number is: intervals and tests for accuracies over images and over seeds."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

LEVEL = 0.95  # of every interval; 1 - LEVEL is the level of every test


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Wilson's score interval of `correct` successes out of `total`, in percent (Wilson 1927)."""
    interval = stats.binomtest(correct, total).proportion_ci(LEVEL, method="wilson")
    return 100 * interval.low, 100 * interval.high


def half_width(values: Sequence[float], checks: int = 1) -> float:
    """Half of the mean's t-interval; nan for one value. checks: how many hold at once (Bonferroni)."""
    if len(values) < 2:
        return float("nan")
    return float(stats.t.ppf(1 - (1 - LEVEL) / 2 / checks, len(values) - 1) * stats.sem(values))


def prediction_half_width(values: Sequence[float], checks: int = 1) -> float:
    """Half the width of the interval in which one further value of the same kind lies."""
    return half_width(values, checks) * (len(values) + 1) ** 0.5


def mcnemar_p(only_a: int, only_b: int) -> float:
    """McNemar's exact two-sided p-value; `only_a` images are right for a alone, `only_b` for b."""
    return float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def paired_p(differences: Sequence[float], mcnemar: Sequence[float] = ()) -> float:
    """p-value of the paired t-test on differences over seeds.

    Equal differences have no spread to divide by: they get the exact sign test's. With the single seeds'
    `mcnemar` p-values it is the smaller of that and the largest of these, doubled for having the choice.
    """
    if np.ptp(differences) > 0:
        return float(stats.ttest_1samp(differences, 0).pvalue)
    sign = 1.0 if differences[0] == 0 else 2 * 0.5 ** len(differences)
    return min(1.0, 2 * min(sign, max(mcnemar))) if mcnemar else sign


def equivalence_p(differences: Sequence[float], margin: float) -> float:
    """p-value of two one-sided paired t-tests against a mean of `margin` or more, either way (Schuirmann 1987).

    Equal differences have no spread to divide by: they get the exact sign test's.
    """
    if np.ptp(differences) == 0:
        return 0.5 ** len(differences) if abs(differences[0]) < margin else 1.0
    below = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    above = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    return float(max(below, above))


def crossed_half_width(outcomes: np.ndarray, num_images: int) -> float:
    """Half the interval of a mean difference on new images of the same kind, with new seeds.

    outcomes: (seeds, images): 1 where a alone is right, -1 where b alone is, 0 elsewhere. Images without any
    difference may be left out; num_images counts them too. nan for one seed.

    The bootstrap that draws seeds and images independently (Owen 2007, "The pigeonhole bootstrap"), with as many
    draws as one likes: its variance has a closed form. It counts the interaction of seed and image three times;
    two are taken off. The degrees of freedom are Satterthwaite's.
    """
    num_seeds = len(outcomes)
    if num_seeds < 2:
        return float("nan")
    by_seed = outcomes.sum(1)
    by_image = np.square(outcomes.mean(0)).sum()
    # Sum of squares of what is left of each outcome without its seed's mean and its image's.
    left = np.square(outcomes).sum() - num_seeds * by_image - num_seeds * by_seed.var() / num_images
    interaction = left / (num_seeds - 1) / (num_images - 1) * num_images / num_seeds
    seeds = by_seed.var(ddof=1) / num_seeds
    # The images' part, with the interaction once more as the bootstrap draws it, and without the two.
    once = (1 - 1 / num_seeds) * (1 - 1 / num_images)
    images = max(0.0, by_image - by_seed.mean() ** 2 / num_images + (once - 2) * interaction)
    if seeds + images == 0:
        return 0.0
    freedom = (seeds + images) ** 2 / (seeds**2 / (num_seeds - 1) + images**2 / (num_images - 1))
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom) * (seeds + images) ** 0.5)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction (1979): the smallest times their number, the next times one less, never falling."""
    times = np.arange(len(p_values), 0, -1)
    adjusted = np.zeros(len(p_values))
    adjusted[np.argsort(p_values)] = np.maximum.accumulate(times * np.sort(p_values)).clip(max=1)
    return adjusted.tolist()
