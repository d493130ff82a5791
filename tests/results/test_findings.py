"""Sentences that say what the numbers say, and no more."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from planted import DIGITS, MNIST, arm, record

from helpers.config import Study
from helpers.results import findings, readings, words
from helpers.results.findings import StudyResults, training_report
from helpers.results.frames import final_frame, history_frame
from helpers.results.tables import final_table
from helpers.runs import store
from helpers.runs.confirm import Confirmation

FEW = (5, 6, 4, 5, 7)
MANY = (25, 27, 23, 26, 28)


def results_of(records, data=DIGITS, study=None, failures=()):
    return StudyResults(study or Study(), data, records, failures)


def findings_of(**numbers):
    """The findings of so many errors, seed by seed."""
    return findings.findings(results_of([one for norm in numbers for one in arm(norm, *numbers[norm], data=DIGITS)]))


def test_counts_lists_and_p_values():
    assert [words.plural(n, "seed") for n in (0, 1, 1234)] == ["0 seeds", "1 seed", "1,234 seeds"]
    assert [words.count_seeds(n) for n in (1, 2)] == ["one seed", "2 seeds"]
    assert [words.join_words("abc"[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert [words.p_text(p) for p in (0.0009, 0.0456, 0.96)] == ["p < 0.001", "p = 0.046", "p = 0.96"]


def test_differences_over_seeds():
    assert words.in_words([2.0, -0.001], sign="+") == "+2.00 and 0.00 points"
    # 4.3027, t of 2 degrees of freedom, times 1 / sqrt(3)
    assert words.in_words([1, 2, 3]) == "2.00 ± 2.48 points"


def test_planted_tie_reads_as_a_tie():
    """0.5 images of these are the margin: seeds that all agree are equal, noise between seeds tells nothing."""
    same = findings_of(layer=FEW, group=FEW)
    assert same[0] == "On made-up digits the normalisation makes no difference of 0.5 images: choose by cost."
    said = findings_of(layer=(5, 9, 4, 8, 7), group=(8, 5, 9, 4, 9))
    assert said[0] == "On made-up digits no difference is shown: LayerNorm and GroupNorm are not told apart."
    assert not any("is better than" in sentence or "equal" in sentence for sentence in said)


def test_planted_difference_reads_as_one():
    said = findings_of(layer=FEW, group=MANY)
    assert said[0].startswith("On made-up digits choose Layer Normalization")
    assert "LayerNorm is better than GroupNorm by 20.4 ± " in said[4] and "5 seeds" in said[4]
    assert findings_of(layer=MANY, group=FEW)[0].startswith("On made-up digits choose Group Normalization")


def test_a_verdict_is_corrected_for_the_number_of_pairs():
    pair = {"layer": FEW, "group": (6, 9, 6, 5, 11)}
    assert "is better than" in findings_of(**pair)[4]  # p = 0.047
    said = findings_of(**pair, batch=(5, 8, 4, 7, 6))
    assert "no difference is shown" in said[0] and not any("is better" in sentence for sentence in said)


def test_historical_findings_are_for_mnist_alone():
    def historical(data):
        said = findings.findings(results_of([record("batch", 0, [1], data)], data))
        return [sentence for sentence in said if "historical" in sentence]

    assert not historical(DIGITS)
    [gap] = historical(MNIST)  # the replication's runs are of MNIST's own images, not of these
    assert "3 of 10,000 images and one seed. With 3 images McNemar's exact p can't be below 0.25." in gap


def test_the_headline_is_the_confirmations(monkeypatch):
    """Twenty new seeds contradict the five of this notebook: they decide, and the five are named as exploratory."""
    own = arm("layer", 40, 40) + arm("group", 48, 48)
    rng = np.random.default_rng(0)
    layer, group, batch, free = np.array([[60], [50], [70], [50]]) + rng.integers(5, size=(4, 20))
    confirmed = arm("layer", *layer) + arm("group", *group) + arm("batch", *batch)
    control = arm("batch", *free)
    found = Confirmation(confirmed, control, 80)
    monkeypatch.setattr(Confirmation, "find", lambda *arguments, **options: found)
    said = findings.findings(results_of(own, MNIST))
    assert said[0].startswith("On made-up digits choose Group Normalization: it is better than LayerNorm and L1")
    assert "(20 seeds, announced before the first was run)" in said[3] and "GroupNorm 99.48 % (" in said[3]
    assert said[1].startswith("Where accuracy does not decide, choose by cost: LayerNorm learns 75,080 parameters")
    assert [sentence.split(" by ")[0] for sentence in said[4:7]] == [
        "GroupNorm is better than LayerNorm", "LayerNorm is better than L1 + BatchNorm",
        "GroupNorm is better than L1 + BatchNorm"]
    assert said[7].startswith("Its penalty puts L1 + BatchNorm behind")
    assert "this notebook (LayerNorm 8.0 images ahead of GroupNorm, 2 seeds)" in said[2]
    found.control.pop()
    said = findings.findings(results_of(own, MNIST))
    assert said[0].startswith("In exploratory runs on made-up digits choose Layer") and "2 seeds" in said[5]
    assert said[2].startswith("79 of 80 runs of the confirmation are there; they are not")
    results = results_of(own, MNIST, failures=["batch, seed 0: full"])
    answer = findings.answer_markdown(results)
    assert "**A run failed.** batch, seed 0: full" in answer and all(sentence in answer for sentence in said[:3])
    assert findings.findings_markdown(results).splitlines() == [  # the historical run has a section of its own
        f"- {sentence}" for sentence in findings.findings(results)[3:] if "historical run" not in sentence]


def test_failed_runs_are_told_and_not_shown_as_flawless():
    study = Study(seeds=(0, 1))
    records = [record("layer", 1, [1, 2]), record("group", 0, [1]), record("group", 1, [3])]
    said = findings.findings(results_of(records, study=study))
    assert "3 of 6 runs failed" in said[3] and "the number of seeds differs" in said[2]
    assert findings.findings(results_of(records[:1], study=study))[0].endswith("alone was trained to the end.")
    assert findings.findings(results_of(records[:1], study=Study(norms=("layer",))))[0].endswith("alone was trained.")
    report = training_report(results_of(records, failures=["batch, seed 0: full"]))
    assert "**Failed:** batch, seed 0: full." in report and "published" not in report


def test_runs_trained_here_are_told_from_published_ones_and_stand_beside_them(monkeypatch):
    """LayerNorm: 3 wrong here, 2 in the published run of the same seed, 2 to 4 in all; GroupNorm 9, 5, 5 to 6."""
    published = arm("layer", 2, 4, data=DIGITS) + arm("group", 5, 6, data=DIGITS)
    for module in (readings, store):
        monkeypatch.setattr(module, "published_records", lambda: dict(enumerate(published)))
    here = arm("layer", 3, data=DIGITS) + arm("group", 9, data=DIGITS)
    taken = store.reusable_records(Study(seeds=(0, 1)))
    assert [one["config"]["seed"] for one in taken.values()] == [1, 1]
    assert len(store.reusable_records(Study(reuse_records=True))) == 4
    assert store.reusable_records(Study(reuse_records=False)) == {}
    report = training_report(results_of([*here, *taken.values()]))
    assert "Of these, 2 runs come from the published records." in report
    assert "same seed: LayerNorm -1 and GroupNorm -4; outside the range of the published seeds: GroupNorm." in report
    assert list(final_table(final_frame([*here, *taken.values()])).loc["seeds"]) == ["2 (1 published)"] * 2
    assert set(history_frame([here[0], *taken.values()]).groupby("seed").published.all()) == {False, True}


def history(norm, last, *ends):
    rows = itertools.product(["mnist"], [norm], range(len(ends)), range(1, 21))
    frame = pd.DataFrame(rows, columns=["dataset", "norm", "seed", "epoch"])
    return frame.assign(val_accuracy=frame.seed.map(dict(enumerate(ends))).where(frame.epoch == last, 50.0))


def test_beside_the_historical_run():
    """Its ends: LayerNorm 99.37 %, GroupNorm 99.40 % (20 epochs), L1 + BatchNorm 97.46 % (18)."""
    layer = history("layer", 20, 99.35, 99.39, 99.43)
    batch = history("batch", 18, 97.0, 98.0, 97.5)
    # 7.6488, t of 2 degrees of freedom at 1 - 0.05 / 6, times std times sqrt(1 + 1/3)
    assert readings.historical_reading(pd.concat([layer, history("group", 20, 99.59, 99.60, 99.61), batch])) == (
        "The historical run ends, beside the range of ours: LayerNorm inside; GroupNorm outside; L1 + BatchNorm "
        "inside, but so wide a range that hardly any run is outside.\n\n"
        "At the historical run's last epoch: LayerNorm 99.37 % there, 99.39 % here (99.04 to 99.74: inside); "
        "GroupNorm 99.40 % there, 99.60 % here (99.51 to 99.69: outside); "
        "L1 + BatchNorm 97.46 % there, 97.50 % here (93.08 to 100.00: inside, but so wide "
        "a range that hardly any run is outside). "
        "In brackets the range in which one further seed ends, all 3 at once, 95 times in 100.")
    alone = readings.historical_reading(layer)  # 4.3027
    assert alone.endswith("99.39 % here (99.19 to 99.59: inside). "
                          "In brackets the range in which one further seed ends 95 times in 100.")
    free = history("batch", 18, 99.0, 99.1, 99.0)  # 2.0, 1.1 and 1.5: 1.53 ± 4.3027 * 0.4509 / sqrt(3)
    assert readings.historical_reading(batch, free).split("\n\n")[0].endswith(
        "takes BatchNorm from 97.50 to 99.03 % in epoch 18: the penalty cost 1.53 ± 1.12 points (3 seeds).")
    assert "cost 2.00 and 1.10 points (2 seeds)." in readings.historical_reading(batch, free[free.seed < 2])
    assert readings.historical_reading(layer, history_frame([])) == alone
    assert readings.historical_reading(layer[layer.seed == 0]).endswith("LayerNorm 99.37 % there, 99.35 % here.")
    assert "can't stand beside it" in readings.historical_reading(layer.assign(dataset="digits"))
    assert "too short" in readings.historical_reading(layer[layer.epoch < 5])


@pytest.mark.parametrize("records", [[], arm("layer", 1, 2, data=DIGITS) + arm("batch", 3, 1, data=DIGITS)])
def test_files_hold_what_the_frames_hold(records, tmp_path):
    results = results_of(records, failures=["group, seed 0: failed"])
    findings.save_results(tmp_path, results)
    table = pd.read_csv(tmp_path / "results.csv")
    expected = history_frame(records).astype({"num_groups": float})  # a column of None is one of nan in a file
    pd.testing.assert_frame_equal(table, expected, check_dtype=bool(records))
    content = json.loads((tmp_path / "summary.json").read_text())
    assert (content["dataset"], content["num_runs"]) == ("digits", len(records))
    assert content["failures"] == ["group, seed 0: failed"]
    assert content["findings"] == findings.findings(results)
    assert records or content["findings"] == ["No run finished, so there is nothing to report."]
    accuracies = {row["norm"]: row["val_accuracy"] for row in content["variants"]}
    assert accuracies == (pytest.approx({"layer": 99.85, "batch": 99.8}) if records else {})
