"""Sentences that say what the numbers say, and no more."""

import itertools
import json

import pandas as pd
import pytest
from planted import DIGITS, MNIST, NUM_VAL, record, with_errors

from helpers.config import Study
from helpers.results.findings import findings, pair_sentence, save_results
from helpers.results.frames import history_frame, pairs_frame, shown_runs
from helpers.results.readings import historical_reading, training_report

FEW = (5, 6, 4, 5, 7)
MANY = (25, 27, 23, 26, 28)


def findings_of(**numbers):
    """The findings of so many errors, seed by seed."""
    return findings(with_errors(**numbers), Study(), DIGITS)


def test_planted_tie_reads_as_a_tie():
    [pair] = pairs_frame(with_errors(layer=FEW, group=FEW)).itertuples()
    assert pair.difference == 0 and pair.p_holm == 1 and "a tie" in pair_sentence(pair, NUM_VAL)
    said = findings_of(layer=FEW, group=FEW)
    assert said[0].startswith("On made-up digits nothing shows a best normalisation: LayerNorm and GroupNorm are")
    assert not any("is better than" in sentence for sentence in said)


def test_planted_difference_reads_as_one():
    said = findings_of(layer=FEW, group=MANY)
    assert said[0].startswith("On made-up digits choose Layer Normalization")
    assert "LayerNorm is better than GroupNorm by 20.4 ± " in said[3] and "5 seeds" in said[3]
    assert findings_of(layer=MANY, group=FEW)[0].startswith("On made-up digits choose Group Normalization")


@pytest.mark.parametrize(("layer", "group", "verdict"), [
    (FEW, (25, 26, 24, 25, 27), "LayerNorm is better than GroupNorm by 20.0 ± 0.0"),
    (FEW, (6, 7, 5, 6, 8), "a tie; LayerNorm leads"),  # always the same image
    ((5, 9, 4, 8, 7), (8, 5, 9, 4, 9), "a tie; LayerNorm leads"),  # noise between seeds
    ((5, 6), (4, 5), "a tie; GroupNorm leads")])  # two seeds that agree by chance
def test_verdict_on_seeds(layer, group, verdict):
    said = findings_of(layer=layer, group=group)
    assert any(verdict in sentence for sentence in said)
    assert ("nothing shows a best" in said[0]) == ("a tie" in verdict)


def test_a_verdict_is_corrected_for_the_number_of_pairs():
    pair = {"layer": FEW, "group": (6, 9, 6, 5, 11)}
    assert "is better than" in findings_of(**pair)[3]  # p = 0.047
    said = findings_of(**pair, batch=(5, 8, 4, 7, 6))
    assert "nothing shows a best" in said[0] and not any("is better" in sentence for sentence in said)


def test_one_seed_names_no_winner_and_no_loser():
    said = " ".join(findings_of(layer=[0], group=[100], batch=[50]))
    assert said.startswith("On made-up digits one seed can't show which normalisation is best")
    assert "better" not in said and "one seed can't tell" in said
    tie = "LayerNorm and GroupNorm: a tie; they get equally many of 1,000 images right (one seed)."
    assert tie in findings_of(layer=[2], group=[2])
    behind = findings_of(layer=(5, 6), group=(6, 5), batch=[100])[0]
    assert "LayerNorm, GroupNorm and L1 + BatchNorm are not told apart" in behind


def test_historical_findings_are_for_mnist_alone():
    def historical(data, **changes):
        said = findings([record("batch", 0, [1], data)], Study.from_dict(changes), data)
        return [sentence for sentence in said if "historical" in sentence]

    assert not historical(DIGITS)
    noise, penalty = historical(MNIST)
    assert "3 of 10,000 images" in noise and "97.46 %" in penalty
    assert len(historical(MNIST, l1_lambda=0.01)) == 1


def test_failed_runs_are_told_and_not_shown_as_flawless_and_reused_ones_are_told():
    study = Study(seeds=(0, 1))
    records = [record("layer", 1, [1, 2]), record("group", 0, [1]), record("group", 1, [3])]
    said = findings(records, study, DIGITS)
    assert "3 of 6 runs failed" in said[1] and "the number of seeds differs" in said[2]
    assert shown_runs(records) == (["layer", "group"], 1)
    assert findings(records[:1], study, DIGITS)[0].endswith("alone was trained to the end.")
    assert findings(records[:1], Study(norms=("layer",)), DIGITS)[0].endswith("alone was trained.")
    for reuse in (True, False):
        report = training_report(records, ["batch, seed 0: full"], Study(reuse_records=reuse), DIGITS)
        assert ("published records" in report) == reuse and "**Failed:** batch, seed 0: full." in report


def history(norm, last, *ends):
    rows = itertools.product(["mnist"], [norm], range(len(ends)), range(1, 21))
    frame = pd.DataFrame(rows, columns=["dataset", "norm", "seed", "epoch"])
    return frame.assign(val_accuracy=frame.seed.map(dict(enumerate(ends))).where(frame.epoch == last, 50.0))


def test_beside_the_historical_run():
    """Its ends: LayerNorm 99.37 %, GroupNorm 99.40 % (20 epochs), L1 + BatchNorm 97.46 % (18)."""
    layer = history("layer", 20, 99.35, 99.39, 99.43)
    batch = history("batch", 18, 97.0, 98.0, 97.5)
    # 7.6488, t of 2 degrees of freedom at 1 - 0.05 / 6, times std times sqrt(1 + 1/3)
    assert historical_reading(pd.concat([layer, history("group", 20, 99.59, 99.60, 99.61), batch])) == (
        "At the historical run's last epoch: LayerNorm 99.37 % there, 99.39 % here (99.04 to 99.74: inside); "
        "GroupNorm 99.40 % there, 99.60 % here (99.51 to 99.69: outside); "
        "L1 + BatchNorm 97.46 % there, 97.50 % here (93.08 to 100.00: inside). "
        "In brackets the range in which one further seed ends, all 3 at once, 95 times in 100.")
    alone = historical_reading(layer)  # 4.3027
    assert alone.endswith("99.39 % here (99.19 to 99.59: inside). "
                          "In brackets the range in which one further seed ends 95 times in 100.")
    free = history("batch", 18, 99.0, 99.1, 99.0)  # 2.0, 1.1 and 1.5: 1.53 ± 4.3027 * 0.4509 / sqrt(3)
    assert historical_reading(batch, free).endswith("BatchNorm is at 99.03 % in epoch 18 instead of 97.50 %: "
                                                    "the penalty cost 1.53 ± 1.12 points (3 seeds).")
    assert "cost 2.00 and 1.10 points (2 seeds)." in historical_reading(batch, free[free.seed < 2])
    assert historical_reading(layer, history_frame([])) == alone
    assert historical_reading(layer[layer.seed == 0]).endswith("LayerNorm 99.37 % there, 99.35 % here.")
    assert "can't stand beside it" in historical_reading(layer.assign(dataset="digits"))
    assert "too short" in historical_reading(layer[layer.epoch < 5])


@pytest.mark.parametrize("records", [[], with_errors(layer=(1, 2), batch=(3, 1))])
def test_files_hold_what_the_frames_hold(records, tmp_path):
    save_results(tmp_path, records, ["group, seed 0: failed"], Study(), DIGITS)
    table = pd.read_csv(tmp_path / "results.csv")
    pd.testing.assert_frame_equal(table, history_frame(records), check_dtype=bool(records))
    content = json.loads((tmp_path / "summary.json").read_text())
    assert (content["dataset"], content["num_runs"]) == ("digits", len(records))
    assert content["failures"] == ["group, seed 0: failed"]
    assert content["findings"] == findings(records, Study(), DIGITS)
    assert records or content["findings"] == ["No run finished, so there is nothing to report."]
    accuracies = {row["norm"]: row["val_accuracy"] for row in content["variants"]}
    assert accuracies == (pytest.approx({"layer": 99.85, "batch": 99.8}) if records else {})
