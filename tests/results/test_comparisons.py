"""Verdicts, headlines and causes say what the pairs say, as records/plan.md has it."""

import numpy as np
import pytest
from planted import MNIST, arm, record
from scipy import stats

from helpers.results import comparisons
from helpers.results.comparisons import FREE, cause, headline, pair_sentence, pairs_frame
from helpers.results.intervals import holm, mcnemar_p
from helpers.runs.confirm import Confirmation

SEEDS = range(20)


def noisy(norm: str, mean: float, spread: float = 2.0) -> list[dict]:
    """Twenty runs with `mean` errors on average, exactly, whose differences to another variant are noise."""
    rng = np.random.default_rng(sum(map(ord, norm)))
    noise = rng.normal(0, spread, len(SEEDS))
    errors = np.round(mean + noise - noise.mean()).astype(int)
    errors[0] += round(mean * len(SEEDS)) - errors.sum()
    return arm(norm, *errors)


def study(layer: float, group: float, batch: float, spread: float = 2.0):
    return pairs_frame(noisy("layer", layer, spread) + noisy("group", group, spread) + noisy("batch", batch, spread))


def test_pairs_are_compared_on_the_same_images():
    records = [record("layer", 0, [1, 2, 3]), record("group", 0, [3, 4]), record("batch", 1, [])]
    [pair] = pairs_frame(records).itertuples()  # batch has no seed in common
    assert (pair.only_a, pair.only_b, pair.difference) == (1, 2, -1) and pair.p == mcnemar_p(1, 2)
    assert pairs_frame([]).empty and pairs_frame(records[:1]).empty


def test_tests_are_scipys_and_corrected_for_the_family():
    pairs = study(50, 52, 60)
    for pair in pairs.itertuples():
        assert pair.difference == pytest.approx(np.mean(pair.differences))
        assert pair.p == pytest.approx(stats.ttest_1samp(pair.differences, 0).pvalue)
        low, high = stats.t.interval(0.90, 19, np.mean(pair.differences), stats.sem(pair.differences))
        assert (pair.p_equal < 0.05) == (low > -5 and high < 5), "as the 90 % interval lies within the margin"
    assert pairs.p_holm.tolist() == holm(pairs.p) and pairs.p_equal_holm.tolist() == holm(pairs.p_equal)
    assert study(50, 50, 60, 9).verdict[0] == comparisons.OPEN, "0.045, p of a difference of 5 images, times three"


@pytest.mark.parametrize(("group", "spread", "words"), [
    (60, 2, "LayerNorm is better than GroupNorm by 10.0 ± "),
    (50, 2, "LayerNorm and GroupNorm are equal within 5 images: LayerNorm leads by 0.0 ± "),
    (53, 12, "LayerNorm and GroupNorm are not told apart: LayerNorm leads by 3.0 ± "),
    (47, 12, "GroupNorm and LayerNorm are not told apart: GroupNorm leads by 3.0 ± ")])
def test_three_verdicts(group, spread, words):
    [pair] = pairs_frame(noisy("layer", 50, spread) + noisy("group", group, spread)).itertuples()
    assert pair_sentence(pair).startswith(words) and comparisons.verdict_words(pair) in words
    assert pair_sentence(pair).endswith(" seeds).") and "of 10,000 images (p" in pair_sentence(pair)


def test_a_small_lead_is_called_small_and_one_on_these_images_alone_too():
    [small] = pairs_frame(noisy("layer", 50, 1) + noisy("group", 52, 1)).itertuples()
    assert "LayerNorm is better than GroupNorm by 2.0 ± " in pair_sentence(small)
    assert ", by less than 5 images" in pair_sentence(small)
    # Every seed errs on the very same images: the seeds never differ, other images may.
    ten = [record("group", seed, [*range(30), *range(100, 110)], MNIST) for seed in SEEDS]
    six = [record("layer", seed, [*range(30), *range(200, 206)], MNIST) for seed in SEEDS]
    [pair] = pairs_frame(six + ten).itertuples()
    assert pair.half_width == 0 and pair.new_images == pytest.approx(1.96 * 16**0.5, rel=0.02)
    assert pair_sentence(pair).endswith(", on these test images: on new ones ± 7.8.")
    [far] = pairs_frame(noisy("layer", 50, 1) + noisy("group", 80, 1)).itertuples()
    assert "on new ones" not in pair_sentence(far) and "by less than" not in pair_sentence(far)


def test_one_seed_has_no_verdict():
    for layer, group, said in (
            (3, 5, "LayerNorm gets 2 of 10,000 images more right than GroupNorm (p = 0.50): one seed can't tell them "
                   "apart."),
            (9, 0, "GroupNorm gets 9 of 10,000 images more right than LayerNorm (p = 0.004): a clear gap between these "
                   "two networks, but one seed can't tell it from luck."),
            (4, 4, "LayerNorm and GroupNorm get equally many of 10,000 images right (one seed).")):
        [pair] = pairs_frame(arm("layer", layer) + arm("group", group)).itertuples()
        assert pair_sentence(pair) == said
    assert headline(pairs_frame(arm("layer", 1) + arm("group", 90))).startswith("one seed can't show which")
    behind = headline(pairs_frame(arm("layer", 5, 6) + arm("group", 6, 5) + arm("batch", 100)))
    assert "behind" not in behind and "LayerNorm and L1 + BatchNorm are not told apart" in behind


def test_headlines_of_the_plan():
    assert headline(study(40, 50, 60)).startswith(
        "choose Layer Normalization: it is better than GroupNorm and L1 + BatchNorm, by 10.0 ± ")
    assert headline(study(60, 50, 60)).startswith("choose Group Normalization: it is better than LayerNorm and L1")
    assert headline(study(50, 50, 60)) == "L1 + BatchNorm is behind; LayerNorm and GroupNorm are equal within 5 images"
    assert headline(study(60, 50, 50)) == "LayerNorm is behind; GroupNorm and L1 + BatchNorm are equal within 5 images"
    assert headline(study(50, 50, 50)) == "the normalisation makes no difference of 5 images: choose by cost"
    assert headline(study(50, 50, 50, 20)).startswith("no difference is shown: LayerNorm and GroupNorm are not told")
    unclear = study(50, 53, 56).assign(verdict=["not told apart", "better", "not told apart"])
    assert headline(unclear) == ("no ranking can be made: LayerNorm and GroupNorm are not told apart; LayerNorm is "
                                 "better than L1 + BatchNorm; GroupNorm and L1 + BatchNorm are not told apart")
    first = unclear.assign(verdict=["better", "equal", "not told apart"])
    assert headline(first) == (
        "no ranking can be made: LayerNorm is better than GroupNorm; LayerNorm and L1 + BatchNorm are equal within 5 "
        "images; GroupNorm and L1 + BatchNorm are not told apart")
    two = pairs_frame(noisy("group", 50) + noisy("batch", 40))
    assert headline(two).startswith("choose L1 + Batch Normalization: it is better than GroupNorm, by 10.0 ± ")


@pytest.mark.parametrize(("batch", "free", "says"), [
    (60, 50, "Its penalty puts L1 + BatchNorm behind"), (60, 60, "Its normalisation puts L1 + BatchNorm behind"),
    (70, 60, "left open"), (50, 50, "")])
def test_what_puts_the_third_behind(batch, free, says):
    records = noisy("layer", 50) + noisy("group", 50) + noisy("batch", batch)
    control = [record("batch", number, range(len(made["wrong"])), MNIST)
               for number, made in enumerate(noisy("layer", free))]
    beside = pairs_frame(records, control)
    assert beside[["a", "b"]].to_numpy().tolist() == [["layer", FREE], ["group", FREE], ["batch", FREE]]
    said = cause(pairs_frame(records), beside)
    assert says in said and bool(said) == bool(says)


def test_every_comparison_stands_beside_the_confirmation():
    own = Confirmation(arm("layer", 50, 51) + arm("batch", 48, 49), arm("batch", 45, 46), 0)
    confirmed = noisy("layer", 40) + noisy("group", 50) + noisy("batch", 50)
    evidence = comparisons.evidence_frame(own, Confirmation(confirmed, noisy("batch", 45), 80))
    rows = evidence.set_index(["a", "b", "source"]).sort_index()
    assert list(rows.loc["layer", "batch"].index) == ["bfloat16", "confirmation", "hold-out", "this notebook"]
    assert list(rows.loc["layer", "group"].index) == ["bfloat16", "confirmation", "hold-out"]
    assert list(rows.loc["layer", FREE].index) == ["confirmation", "this notebook"]
    # same_results.csv: 9,952 + 9,955 + 9,949 right with LayerNorm, 9,954 + 9,953 + 9,954 with L1 + BatchNorm
    assert rows.loc[("layer", "batch", "bfloat16"), "difference"] == pytest.approx(-5 / 3)
    assert rows.loc[("layer", "batch", "this notebook"), "differences"] == [-2, -2]
    assert rows.loc[("layer", FREE, "this notebook"), "differences"] == [-5, -5]
    assert rows.loc[("layer", "batch", "hold-out"), "seeds"] == [0], "the seed that both were run with"
    said = comparisons.against(pairs_frame(confirmed), evidence)
    assert said.startswith("Earlier runs that point another way: bfloat16 (GroupNorm 2.3 images ahead of LayerNorm, 3 ")
    assert "this notebook (L1 + BatchNorm 2.0 images ahead of LayerNorm, 2 seeds)" in said
    agree = evidence[evidence.source.isin(["this notebook", "confirmation"]) & (evidence.b != "batch")]
    assert comparisons.against(pairs_frame(confirmed), agree) == "No earlier runs of this recipe point the other way."
