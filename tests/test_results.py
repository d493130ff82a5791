"""Statistics against published numbers and scipy; sentences that say what the numbers say, and no more."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from helpers.config import VARIANTS, RunConfig, Study
from helpers.findings import (
    confusion_reading,
    findings,
    historical_reading,
    overlap_reading,
    pair_sentence,
    save_results,
    summary,
    training_report,
)
from helpers.intervals import (
    half_width,
    holm,
    mcnemar_p,
    paired_p,
    prediction_half_width,
    t_interval,
    wilson_interval,
)
from helpers.results import (
    compare_pairs,
    confusion_matrices,
    final_table,
    historical_ends,
    historical_table,
    history_table,
    overlap_counts,
    shown_runs,
    wrong_table,
)
from helpers.tables import display_final, display_pairs, network_table, parameter_table, recipe_table

NUM_VAL = 1000


def record(norm: str, seed: int, wrong: list[int], epochs: int = 2) -> dict:
    """A made-up record: `wrong` are the misclassified indices; image i is a digit i % 10, read as the next digit."""
    correct = NUM_VAL - len(wrong)
    history = [{"epoch": e, "lr": 0.01, "train_loss": 0.2, "l1_penalty": 0.1 if norm == "batch" else 0.0,
                "train_accuracy": 97.0, "val_loss": 0.5 / e, "val_accuracy": 100 * correct / NUM_VAL,
                "val_correct": correct, "seconds": 1.5} for e in range(1, epochs + 1)]
    config = RunConfig(norm, seed, epochs, Study().training_recipe(), 2)
    return {"run_id": f"{norm}-seed{seed}", "config": config.to_dict(),
            "dataset": {"name": "digits", "title": "made-up digits", "num_train": 10, "num_val": NUM_VAL},
            "num_parameters": 75_080 if norm == "layer" else 10_832, "history": history,
            "wrong": [[i, i % 10, (i + 1) % 10, 0.6, 0.3] for i in wrong], "environment": {"python": "3"}}


@pytest.fixture
def data(tiny_data):
    labels = torch.arange(NUM_VAL) % 10
    return replace(tiny_data, name="digits", title="made-up digits", val_labels=labels,
                   val_images=torch.zeros(NUM_VAL, 28, 28, dtype=torch.uint8))


# --- intervals and tests --------------------------------------------------------------------------------------------


def test_wilson_interval_of_published_examples():
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3: 81/263, 15/148, 0/20, 1/29
    for correct, total, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
                                      (1, 29, 0.0061, 0.1718)]:
        assert np.round(wilson_interval(correct, total), 2) == pytest.approx((100 * low, 100 * high), abs=0.0051)


def test_t_interval_is_the_textbooks():
    values = [99.5, 99.6, 99.55, 99.65, 99.45]  # t(0.975, 4) = 2.776; s = 0.0790569
    assert half_width(values) == pytest.approx(2.776445 * 0.0790569 / 5**0.5, rel=1e-5)
    assert t_interval(values) == pytest.approx((99.55 - 0.0981605, 99.55 + 0.0981605), abs=1e-5)
    assert np.isnan(half_width([1.0])) and half_width([2.0, 2.0]) == 0


def test_mcnemar_is_the_sign_test():
    # Exact two-sided sign test: 1 of 10 has p = 2 * (1 + 10) / 2**10
    assert mcnemar_p(1, 9) == pytest.approx(22 / 1024) and mcnemar_p(9, 1) == mcnemar_p(1, 9)
    assert mcnemar_p(0, 0) == mcnemar_p(5, 5) == 1.0


def test_paired_test_is_scipys():
    a, b = np.array([5.0, 8, 3, 6]), np.array([4.0, 5, 3, 1])
    assert paired_p(a - b) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert paired_p([0, 0, 0]) == 1.0
    assert paired_p([9] * 5, [0.001, 0.004] * 2 + [0.002]) == 0.008, "twice the weakest seed's"
    assert paired_p([9] * 5, [0.5] * 5) == 0.125 and paired_p([0, 0], [1.0, 1.0]) == 1.0
    assert paired_p([2, 2]) == 0.5 and paired_p([-2] * 5) == 0.0625, "no spread: the exact sign test"


def test_holm_is_the_worked_example():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, never falling: 0.02, 0.03, 0.06, 0.06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


# --- tables ---------------------------------------------------------------------------------------------------------


def test_history_has_a_row_for_each_variant_seed_and_epoch():
    records = [record(norm, seed, [1]) for norm in VARIANTS for seed in (0, 1)]
    history = history_table(records)
    assert len(history) == 3 * 2 * 2 and not history.duplicated(["norm", "seed", "epoch"]).any()
    assert set(history.dataset) == {"digits"} and "seconds" not in history
    assert history_table([]).empty and wrong_table([]).empty


def test_final_table_counts_over_seeds():
    final = final_table([record("layer", 0, [1, 2]), record("layer", 1, [3]), record("batch", 0, [])]).set_index("norm")
    layer, batch = final.loc["layer"], final.loc["batch"]
    assert (layer.n, layer.val_accuracy, layer.errors) == (2, pytest.approx(99.85), 1.5)
    assert layer["std"] == pytest.approx(np.std([99.8, 99.9], ddof=1))
    assert (layer.low, layer.high) == pytest.approx((max(0, 99.85 - 12.706 * 0.05), 100), abs=1e-3)
    assert (batch.low, batch.high) == pytest.approx(wilson_interval(1000, 1000)) and np.isnan(batch["std"])
    assert "historical_val_accuracy" not in final, "these are digits, the historical run's are MNIST"


def test_historical_numbers_are_those_of_the_run():
    table = historical_table()
    assert len(table) == 58
    assert table.groupby("variant").epoch.max().to_dict() == {"layer": 20, "group": 20, "batch": 18}
    assert (table.val_correct / 100 == table.val_accuracy).all() and table.val_accuracy.min() == 64.69


def test_historical_marks_are_for_mnist_alone(data):
    assert historical_ends(data) is None and historical_ends(replace(data, name="mnist-holdout")) is None
    assert len(historical_ends(replace(data, name="mnist"))) == 3


def test_confusion_counts_every_image(data):
    matrices = confusion_matrices([record("layer", 0, [3, 13, 14]), record("layer", 1, [3])], data.val_labels)
    assert list(matrices) == ["layer"] and matrices["layer"].sum() == 2 * NUM_VAL
    assert matrices["layer"][3, 4] == 3 and matrices["layer"][4, 5] == 1 and matrices["layer"].trace() == 1996
    assert confusion_reading(matrices) == "LayerNorm most often reads 3 as 4 (3 of its 4 errors)."


def test_overlap_counts_every_wrong_image_once():
    records = [record("layer", 0, [1, 2, 3]), record("group", 0, [2, 3, 4]), record("batch", 0, [3, 9]),
               record("batch", 1, [500])]
    counts = overlap_counts(wrong_table(records), ("layer", "group", "batch"), 0)
    assert {key: value for key, value in counts.items() if value} == {
        ("layer",): 1, ("layer", "group"): 1, ("layer", "group", "batch"): 1, ("group",): 1, ("batch",): 1}
    assert len(counts) == 7 and counts.sum() == 5
    assert overlap_reading(counts) == ("At least one variant gets 5 images wrong: 1 of them wrong for all 3 (20 %), "
                                       "3 for one alone (60 %).")


def test_parameter_table_adds_up_to_the_norms_share():
    table = parameter_table(2, 64)
    assert [table.iloc[-1, i] for i in (1, 2, 3)] == ["64,448", "200", "200"]
    assert [table.iloc[0, i] for i in (4, 5, 6)] == ["64", "128", "16"]
    assert network_table(2)["parameters"].tolist() == ["75,080", "10,832", "10,832"]


def test_tables_for_readers():
    records = [record("layer", 0, [1, 2]), record("group", 0, [2])]
    shown = display_final(final_table(records))
    assert shown.loc["std over seeds (%)"].tolist() == ["one seed", "one seed"]
    assert "historical accuracy (%)" not in shown.index
    mnist = display_final(final_table([{**r, "dataset": {**r["dataset"], "name": "mnist"}} for r in records]))
    assert mnist.loc["historical accuracy (%)"].tolist() == ["99.37 (epoch 20)", "99.40 (epoch 20)"]
    pairs = display_pairs(compare_pairs(records))
    assert pairs.index.tolist() == ["LayerNorm against GroupNorm"] and "p (McNemar, exact)" in pairs
    assert display_pairs(compare_pairs(records[:1])).empty
    table = recipe_table(Study(seeds=(0, 1)).run_configs("cpu"))
    assert table.loc["l1_lambda (nats)"].tolist()[:2] == ["0", "0"] and table.loc["seeds"].iloc[0] == "0, 1"


# --- sentences ------------------------------------------------------------------------------------------------------


def five_seeds(norm: str, errors: list[int], offset: int = 0) -> list[dict]:
    return [record(norm, seed, list(range(offset, offset + n))) for seed, n in enumerate(errors)]


def test_planted_tie_reads_as_a_tie(data):
    same = five_seeds("layer", [5, 6, 4, 5, 7])
    twin = [{**r, "config": {**r["config"], "norm": "group"}} for r in same]
    pair = next(compare_pairs(same + twin).itertuples())
    assert pair.difference == 0 and pair.p_holm == 1 and "a tie" in pair_sentence(pair, NUM_VAL)
    sentences = findings(same + twin, Study(seeds=(0, 1, 2, 3, 4)), data)
    assert sentences[0].startswith("On made-up digits nothing shows a best normalisation: LayerNorm and GroupNorm are")
    assert not any("is better than" in s for s in sentences)


def test_planted_difference_reads_as_one(data):
    records = five_seeds("layer", [5, 6, 4, 5, 7]) + five_seeds("group", [25, 27, 23, 26, 28])
    sentences = findings(records, Study(seeds=(0, 1, 2, 3, 4)), data)
    assert sentences[0].startswith("On made-up digits choose Layer Normalization")
    assert any(s.startswith("LayerNorm is better than GroupNorm by 20.4 ± ") and "5 seeds" in s for s in sentences)
    turned = findings(five_seeds("layer", [25, 27, 23, 26, 28]) + five_seeds("group", [5, 6, 4, 5, 7]), Study(), data)
    assert turned[0].startswith("On made-up digits choose Group Normalization")


def test_planted_difference_of_the_same_size_in_every_seed(data):
    """Without spread between seeds there is no t; that one and the same image is lost is no finding, twenty are."""
    for more, verdict in ((20, "LayerNorm is better than GroupNorm by 20.0 ± 0.0"), (1, "a tie; LayerNorm leads")):
        wrong = [5, 6, 4, 5, 7]
        records = five_seeds("layer", wrong) + five_seeds("group", [count + more for count in wrong])
        assert any(verdict in sentence for sentence in findings(records, Study(), data)), more


def test_two_seeds_that_agree_by_chance_name_no_winner(data):
    sentences = findings(five_seeds("layer", [5, 6]) + five_seeds("group", [4, 5]), Study(seeds=(0, 1)), data)
    assert "nothing shows a best" in sentences[0] and not any("is better" in s for s in sentences)


def test_noise_between_seeds_reads_as_a_tie(data):
    records = five_seeds("layer", [5, 9, 4, 8, 7]) + five_seeds("group", [8, 5, 9, 4, 9])
    assert any("a tie" in s for s in findings(records, Study(), data))


def test_one_seed_never_names_a_winner(data):
    records = [record("layer", 0, []), record("group", 0, list(range(100))), record("batch", 0, list(range(50)))]
    sentences = findings(records, Study(), data)
    assert sentences[0].startswith("On made-up digits one seed can't show which normalisation is best")
    assert not any("better" in s for s in sentences) and any("one seed can't tell" in s for s in sentences)


def test_one_seed_twice_under_two_names_is_a_tie(data):
    sentences = findings([record("layer", 0, [1, 2]), record("group", 0, [1, 2])], Study(seeds=(0,)), data)
    assert any(s.startswith("LayerNorm and GroupNorm: a tie; they get equally many of 1,000") for s in sentences)


def test_pairs_are_compared_on_the_same_images():
    records = [record("layer", 0, [1, 2, 3]), record("group", 0, [3, 4])]
    pair = next(compare_pairs(records).itertuples())
    assert (pair.only_a, pair.only_b, pair.difference) == (1, 2, -1) and pair.p == mcnemar_p(1, 2)
    assert compare_pairs([record("layer", 0, []), record("group", 1, [])]).empty, "no common seed"


def test_historical_findings_are_for_mnist_alone(data):
    records = [record("batch", 0, [1])]
    assert not any("historical" in s for s in findings(records, Study(), data))
    mnist = replace(data, name="mnist", val_images=torch.zeros(10_000, 28, 28, dtype=torch.uint8),
                    val_labels=torch.arange(10_000) % 10)
    said = [s for s in findings(records, Study(), mnist) if "historical" in s]
    assert len(said) == 2 and "3 of 10,000 images" in said[0] and "97.46 %" in said[1]
    assert len([s for s in findings(records, Study(l1_lambda=0.01), mnist) if "historical" in s]) == 1


def test_failed_runs_are_told_and_not_shown_as_flawless(data):
    study = Study(seeds=(0, 1))
    records = [record("layer", 1, [1, 2]), record("group", 0, [1]), record("group", 1, [3])]
    sentences = findings(records, study, data)
    assert "3 of 6 runs failed" in sentences[1] and "the number of seeds differs" in sentences[2]
    assert shown_runs(records) == (["layer", "group"], 1)
    alone = findings([record("layer", 0, [1])], study, data)
    assert alone[0] == "On made-up digits Layer Normalization alone was trained to the end."
    assert findings([record("layer", 0, [1])], Study(norms=("layer",)), data)[0].endswith("alone was trained.")


def test_findings_without_runs(data):
    assert findings([], Study(), data) == ["No run finished, so there is nothing to report."]
    json.dumps(summary([], ["layer: failed"], Study(), data))


def test_beside_the_historical_run():
    """Its ends: LayerNorm 99.37 % and GroupNorm 99.40 % after 20 epochs, L1 + BatchNorm 97.46 % after 18."""
    def rows(norm, seed, at_18, at_20):
        return [{"dataset": "mnist", "norm": norm, "seed": seed, "epoch": epoch,
                 "val_accuracy": at_18 if epoch <= 18 else at_20} for epoch in range(1, 21)]

    layer = [row for seed, end in enumerate((99.35, 99.39, 99.43)) for row in rows("layer", seed, 0, end)]
    group = [row for seed, end in enumerate((99.59, 99.60, 99.61)) for row in rows("group", seed, 0, end)]
    batch = [row for seed, end in enumerate((97.0, 98.0, 97.5)) for row in rows("batch", seed, end, 50)]
    said = historical_reading(pd.DataFrame(layer + group + batch))
    # t of 2 degrees of freedom at 1 - 0.05 / 6, 7.6488, times the standard deviation, times sqrt(1 + 1/3)
    assert "LayerNorm 99.37 % there, 99.39 % here (99.04 to 99.74: inside)" in said
    assert "GroupNorm 99.40 % there, 99.60 % here (99.51 to 99.69: outside)" in said
    assert "L1 + BatchNorm 97.46 % there, 97.50 % here (93.08 to 100.00: inside)" in said, "both after 18 epochs"
    assert "all 3 at once, 95 times in 100" in said
    alone = historical_reading(pd.DataFrame(layer))  # 4.3027
    assert "99.39 % here (99.19 to 99.59: inside). In brackets the range in which one further seed ends 95" in alone
    free = [row for seed, end in enumerate((99.0, 99.1, 99.0)) for row in rows("batch", seed, end, 50)]
    # 2.0, 1.1 and 1.5: 1.53 ± 4.3027 * 0.4509 / sqrt(3)
    assert historical_reading(pd.DataFrame(layer + batch), pd.DataFrame(free)).endswith(
        "BatchNorm is at 99.03 % in epoch 18 instead of 97.50 %: the penalty cost 1.53 ± 1.12 points (3 seeds).")
    assert "cost 2.00 and 1.10 points (2 seeds)." in historical_reading(pd.DataFrame(batch), pd.DataFrame(free[:40]))
    assert historical_reading(pd.DataFrame(layer), pd.DataFrame(columns=free[0])) == alone
    assert historical_reading(pd.DataFrame(layer[:20])).endswith("LayerNorm 99.37 % there, 99.35 % here.")
    assert "can't stand beside it" in historical_reading(pd.DataFrame(layer).assign(dataset="digits"))
    assert "too short" in historical_reading(pd.DataFrame(layer[:5]))


def test_one_further_value_lies_in_the_prediction_interval():
    """95 times in 100, whatever the five values before it were."""
    draws = np.random.default_rng(0).normal(3, 2, (4000, 6))
    hits = [abs(row[5] - row[:5].mean()) <= prediction_half_width(row[:5]) for row in draws]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.01)


def test_reused_records_are_told(data):
    records = [record("layer", 0, [1])]
    assert "published records" in training_report(records, [], Study(reuse_records=True), data)
    assert "published records" not in training_report(records, [], Study(), data)


def test_files_hold_what_the_tables_hold(data, tmp_path):
    records = five_seeds("layer", [1, 2]) + five_seeds("batch", [3, 1])
    save_results(tmp_path, records, ["group, seed 0: failed"], Study(), data)
    table = pd.read_csv(tmp_path / "results.csv")
    pd.testing.assert_frame_equal(table, history_table(records))
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["dataset"] == "digits" and content["num_runs"] == 4 and content["failures"]
    assert content["findings"] == findings(records, Study(), data)
    assert {v["norm"]: v["val_accuracy"] for v in content["variants"]} == {
        "layer": pytest.approx(99.85), "batch": pytest.approx(99.8)}
