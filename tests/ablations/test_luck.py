"""How many seeds tell variants apart, and what the study's own penalty costs."""

import math

from ablation_records import record

from helpers.ablations import luck
from helpers.config import RECIPES


def test_runs_are_the_studys_and_batchnorm_without_its_penalty():
    free = RECIPES["original"].without_l1()
    configs = luck.runs(RECIPES["original"], (7,), 3)
    assert [(c.norm, c.recipe) for c in configs] == [
        ("layer", free), ("group", free), ("batch", RECIPES["original"]), ("batch", free)]
    study, without_l1 = luck.split_by_penalty([record(config, 99) for config in configs])
    assert [one["config"]["norm"] for one in study] == ["layer", "group", "batch"] and len(without_l1) == 1


def test_luck_needs_so_many_seeds(make_config):
    assert luck.seeds_needed(1.0, 1.0) == 10  # Cohen 1988, table 2.4.1: d = 1.0, two-sided 0.05, power 0.80, one sample
    assert luck.seeds_needed(0.5, 1.0) == 34
    assert math.isinf(luck.seeds_needed(0.0, 1.0)) and math.isnan(luck.seeds_needed(1.0, 0.0))
    records = [record(make_config(norm, seed), 99.5 + (norm == "layer") * (0.04 + 0.01 * seed))
               for norm in ("layer", "group") for seed in (0, 1, 2)]
    (row,) = luck.frame(records).itertuples()
    assert (row.a, row.b, row.difference, row.std, row.n) == ("layer", "group", 5.0, 1.0, 3)
    # its interval is 5 ± 4.303 * 1 / sqrt(3)
    smallest = 5 - 4.302653 / 3**0.5
    assert (row.seeds_at_least, row.seeds_at_most) == (luck.seeds_needed(5.0, 1.0), luck.seeds_needed(smallest, 1.0))
    assert (f"5.0 images apart with a spread over seeds of 1.0: {row.seeds_at_least:.0f} seeds, or "
            f"{row.seeds_at_most:.0f} if the difference is as small") in luck.finding(luck.frame(records))


def test_each_variant_stands_beside_batchnorm_without_its_penalty(make_config):
    """Planted: the penalty costs 10, 9 and 11 images; LayerNorm is 1, 0 and -1 ahead of BatchNorm without it."""
    seeds = (0, 1, 2)
    layer = [record(make_config("layer", seed), 99.5 + 0.01 * (1 - seed)) for seed in seeds]
    batch = [record(make_config("batch", seed), 99.5 - 0.01 * (10, 9, 11)[seed]) for seed in seeds]
    free = [record(make_config("batch", seed, l1_lambda=0.0), 99.5) for seed in (*seeds, 3)]

    def own_penalty(records, without_l1):
        frame = luck.frame(records, without_l1)
        return luck.own_penalty_finding(frame[frame.b == luck.FREE], without_l1)

    frame = luck.frame(layer + batch, free)
    assert list(zip(frame.a, frame.b, frame.n, strict=True)) == [
        ("layer", "batch", 3), ("layer", luck.FREE, 3), ("batch", luck.FREE, 3)]
    assert [list(row) for row in frame.differences] == [[11, 9, 10], [1, 0, -1], [-10, -9, -11]]
    # 4.303 * 1 / sqrt(3); t = 10 * sqrt(3), p = 0.0033 with 2 degrees of freedom, twice that for two tests
    assert own_penalty(layer + batch, free) == (
        "BatchNorm without the penalty gets 9,950.0 of 10,000 images right (4 seeds). Beside it: LayerNorm 0.0 ± 2.5 "
        "images (p = 1.00: no difference shown); L1 + BatchNorm -10.0 ± 2.5 images (p = 0.007: a difference) "
        "(3 seeds).")
    few = own_penalty(layer + batch, free[:2])
    assert few.endswith("(2 seeds). Beside it: LayerNorm +1.0 and 0.0 images; L1 + BatchNorm -10.0 and -9.0 images "
                        "(2 seeds).")
    apart = own_penalty(layer[:1] + batch, free)
    assert "LayerNorm +1.0 images (one seed); L1 + BatchNorm -10.0 ± 2.5 images" in apart
    assert apart.endswith(": a difference, 3 seeds).")
