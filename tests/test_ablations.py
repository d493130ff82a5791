"""Each question's runs vary what it asks about and nothing else, and its sentence says what its records say."""

import csv
import json
import math
import statistics
from collections import defaultdict
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import ablations
from helpers.ablations import (
    affine_finding,
    affine_runs,
    affine_table,
    batch_size_finding,
    batch_size_runs,
    batch_size_table,
    few_images,
    group_finding,
    group_runs,
    group_table,
    inside,
    inside_finding,
    luck_finding,
    luck_table,
    own_penalty_finding,
    penalty_finding,
    penalty_runs,
    penalty_table,
    seeds_needed,
)
from helpers.config import RECIPES, VARIANTS, ParameterError
from helpers.grid import gaps, setup
from helpers.records import question, run_id
from helpers.runs import train_all

# 10,000 of them, 1,135 ones, every other digit equally often
LABELS = torch.cat([torch.full((1135,), 1), (others := torch.arange(8865) % 9) + (others >= 1)])


def record(config, accuracy: float, **own) -> dict:
    """A made-up record of a run that ended at `accuracy` percent of 10,000 images."""
    row = {"val_accuracy": accuracy, "val_loss": 0.1, "val_correct": round(100 * accuracy)}
    return {"config": config.to_dict(), "history": [row], "near_zero": 0.25, "gamma": [1.0, 3.0],
            "num_parameters": 75_080 if config.norm == "layer" else 10_832,
            "dataset": {"num_train": 60_000, "num_val": 10_000},
            "wrong": [[i] for i in range(10_000 - row["val_correct"])], **own}


def test_penalty_question():
    configs = penalty_runs(RECIPES["tuned"], (0, 1), 5)
    assert len(configs) == len(set(configs)) == (3 * (1 + 4 * 2) + 5) * 2
    tuned = replace(RECIPES["tuned"], l1_lambda=0.0)
    assert {(c.norm == "none", replace(c.recipe, l1_lambda=0.0, l1_target="weights")) for c in configs} == {
        (False, tuned), (True, replace(tuned, lr=0.02))}, "nothing else differs"

    def accuracy(config, fall):
        return 99.5 + (0.02 if config.norm == "layer" else 0) - fall * (config.recipe.l1_target == "all") * (
            config.recipe.l1_lambda == 0.01)

    table = penalty_table([record(config, accuracy(config, 3)) for config in configs])
    assert set(table.near_zero) == {0.25} and set(table.gamma) == {1.0}
    sentence = penalty_finding(table, LABELS)
    assert sentence.split("\n\n")[0] == (
        "λ = 0.01 on all parameters, the strength of the historical run, at this recipe's peak rate of 0.2, takes "
        "LayerNorm from 99.52 to 96.52 %, GroupNorm from 99.50 to 96.50 %, BatchNorm from 99.50 to 96.50 % (2 seeds): "
        "the penalty decides here, not the normalisation.")
    assert "share of one digit" not in sentence and "running averages" not in sentence
    assert ": penalty and normalisation are not told apart.\n\n" in penalty_finding(
        penalty_table([record(config, accuracy(config, 0.03)) for config in configs]), LABELS)
    assert ": penalty and normalisation are not told apart.\n\n" in penalty_finding(
        penalty_table([record(config, accuracy(config, 60 if config.norm == "batch" else 3)) for config in configs]),
        LABELS), "what the penalty costs depends on the normalisation"


def test_penalty_on_weights_and_on_all():
    """What the sentence says of targets, weaker penalties, weights near zero and γ, against numbers put in."""
    falls = {0.0: 0, 1e-5: 0.04, 1e-4: 0.2, 1e-3: 0.06, 1e-2: 88.15}

    def planted(config) -> dict:
        batch, strength = config.norm == "batch", config.recipe.l1_lambda
        fall = falls[strength] * (0.5 if config.recipe.l1_target == "weights" else 1) if batch else 0
        if strength == 1e-2 and config.recipe.l1_target == "all":
            fall = 88.15
        shrunk = strength == 1e-2 and config.recipe.l1_target == "all"
        own = {"near_zero": 0.9, "gamma": [0.2, 0.4]} if shrunk else {"near_zero": 0.01, "gamma": [1.0, 2.0]}
        if batch:
            own["batch_statistics"] = {"val_correct": 9875 if strength == 1e-2 else round(9950 - 100 * fall)}
        return {**record(config, 99.5 - fall), **own}

    table = penalty_table([planted(config) for config in penalty_runs(RECIPES["tuned"], (0,), 5)])
    sentence = penalty_finding(table, LABELS)
    assert ("BatchNorm from 99.50 to 11.35 % (one seed): the penalty decides here, not the normalisation."
            "\n\nEach of these ends is the share of one digit") in sentence
    assert ("On the convolution weights alone it takes LayerNorm to 99.50 %, GroupNorm to 99.50 %, BatchNorm to "
            "55.42 %.") in sentence
    assert "(λ = 0 on" not in sentence
    assert ("on the statistics of its own batches it is at 98.75 % instead of 11.35 % (λ = 0.01 on all parameters), "
            "98.75 % instead of 55.42 % (λ = 0.01 on the convolution weights).") in sentence
    assert ("The most that a weaker one costs any of the three: 0.04 points at λ = 1e-05, 0.20 points at λ = 0.0001, "
            "0.06 points at λ = 0.001.") in sentence
    assert "λ = 1e-05 on the convolution weights, moves BatchNorm by -0.02 points (one seed)." in sentence
    assert sentence.endswith("90.0 % of BatchNorm's convolution weights lie below 0.001 instead of 1.0 %, and the mean "
                             "|γ| of its weakest block is 0.2 instead of 1.")


def test_affine_question():
    configs = affine_runs(RECIPES["tuned"], (0, 1, 2), 5)
    assert [(c.norm, c.num_groups) for c in configs[::3]] == [("layer", None), ("layer_plain", None), ("group", 1)]
    gain = {"layer": (0.1, 0.2, 0.3), "layer_plain": (0, 0, 0), "group": (0, 0, 0)}
    sentence = affine_finding(affine_table([record(c, 99 + gain[c.norm][c.seed]) for c in configs]))
    # 4.303 * 0.1 / sqrt(3); p = 0.074 by scipy's ttest_1samp, twice that for two tests
    assert ("beside GroupNorm(1, C), with 64,248 parameters more: +0.20 ± 0.25 points (p = 0.15: no difference shown)"
            in sentence)
    assert sentence.endswith("± 0.25 points (p = 0.15: no difference shown) (3 seeds).")
    told = affine_finding(affine_table([record(c, 99 + 10 * (c.norm == "layer") / 100 + 0.01 * gain[c.norm][c.seed])
                                        for c in configs]))
    assert told.count(": a difference)") == 2
    few = affine_finding(affine_table([record(c, 99 + gain[c.norm][c.seed]) for c in configs if c.seed < 2]))
    assert "more: +0.10 and +0.20 points; beside" in few and few.endswith("(2 seeds).")


def test_group_question():
    configs = group_runs(RECIPES["tuned"], (0,), 5)
    accuracies = dict(zip(configs, (99.4, 99.5, 99.3, 11.35), strict=True))
    table = group_table([record(c, a) for c, a in accuracies.items()])
    assert list(table.groups) == ["1", "2", "4", "C"]
    sentence = group_finding(table, LABELS)
    assert sentence.startswith("Beside the study's 2 groups: 1 group -0.10 points; 4 groups -0.20 points (one seed).")
    assert sentence.endswith("it ends at 11.35 %, the share of one digit: all images get the same answer.")
    assert group_finding(group_table([record(c, 99.0) for c in configs]), LABELS).endswith("it ends at 99.00 %.")
    near = group_finding(group_table([record(c, a + 0.02) for c, a in accuracies.items()]), LABELS)
    assert near.endswith("it ends at 11.37 %."), "no digit has this share"


def test_one_group_a_channel_sees_nothing(tiny_data, make_config):
    """Each pooled value of the last block is then its β: the mean of a normalised channel is 0 whatever the image."""
    from helpers.data import normalize
    from helpers.model import build_model

    net = build_model("instance", seed=0).double()
    logits = net(normalize(tiny_data.val_images).double())
    assert (logits - logits[0]).abs().max() < 1e-9
    assert (build_model("group", 4, seed=0).double()(normalize(tiny_data.val_images).double())).std(0).min() > 0.01


def test_batch_size_question():
    configs = batch_size_runs(RECIPES["tuned"], (0,), 4)
    assert len(configs) == 18
    for config in configs:
        assert config.recipe.lr / min(64, config.recipe.batch_size) == pytest.approx(0.2 / 64)
        assert config.recipe.ema_decay ** (64 / config.recipe.batch_size) == pytest.approx(0.999)
    records = [record(c, 90.0 if (c.norm, c.recipe.batch_size) == ("batch", 2) else 99.0,
                      **({"batch_statistics": {"val_correct": 9500}} if c.norm == "batch" else {})) for c in configs]
    table = batch_size_table(records)
    assert table.train_mode.notna().sum() == 6
    sentence = batch_size_finding(table)
    assert "to 2: LayerNorm 0.00 points; GroupNorm 0.00 points; BatchNorm -9.00 points (one seed)." in sentence
    assert sentence.startswith("With 60,000 training images, from 64 images a batch to 2: LayerNorm")
    assert "(one seed).\n\nFrom 64 images a batch to 256: LayerNorm" in sentence
    assert sentence.endswith("its own batches of 2 is at 95.00 % instead of 90.00 %.")


def test_inside(tiny_data, make_config):
    from helpers.data import normalize
    from helpers.model import build_model

    table = inside("none", tiny_data, make_config(batch_size=3).recipe)  # 24 batches, told of after 20
    assert list(table["update"].unique()) == [0, 20, 24, 44, 48] and list(table.block.unique()) == [1, 2, 3, 4, 5, 6]
    assert table[table["update"] == 0].gradient.isna().all() and (table[table["update"] > 0].gradient > 0).all()
    first = build_model("none", seed=0).layers[0][0](normalize(tiny_data.val_images))
    assert table.iloc[0][["mean", "std"]].tolist() == pytest.approx([first.mean().item(), first.std().item()], rel=1e-4)
    assert "no norm" in inside_finding(table)


def test_a_dead_network_is_told():
    rows = [(norm, update, block, 0.0, 0.5 * block if update < 40 else 90.0 * block,
             math.nan if update == 0 else 0.0 if norm == "none" and update >= 40 else 0.5 if block == 1 else 2.0)
            for norm in ("layer", "none") for update in (0, 20, 40, 60) for block in range(1, 7)]
    sentence = inside_finding(pd.DataFrame(rows, columns=["norm", "update", "block", "mean", "std", "gradient"]))
    assert "first block and last: LayerNorm 0.5 and 3, no norm 0.5 and 3 (one seed)." in sentence
    assert "median over the updates: LayerNorm 0.25." in sentence, "and no median of a network that died"
    assert "The network with no norm dies between updates 20 and 40: from then on all gradients are 0." in sentence
    assert "has gone from 3 to 540 by update 40" in sentence
    for row in (place for place, row in enumerate(rows) if row[:2] == ("none", 40)):
        rows[row] = (*rows[row][:5], 0.5)
    assert "dies between updates 40 and 60" in inside_finding(
        pd.DataFrame(rows, columns=["norm", "update", "block", "mean", "std", "gradient"]))


def test_luck_needs_so_many_seeds(make_config):
    assert seeds_needed(1.0, 1.0) == 10  # Cohen 1988, table 2.4.1: d = 1.0, two-sided 0.05, power 0.80, one sample
    assert seeds_needed(0.5, 1.0) == 34
    assert math.isinf(seeds_needed(0.0, 1.0)) and math.isnan(seeds_needed(1.0, 0.0))
    records = [record(make_config(norm, seed), 99.5 + (norm == "layer") * (0.04 + 0.01 * seed))
               for norm in ("layer", "group") for seed in (0, 1, 2)]
    (row,) = luck_table(records).itertuples()
    assert (row.a, row.b, row.difference, row.std, row.n) == ("layer", "group", 5.0, 1.0, 3)
    # its interval is 5 ± 4.303 * 1 / sqrt(3)
    assert (row.seeds_at_least, row.seeds_at_most) == (seeds_needed(5.0, 1.0), seeds_needed(5 - 4.302653 / 3**0.5, 1.0))
    assert (f"5.0 images apart with a spread over seeds of 1.0: {row.seeds_at_least:.0f} seeds, or "
            f"{row.seeds_at_most:.0f} if the difference is as small") in luck_finding(luck_table(records))


def test_gaps_are_told_and_stop_no_sentence():
    questions = [(penalty_runs, penalty_table, lambda table: penalty_finding(table, LABELS)),
                 (affine_runs, affine_table, affine_finding),
                 (batch_size_runs, batch_size_table, batch_size_finding),
                 (group_runs, group_table, lambda table: group_finding(table, LABELS))]
    for runs_of, table_of, finding in questions:
        configs = runs_of(RECIPES["tuned"], (0, 1), 5)
        assert gaps(configs, configs) == ""
        for kept in (configs[:1], configs[:3], configs[::2]):
            missing = len(configs) - len(kept)
            be = "is" if missing == 1 else "are"
            assert f"{missing} of {len(configs)} runs {be} not there yet" in gaps(kept, configs)
            assert finding(table_of([record(config, 99.0) for config in kept])).endswith(".")


def test_means_are_of_the_same_seeds():
    """Seed 1 was run for two cases only, and is worse: with it these two would look worse than the others."""
    configs = [c for c in group_runs(RECIPES["tuned"], (0, 1), 5) if c.seed == 0 or c.num_groups in (1, 2)]
    table = group_table([record(c, 99.5 - c.seed) for c in configs])
    assert set(table.seed) == {0} and set(table.val_accuracy) == {99.5}
    none_whole = group_table([record(c, 99.5) for c in configs if c.num_groups != 2 or c.seed])
    assert set(none_whole.seed) == {0, 1}
    apart = group_table([record(c, 99.5) for c in configs if (c.num_groups, c.seed) in ((1, 0), (2, 1))])
    assert "groups: not known, for no seed was run with both." in group_finding(apart, LABELS)


def test_each_variant_stands_beside_batchnorm_without_its_penalty(make_config):
    """Planted: the penalty costs 10, 9 and 11 images; LayerNorm is 1, 0 and -1 ahead of BatchNorm without it."""
    seeds = (0, 1, 2)
    records = [record(make_config("layer", seed), 99.5 + 0.01 * (1 - seed)) for seed in seeds]
    records += [record(make_config("batch", seed), 99.5 - 0.01 * (10, 9, 11)[seed]) for seed in seeds]
    free = [record(make_config("batch", seed, l1_lambda=0.0), 99.5) for seed in (*seeds, 3)]
    table = luck_table(records, free)
    assert list(zip(table.a, table.b, table.n, strict=True)) == [
        ("layer", "batch", 3), ("layer", ablations.FREE, 3), ("batch", ablations.FREE, 3)]
    assert [list(row) for row in table.differences] == [[11, 9, 10], [1, 0, -1], [-10, -9, -11]]
    # 4.303 * 1 / sqrt(3); t = 10 * sqrt(3), p = 0.0033 with 2 degrees of freedom, twice that for two tests
    assert own_penalty_finding(table, free) == (
        "BatchNorm without the penalty gets 9,950.0 of 10,000 images right (4 seeds). Beside it: LayerNorm 0.0 ± 2.5 "
        "images (p = 1.00: no difference shown); L1 + BatchNorm -10.0 ± 2.5 images (p = 0.007: a difference) "
        "(3 seeds).")
    assert "without the penalty" not in luck_finding(table)
    few = own_penalty_finding(luck_table(records, free[:2]), free[:2])
    assert few.endswith("(2 seeds). Beside it: LayerNorm +1.0 and 0.0 images; L1 + BatchNorm -10.0 and -9.0 images "
                        "(2 seeds).")
    apart = own_penalty_finding(luck_table(records[:1] + records[3:], free), free)
    assert "LayerNorm +1.0 images (one seed); L1 + BatchNorm -10.0 ± 2.5 images" in apart
    assert apart.endswith(": a difference, 3 seeds).")


def test_fewer_images(tiny_data):
    fewer = few_images(tiny_data, 20)
    assert len(fewer.train_labels) == 20 and len(fewer.val_labels) == 30
    assert fewer.fingerprint != tiny_data.fingerprint and few_images(tiny_data, 10**6) is tiny_data


def test_search_table_reads_the_search():
    """Every run of the search is in it, several seeds as their mean; the chosen recipe has the lowest mean loss."""
    table = ablations.search_table()
    results = defaultdict(list)
    with open(ablations.RECORDS / "search.csv", newline="") as file:
        for row in csv.DictReader(file):
            assert row["num_val"] == "10000", "on the hold-out"
            results[tuple(v for k, v in row.items() if k not in ("seed", "val_loss", "val_correct"))].append(row)
    assert sum(map(len, results.values())) >= 24
    columns = {"layer": "LayerNorm", "group": "GroupNorm", "batch": "L1 + BatchNorm"}
    for (norm, *_), rows in results.items():
        loss, correct = (statistics.mean(float(row[key]) for row in rows) for key in ("val_loss", "val_correct"))
        text = f"{loss:.4f} ({correct:,.0f})" + (f", {len(rows)} seeds" if len(rows) > 1 else "")
        assert text in set(table[columns[norm]]), (norm, text)
    chosen = RECIPES["tuned"]
    assert table.index[0] == (f"20 epochs, lr {chosen.lr:g}, rotation {chosen.rotation:g}°, shift {chosen.shift:g}, "
                              f"scale and shear {chosen.scale:g}") and chosen.scale == chosen.shear
    assert table.iloc[0]["λ"] == f"{chosen.l1_lambda:g} on {chosen.l1_target}"
    assert table.iloc[0]["mean loss (nats)"] == f"{(0.018440 + 0.019875 + 0.017971) / 3:.4f}"
    assert sum("batch 128" in case for case in table.index) == 2


def test_search_finding_is_what_the_search_gave(tmp_path, monkeypatch):
    """Told apart from the chosen recipe here by hand: one that differs in the rate as well as in the batch is none."""
    with open(ablations.RECORDS / "search.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["num_epochs"] == "20"]
    batch = [row for row in rows if row["norm"] == "batch"]
    usual = {"batch_size": "64", "lr": "0.2", "rotation": "10.0", "weight_decay": "0.0", "l1_lambda": "1e-05"}
    others, own = defaultdict(list), {}
    for row in batch:
        changed = {name: row[name] for name, value in usual.items() if row[name] != value}
        if not changed:
            own[row["seed"]] = row
        elif len(changed) == 1:
            others[tuple(changed.items())].append(row)
    apart = {key: [statistics.mean(float(row[column]) - float(own[row["seed"]][column]) for row in mine)
                   for column in ("val_loss", "val_correct")] for key, mine in others.items()}
    loss, right = zip(*apart.values(), strict=True)
    finding = ablations.search_finding()
    for name, mine in (("LayerNorm", [row for row in rows if row["norm"] == "layer"]),
                       ("GroupNorm", [row for row in rows if row["norm"] == "group"]), ("BatchNorm", own.values())):
        assert (f"{name} {statistics.mean(float(row['val_loss']) for row in mine):.4f} nats, "
                f"{statistics.mean(int(row['val_correct']) for row in mine):,.0f} of 10,000 right") in finding
    assert (f"{len(others)} cases of BatchNorm that differ in one thing (λ, peak rate, augmentation, weight decay, "
            f"batch size) are, with the same seeds, {min(loss):+.4f} to {max(loss):+.4f} nats and {min(right):+.0f} to "
            f"{max(right):+.0f} images away: none with a lower loss, {sum(x > 0 for x in right)} with more") in finding
    text = (ablations.RECORDS / "search.csv").read_text()
    (worst,) = (mine for key, mine in others.items() if apart[key][0] == max(loss))
    (tmp_path / "search.csv").write_text(text.replace(worst[0]["val_loss"], "0.001"))
    monkeypatch.setattr(ablations, "RECORDS", tmp_path)
    assert "-0.0170 to" in ablations.search_finding() and "away: 1 with a lower loss" in ablations.search_finding()


def grid_parameters(tmp_path, **changes) -> dict:
    return {"dataset": "digits", "data_dir": None, "seeds": [0], "num_epochs": 1, "num_images": 256,
            "study_seeds": [0], "study_epochs": 1, "original_seeds": [0], "reuse_records": False, "train_missing": True,
            "workers": None, "runs_dir": str(tmp_path / "runs"), "output_dir": str(tmp_path / "out"), **changes}


@pytest.mark.parametrize(("name", "value", "says"), [
    ("seeds", "[0, 0]", "without repeats"), ("num_epochs", 0, "at least 1"), ("reuse_records", "no", "True, False"),
    ("original_seeds", [], "one or more"), ("num_images", 128, "at least 256"), ("dataset", "cifar", "'mnist'")])
def test_a_grid_refuses_in_one_line(tmp_path, name, value, says):
    with pytest.raises(ParameterError, match=f"^{name}: got .*{says}"):
        setup(grid_parameters(tmp_path, **{name: value}))
    assert not (tmp_path / "runs").exists()


def test_a_grid_keeps_what_was_run_and_said(tmp_path):
    grid = setup(grid_parameters(tmp_path, seeds="[3]", original_seeds="[1]"))  # as papermill hands a list on
    records = grid.train(lambda recipe, seeds, epochs: [
        ablations.run_config("instance", seed, epochs, recipe.without_l1()) for seed in seeds])
    study, without_l1 = grid.train_original()
    _, own_without_l1 = grid.train_study()
    grid.tell("groups", lambda table: "So it is.\n\nIn detail.", group_table(records))
    grid.save()
    out = tmp_path / "out"
    assert json.loads((out / "summary.json").read_text())["findings"] == ["So it is."]
    assert [record["config"]["seed"] for record in records] == [3] and "- *Groups.* So it is." in grid.brief()
    kept = [json.loads(line) for line in (out / "records" / "ablations.jsonl").read_text().splitlines()]
    assert {record["run_id"] for record in kept} == {records[0]["run_id"], own_without_l1[0]["run_id"]}
    assert own_without_l1[0]["config"]["recipe"] == asdict(RECIPES["tuned"].without_l1()) and "wrong" not in kept[0]
    original = [json.loads(line) for line in (out / "records" / "original.jsonl").read_text().splitlines()]
    assert {record["run_id"] for record in original} == {record["run_id"] for record in [*study, *without_l1]}
    assert [record["config"]["norm"] for record in study] == list(VARIANTS)
    (free,) = without_l1
    assert free["config"]["recipe"] == asdict(RECIPES["original"].without_l1()) and free["config"]["norm"] == "batch"
    assert all("wrong" in record for record in original)


def test_a_grid_under_way_shows_its_gaps(tmp_path):
    """Asked to train nothing it takes what is published and what is in the folder of runs; else it trains the rest."""
    grid = setup(grid_parameters(tmp_path, train_missing=False))
    assert grid.train(affine_runs) == [] and grid.missing.startswith("**3 of 3 runs")
    grid.show("affine", None, affine_table([]))
    grid.tell("affine", affine_finding, affine_table([]))
    assert grid.answers["affine"] == "**3 of 3 runs are not there yet.** Too few of these runs are there to answer."
    grid.tell("again", affine_finding, affine_table([]))
    assert grid.answers["again"] == grid.answers["affine"], "a second finding from the same runs lacks them as well"
    configs = affine_runs(grid.recipe, (0,), 1)
    (trained,) = train_all(configs[:1], grid.data, tmp_path / "runs")[0]
    (published,) = train_all(configs[1:2], grid.data, tmp_path / "elsewhere")[0]
    grid.published = {question(configs[1], grid.data.fingerprint): published}
    cut = tmp_path / "runs" / run_id(configs[2], grid.data.fingerprint) / "record.json"
    cut.parent.mkdir()
    cut.write_text('{"run_id": ')
    assert grid.train(affine_runs) == [trained, published] and grid.missing.startswith("**1 of 3 runs")
    grid.values["train_missing"] = None
    assert grid.train(affine_runs) == [trained, published] and grid.missing.startswith("**1 of 3"), "published in part"
    assert len(grid.train(group_runs)) == 4 and grid.missing == "", "nothing of it is published"
    grid.values["train_missing"] = True
    assert len(grid.train(affine_runs)) == 3 and grid.missing == ""


def test_a_small_grid_trains(tiny_data, make_config, tmp_path):
    """Real runs of one question, with a strong penalty: more weights are near zero, and the sentence can be made."""
    recipe = make_config(batch_size=35).recipe
    configs = [c for c in penalty_runs(recipe, (0,), 2) if c.norm == "batch"]
    records, failures = train_all(configs, tiny_data, tmp_path)
    table = penalty_table(records)
    assert not failures and len(table) == 9 and np.isfinite(table.gamma).all()
    assert np.isfinite(table.train_mode).all()
