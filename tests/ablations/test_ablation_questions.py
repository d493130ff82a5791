"""Each question's runs vary what it asks about and nothing else; sentence and table say what its records say."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from ablation_records import LABELS, TUNED, on_own_batches, record

from helpers.ablations import affine, batch_size, groups, inside, luck, penalty
from helpers.ablations.common import TOO_FEW
from helpers.config import RECIPES
from helpers.data import normalize
from helpers.model import build_model
from helpers.runs.one import fit
from helpers.runs.store import Store


def frame(question, accuracy, seeds=(0, 1, 2)):
    """The question's frame when each of its runs ends at `accuracy(config)`."""
    return question.frame([record(config, accuracy(config)) for config in question.runs(TUNED, seeds, 5)])


def is_strongest(config) -> bool:
    return config.recipe.l1_target == "all" and config.recipe.l1_lambda == 0.01


def test_penalty_question():
    configs = penalty.runs(TUNED, (0, 1), 5)
    assert len(configs) == len(set(configs)) == (3 * (1 + 4 * 2) + 5) * 2
    free = TUNED.without_l1()
    varied = {(c.norm == "none", c.recipe.without_l1()) for c in configs}
    assert varied == {(False, free), (True, replace(free, lr=0.02))}, "nothing else differs"

    def finding(fall: float, fall_of_batch: float) -> str:
        falls = {"layer": fall - 0.02, "group": fall, "batch": fall_of_batch, "none": 0}
        return penalty.finding(frame(penalty, lambda c: 99.5 - falls[c.norm] * is_strongest(c), (0, 1)))

    assert finding(3, 3) == (
        "λ = 0.01 on all parameters, the strength of the historical run, at this recipe's peak rate of 0.2, takes "
        "LayerNorm from 99.50 to 96.52 %, GroupNorm from 99.50 to 96.50 %, BatchNorm from 99.50 to 96.50 % (2 seeds): "
        "the penalty decides here, not the normalisation.")
    assert finding(0.03, 0.03).endswith(": penalty and normalisation are not told apart.")
    assert finding(3, 60).endswith("not told apart."), "what the penalty costs depends on the normalisation"


def test_penalty_table_holds_what_was_put_in():
    """Targets, weaker penalties, own batches, weights near zero and γ."""
    records = []
    for c in penalty.runs(TUNED, (0, 1, 2), 5):
        own = {"near_zero": 0.9, "gamma": [0.2, 0.4]} if is_strongest(c) else {"near_zero": 0.01, "gamma": [1.0, 2.0]}
        fall = 88.15 if is_strongest(c) else (0.2 - 0.01 * c.seed) * (c.recipe.l1_lambda == 1e-4)
        records.append(record(c, 99.5 - fall, **own, **on_own_batches(c, 9875)))
    table = penalty.table(penalty.frame(records), LABELS)
    assert len(table) == 3 * 9 + 5
    assert table.loc["BatchNorm, λ = 0.01 on all parameters"].tolist() == [
        "11.35 %", "yes", "-88.15 ± 0.00 points (p = 0.25)", "98.75 %", "90.0 %", "0.2"]
    # 4.303 * 0.01 / sqrt(3); p = 0.00092 by scipy's ttest_1samp
    assert table.loc["LayerNorm, λ = 0.0001 on the convolution weights"].tolist() == [
        "99.31 %", "no", "-0.19 ± 0.02 points (p < 0.001)", "", "1.0 %", "1"]


def test_affine_question():
    configs = affine.runs(TUNED, (0, 1, 2), 5)
    assert [(c.norm, c.num_groups) for c in configs[::3]] == [("layer", None), ("layer_plain", None), ("group", 1)]
    sentence = affine.finding(frame(affine, lambda c: 99 + 0.1 * (c.seed + 1) * (c.norm == "layer")))
    # 4.303 * 0.1 / sqrt(3); p = 0.074 by scipy's ttest_1samp, twice that for two tests
    assert ("beside GroupNorm(1, C), with 64,248 parameters more: +0.20 ± 0.25 points (p = 0.15: no difference shown)"
            in sentence)
    assert "with 64,448 more:" in sentence
    assert sentence.endswith("± 0.25 points (p = 0.15: no difference shown) (3 seeds).")
    steady = frame(affine, lambda c: 99 + (0.1 + 0.001 * c.seed) * (c.norm == "layer"))
    assert affine.finding(steady).count(": a difference)") == 2
    few = affine.finding(frame(affine, lambda c: 99 + 0.1 * (c.seed + 1) * (c.norm == "layer"), (0, 1)))
    assert "more: +0.10 and +0.20 points; beside" in few and few.endswith("(2 seeds).")


def test_group_question():
    accuracies = {1: 99.4, 2: 99.5, 4: 99.3, None: 11.35}
    table = frame(groups, lambda c: accuracies[c.num_groups], (0,))
    assert list(table.groups) == ["1", "2", "4", "C"]
    assert groups.finding(table, LABELS) == (
        "Beside the study's 2 groups: 1 group -0.10 points; 4 groups -0.20 points (one seed). With G = C it ends at "
        "11.35 %, the share of one digit: all images get the same answer.")
    near = groups.finding(frame(groups, lambda c: accuracies[c.num_groups] + 0.02, (0,)), LABELS)
    assert near.endswith("it ends at 11.37 %."), "no digit has this share"


def test_one_group_a_channel_sees_nothing(tiny_data):
    """Each pooled value of the last block is then its β: the mean of a normalised channel is 0 whatever the image."""
    images = normalize(tiny_data.val_images).double()
    logits = build_model("instance", seed=0).double()(images)
    assert (logits - logits[0]).abs().max() < 1e-9
    assert build_model("group", 4, seed=0).double()(images).std(0).min() > 0.01


def test_batch_size_question(tiny_data):
    configs = batch_size.runs(TUNED, (0,), 4)
    assert len(configs) == 18
    for config in configs:
        assert config.recipe.lr / min(64, config.recipe.batch_size) == pytest.approx(0.2 / 64)
        assert config.recipe.ema_decay ** (64 / config.recipe.batch_size) == pytest.approx(0.999)
        assert config.recipe.l1_lambda == 0
    fallen = [c for c in configs if c.norm == "batch" and c.recipe.batch_size == 2]
    told = batch_size.frame([record(c, 90.0 if c in fallen else 99.0, **on_own_batches(c, 9500)) for c in configs])
    table = batch_size.table(told)
    assert batch_size.finding(told) == (
        "With 60,000 training images, from 64 images a batch to 2: LayerNorm 0.00 points; GroupNorm 0.00 points; "
        "BatchNorm -9.00 points (one seed).")
    assert table.loc["2"].filter(like="BatchNorm").tolist() == ["90.00 %", "95.00 %", "-9.00 points"]
    assert list(table.index) == ["2", "4", "8", "16", "64", "256"] and table.loc["64", "BatchNorm beside 64"] == ""
    fewer = batch_size.few_images(tiny_data, 20)
    assert len(fewer.train_labels) == len(fewer.train_images) == 20 and len(fewer.val_labels) == 30
    assert fewer.fingerprint != tiny_data.fingerprint == batch_size.few_images(tiny_data, 10**6).fingerprint


def test_gaps_stop_no_sentence():
    for question, arguments in ((penalty, ()), (affine, ()), (batch_size, ()), (groups, (LABELS,))):
        configs = question.runs(TUNED, (0, 1), 5)
        for kept in (configs[:1], configs[:3], configs[::2]):
            table = question.frame([record(config, 99.0) for config in kept])
            assert question.finding(table, *arguments).endswith(".")
    one = [record(config, 99.0) for config in penalty.runs(TUNED, (0,), 5) if config.norm == "layer"]
    assert penalty.finding(penalty.frame(one)) == TOO_FEW, "one normalisation says nothing about normalisations"
    assert penalty.table(penalty.frame([]), LABELS).empty and batch_size.table(batch_size.frame([])).empty


def test_means_are_of_the_same_seeds():
    """Seed 1 was run for two cases only, and is worse: with it these two would look worse than the others."""
    configs = groups.runs(TUNED, (0, 1), 5)
    kept = groups.frame([record(c, 99.5 - c.seed) for c in configs if c.seed == 0 or c.num_groups in (1, 2)])
    assert set(kept.seed) == {0} and set(kept.val_accuracy) == {99.5}
    none_whole = groups.frame([record(c, 99.5) for c in configs if (c.num_groups, c.seed) in ((1, 0), (2, 1), (4, 0))])
    assert set(none_whole.seed) == {0, 1}
    assert "groups: not known, for no seed was run with both." in groups.finding(none_whole, LABELS)


def test_a_trained_runs_record_is_understood(tiny_data, make_config, tmp_path):
    config = make_config("batch", batch_size=35, num_epochs=1, l1_lambda=0.01, l1_target="all")
    trained = penalty.frame([Store(tmp_path, tiny_data).run(config).make_record(fit(config, tiny_data))])
    assert trained.l1_target.item() == "all" and trained.near_zero.item() > 0
    assert np.isfinite(trained[["gamma", "train_mode", "val_accuracy"]]).all(axis=None)


def test_watch(tiny_data, make_config):
    seen = inside.watch(make_config("none", batch_size=3), tiny_data)  # 24 batches, told of after 20
    assert list(seen["update"].unique()) == [0, 20, 24, 44, 48] and list(seen.block.unique()) == [1, 2, 3, 4, 5, 6]
    assert seen[seen["update"] == 0].gradient.isna().all() and (seen[seen["update"] > 0].gradient > 0).all()
    first = build_model("none", seed=0).layers[0][0](normalize(tiny_data.val_images))
    assert seen.iloc[0][["mean", "std"]].tolist() == pytest.approx([first.mean().item(), first.std().item()], rel=1e-4)


def test_a_dead_network_is_told():
    def seen(last_sign_of_life: int) -> pd.DataFrame:
        rows = [(norm, update, block, 0.0, (0.5 if update < 40 else 90.0) * block, 0.5 if block == 1 else 2.0)
                for norm in ("layer", "none") for update in (0, 20, 40, 60) for block in range(1, 7)]
        table = pd.DataFrame(rows, columns=inside.COLUMNS)
        table.loc[(table.norm == "none") & (table["update"] > last_sign_of_life), "gradient"] = 0.0
        table.loc[table["update"] == 0, "gradient"] = math.nan
        return table

    assert inside.finding(seen(20)) == (
        "Standard deviation of the activations before training, first block and last: LayerNorm 0.5 and 3, no norm 0.5 "
        "and 3 (one seed). The network with no norm dies between updates 20 and 40: from then on all gradients are 0.")
    assert inside.table(seen(20)).to_numpy().tolist() == [
        ["0.25", "3 at first, 540 by update 60"], ["all 0 in the end", "3 at first, 540 by update 40"]]
    assert "dies between updates 40 and 60" in inside.finding(seen(40)) and "dies" not in inside.finding(seen(60))
    assert [(run.norm, run.recipe.l1_lambda) for run in inside.runs(TUNED)] == [
        ("layer", 0), ("group", 0), ("batch", 0), ("none", 0)] and inside.table(seen(0).head(0)).empty


def test_luck_needs_so_many_seeds(make_config):
    assert luck.seeds_needed(1.0, 1.0) == 10  # Cohen 1988, table 2.4.1: d = 1.0, two-sided 0.05, power 0.80, one sample
    assert luck.seeds_needed(0.5, 1.0) == 34 and luck.seeds_needed(30.0, 1.0) == 2
    assert math.isinf(luck.seeds_needed(0.0, 1.0)) and math.isnan(luck.seeds_needed(1.0, 0.0))
    pair = luck.frame([record(make_config(norm, seed), 99.5 + (norm == "layer") * (0.04 + 0.01 * seed))
                       for norm in ("layer", "group") for seed in (0, 1, 2)])
    assert pair[["a", "b", "difference", "std", "n"]].to_numpy().tolist() == [["layer", "group", 5.0, 1.0, 3]]
    low, high = luck.seeds_needed(5.0, 1.0), luck.seeds_needed(5 - 4.302653 / 3**0.5, 1.0)  # of its interval
    assert (f"LayerNorm and GroupNorm, 5.0 images apart with a spread over seeds of 1.0: {low} seeds, or {high} if the "
            "difference is as small as its interval allows.") in luck.finding(pair)


def test_each_variant_stands_beside_batchnorm_without_its_penalty():
    """Planted: the penalty costs 10, 9 and 11 images; LayerNorm is 1, 0 and -1 ahead of BatchNorm without it."""
    original = RECIPES["original"]
    configs = luck.runs(original, (0, 1, 2, 3), 1)
    free = original.without_l1()
    assert [(c.norm, c.recipe) for c in configs[::4]] == [
        ("layer", free), ("group", free), ("batch", original), ("batch", free)]
    study, without_l1 = luck.split_by_penalty([record(c, 99.5) for c in configs])
    assert [one["config"]["norm"] for one in study[::4]] == ["layer", "group", "batch"] and len(without_l1) == 4
    layer = [record(c, 99.5 + 0.01 * (1 - c.seed)) for c in configs[:3]]
    batch = [record(c, 99.5 - 0.01 * (10, 9, 11)[c.seed]) for c in configs[8:11]]

    def own_penalty(records, without_l1) -> str:
        pairs = luck.frame(records, without_l1)
        return luck.own_penalty_finding(pairs[pairs.b == luck.FREE], without_l1)

    pairs = luck.frame(layer + batch, without_l1)
    assert pairs[["a", "b", "differences"]].to_numpy().tolist() == [
        ["layer", "batch", [11, 9, 10]], ["layer", luck.FREE, [1, 0, -1]], ["batch", luck.FREE, [-10, -9, -11]]]
    # 4.303 * 1 / sqrt(3); t = 10 * sqrt(3), p = 0.0033 with 2 degrees of freedom, twice that for two tests
    assert own_penalty(layer + batch, without_l1) == (
        "BatchNorm without the penalty gets 9,950.0 of 10,000 images right (4 seeds). Beside it: LayerNorm 0.0 ± 2.5 "
        "images (p = 1.00: no difference shown); L1 + BatchNorm -10.0 ± 2.5 images (p = 0.007: a difference) "
        "(3 seeds).")
    assert own_penalty(layer + batch, without_l1[:2]).endswith(
        "(2 seeds). Beside it: LayerNorm +1.0 and 0.0 images; L1 + BatchNorm -10.0 and -9.0 images (2 seeds).")
    assert "LayerNorm +1.0 images (one seed); L1 + Batch" in own_penalty(layer[:1] + batch, without_l1)
