"""Each question's runs vary what it asks about and nothing else; sentence and table say what its records say."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from ablation_records import LABELS, TUNED, made_up_frame, record

from helpers.ablations import affine, batch_size, groups, inside, penalty
from helpers.ablations.common import TOO_FEW, compare, last_epochs, verdict
from helpers.data import normalize
from helpers.model import build_model
from helpers.runs.one import fit
from helpers.runs.store import Store

FREE = TUNED.without_l1()


def is_strongest(config) -> bool:
    return config.recipe.l1_target == "all" and config.recipe.l1_lambda == 0.01


def test_penalty_question():
    configs = penalty.runs(TUNED, (0, 1), 5)
    assert len(configs) == len(set(configs)) == (3 * (1 + 4 * 2) + 5) * 2
    varied = {(c.norm == "none", c.recipe.without_l1()) for c in configs}
    assert varied == {(False, FREE), (True, replace(FREE, lr=0.02))}, "nothing else differs"


def test_penalty_finding():
    def finding(norms=("layer", "group", "batch"), **falls: float) -> str:
        frame = made_up_frame(penalty, lambda c: 99.5 - falls.get(c.norm, 0) * is_strongest(c), (0, 1))
        return penalty.finding(frame[frame.norm.isin(norms)])

    assert finding(layer=2.98, group=3, batch=3) == (
        "λ = 0.01 on all parameters leaves no normalisation a mean above 96.52 %: the penalty decides (peak rate 0.2, "
        "2 seeds). λ = 0.01 on the convolution weights costs 0.00 to 0.00 points: penalty and normalisation are not "
        "told apart (peak rate 0.2, 2 seeds).")
    assert finding(layer=0.01, group=0.03, batch=0.03).count("penalty and normalisation are not told apart") == 2
    assert finding(layer=3, group=4, batch=60).startswith(
        "λ = 0.01 on all parameters leaves BatchNorm at 39.50 % and LayerNorm at 96.50 %: the normalisation decides")
    assert finding(["layer"]) == TOO_FEW, "one normalisation says nothing about normalisations"


def test_penalty_table_holds_what_was_put_in():
    def accuracy(config) -> float:
        fall = (0.2 - 0.01 * config.seed) * (config.recipe.l1_lambda == 1e-4)
        return 11.35 if is_strongest(config) else 99.5 - fall

    table = penalty.table(made_up_frame(penalty, accuracy), LABELS)
    assert len(table) == 3 * 9 + 5
    assert table.loc["no norm, λ = 0"].tolist() == ["99.50 % (99.50 to 99.50)", "no", "", "", "25.0 %", "1"]
    assert table.loc["BatchNorm, λ = 0.01 on all parameters"].tolist() == [
        "11.35 % (11.35 to 11.35)", "yes", "-88.15 ± 0.00 (p = 0.25)", "95.00 %", "25.0 %", "1"]
    # 4.303 * 0.01 / sqrt(3); p = 0.00092 by scipy's ttest_1samp
    assert table.loc["LayerNorm, λ = 0.0001 on the convolution weights"].tolist() == [
        "99.31 % (99.30 to 99.32)", "no", "-0.19 ± 0.02 (p < 0.001)", "", "25.0 %", "1"]


def test_affine_question():
    configs = affine.runs(TUNED, (0,), 5)
    assert [(c.norm, c.num_groups) for c in configs] == [("layer", None), ("layer_plain", None), ("group", 1)]

    def frame(seeds: tuple) -> pd.DataFrame:
        """LayerNorm is ahead by 0.1 points, and by 0.1 more with each seed."""
        return made_up_frame(affine, lambda c: 99 + 0.1 * (1 + c.seed) * (c.norm == "layer"), seeds)

    sentence = "LayerNorm's γ and β for each place, beside fewer or none:"
    # 4.303 * 0.1 / sqrt(3); p = 0.074 by scipy's ttest_1samp, twice that for two tests
    assert affine.finding(frame((0, 1, 2))) == f"{sentence} no difference shown (p ≥ 0.15, 3 seeds)."
    beside = "+0.20 ± 0.25 (p = 0.15)"
    assert affine.table(frame((0, 1, 2))).to_numpy().tolist() == [
        ["75,080", "99.20 % (99.10 to 99.30)", "", 3], ["10,632", "99.00 % (99.00 to 99.00)", beside, 3],
        ["10,832", "99.00 % (99.00 to 99.00)", beside, 3]]
    assert affine.finding(frame((0, 1))) == (
        f"{sentence} beside GroupNorm(1, C) +0.10 and +0.20, beside no γ, no β +0.10 and +0.20 points (2 seeds, no "
        "test).")


def test_group_question():
    accuracies = {1: 99.4, 2: 99.5, 4: 99.3, None: 11.35}
    frame = made_up_frame(groups, lambda config: accuracies[config.num_groups], (0,))
    assert groups.finding(frame, LABELS) == (
        "1 or 4 groups beside 2: 1 group -0.10, 4 groups -0.20 points (one seed, no test); G = C gives all images "
        "one answer, 11.35 %.")
    assert groups.table(frame, LABELS).to_numpy().tolist() == [
        ["99.40 %", "no", "-0.10", 1], ["99.50 %", "no", "", 1], ["99.30 %", "no", "-0.20", 1],
        ["11.35 %", "yes", "", 1]]
    near = frame.assign(val_accuracy=frame.val_accuracy + 0.02)
    assert groups.finding(near, LABELS).endswith("; G = C ends at 11.37 %."), "no digit has this share"


def test_differences_are_shown_or_not():
    """p, by scipy's ttest_1samp: 0.00075, 0.0027 and 0.81, corrected for three tests, two and one."""
    named = pd.DataFrame({"a": [1.0, 1.1, 1.2], "b": [-1.0, 0.5, 1.0], "c": [math.nan] * 3, "d": [2.0, 2.1, 2.2]})
    assert verdict(named) == (
        "a +1.10 ± 0.25 and d +2.10 ± 0.25 points (p ≤ 0.005, 3 seeds); no difference shown for b")
    assert compare(named).text.tolist() == [
        "+1.10 ± 0.25 (p = 0.005)", "+0.17 ± 2.59 (p = 0.81)", "+2.10 ± 0.25 (p = 0.002)"]
    assert verdict(named[["c"]]).startswith("not known")


def test_one_group_a_channel_sees_nothing(tiny_data):
    """Each pooled value of the last block is its β: a normalised channel's mean is 0 whatever the image."""
    images = normalize(tiny_data.val_images).double()
    assert build_model("instance", seed=0).double()(images).std(0).max() < 1e-9
    assert build_model("group", 4, seed=0).double()(images).std(0).min() > 0.01


def test_batch_size_question(tiny_data):
    configs = batch_size.runs(TUNED, (0,), 4)
    assert len(configs) == 15 and {c.recipe.l1_lambda for c in configs} == {0}
    for recipe in (config.recipe for config in configs):
        assert recipe.lr / recipe.batch_size == pytest.approx(0.2 / 64)
        assert recipe.ema_decay ** (64 / recipe.batch_size) == pytest.approx(0.999)
    frame = made_up_frame(batch_size, lambda c: 99.0 - 9 * (c.norm == "batch" and c.recipe.batch_size == 2), (0,))
    assert batch_size.finding(frame) == (
        "Batches of 2 beside 64: LayerNorm 0.00, GroupNorm 0.00, BatchNorm -9.00 points (one seed, no test).")
    table = batch_size.table(frame)
    assert table.loc[2].tolist() == ["99.00 % [0.00]", "99.00 % [0.00]", "90.00 % [-9.00]", "95.00 %"]
    assert list(table.index) == [2, 4, 8, 16, 64] and table.loc[64, "BatchNorm"] == "99.00 %"
    fewer = batch_size.few_images(tiny_data, 20)
    assert len(fewer.train_labels) == len(fewer.train_images) == 20 and len(fewer.val_labels) == 30


@pytest.mark.parametrize(("question", "title", "labels"), [
    (penalty, "Is it the normalisation", []), (affine, "What do LayerNorm's", []),
    (groups, "How many groups?", [LABELS]), (batch_size, "How small may a batch be?", [])])
def test_gaps_stop_no_sentence_no_table_and_no_figure(question, title, labels):
    frame = made_up_frame(question, lambda config: 99.0, (0, 1))
    for_table = [LABELS] if question is penalty else labels
    for kept in (frame[:1], frame[:3], frame[::2]):
        assert question.finding(kept, *labels).endswith(".")
        assert "nan" not in question.table(kept, *for_table).to_string()
    assert question.finding(frame[:1], *labels) == TOO_FEW or question is batch_size
    assert question.table(frame[:0], *for_table).empty
    num_epochs = [5] if question is batch_size else []
    assert question.plot(frame[:1], "MNIST", *num_epochs).alt.startswith(title)


def test_means_are_of_the_same_seeds():
    """Seed 1 was run for two cases only, and is worse: with it these two would look worse than the others."""
    def last(*runs: tuple) -> pd.DataFrame:
        configs = groups.runs(TUNED, (0, 1), 5)
        return last_epochs([record(c, 99.5 - c.seed) for c in configs if (c.num_groups, c.seed) in runs])

    kept = last((1, 0), (2, 0), (4, 0), (None, 0), (1, 1), (2, 1))
    assert set(kept.seed) == {0} and set(kept.val_accuracy) == {99.5}
    apart = last((1, 0), (2, 1), (4, 0))
    assert set(apart.seed) == {0, 1}
    assert groups.finding(apart, LABELS) == "1 or 4 groups beside 2: not known, for no seed was run with both."


def test_a_trained_runs_record_is_understood(tiny_data, make_config, tmp_path):
    config = make_config("batch", batch_size=35, num_epochs=1, l1_lambda=0.01, l1_target="all")
    trained = last_epochs([Store(tmp_path, tiny_data).run(config).make_record(fit(config, tiny_data))])
    assert trained.l1_target.item() == "all" and trained.near_zero.item() > 0
    assert np.isfinite(trained[["gamma", "train_mode", "val_accuracy"]]).all(axis=None)


def test_watch(tiny_data, make_config):
    seen = inside.watch(make_config("none", batch_size=3), tiny_data)  # 24 batches, told of after 20
    assert seen[["update", "block"]].to_numpy().tolist() == [
        [update, block] for update in (0, 20, 24, 44, 48) for block in range(1, 7)]
    assert seen.gradient[:6].isna().all() and (seen.gradient[6:] > 0).all()
    first = build_model("none", seed=0).layers[0][0](normalize(tiny_data.val_images))
    expected = [first.mean().item(), first.std().item()]
    assert seen.iloc[0][["mean", "std"]].tolist() == pytest.approx(expected, rel=1e-4)


def test_a_dead_network_is_told():
    def seen(last_sign_of_life: int) -> pd.DataFrame:
        rows = [(norm, update, block, 0.0, (0.5 if update < 40 else 90.0) * block, 0.5 * block)
                for norm in ("layer", "none") for update in (0, 20, 40, 60) for block in range(1, 7)]
        frame = pd.DataFrame(rows, columns=inside.COLUMNS)
        frame.loc[(frame.norm == "none") & (frame["update"] > last_sign_of_life), "gradient"] = 0.0
        frame.loc[frame["update"] == 0, "gradient"] = math.nan
        return frame

    sentence = "With no norm the activations go from 0.5 to 3 in 6 blocks before training, and the network "
    assert inside.finding(seen(20)) == f"{sentence}dies by update 40 (one seed)."
    assert inside.table(seen(20)).to_numpy().tolist() == [
        ["0.5 and 3", "540 by update 60", "0.17"],
        ["0.5 and 3", "540 by update 40", "all 0 from update 40 on, not yet at 20"]]
    assert "dies by update 60" in inside.finding(seen(40)) and inside.finding(seen(20).head(6)) == TOO_FEW
    assert inside.finding(seen(60)) == f"{sentence}lives (one seed)." and inside.table(seen(0).head(0)).empty
    assert [(run.norm, run.recipe) for run in inside.runs(TUNED, (0,), 2)] == [
        ("layer", FREE), ("group", FREE), ("batch", FREE), ("none", FREE)]
