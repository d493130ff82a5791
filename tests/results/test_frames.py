"""The frames count what the records hold."""

from dataclasses import replace

import numpy as np
import pytest
from planted import DIGITS, LABELS, MNIST, NUM_VAL, record

from helpers.config import VARIANTS
from helpers.results import frames
from helpers.results.intervals import mcnemar_p, wilson_interval
from helpers.results.readings import confusion_reading, overlap_reading


def test_history_has_a_row_for_each_variant_seed_and_epoch():
    records = [record(norm, seed, [1]) for norm in VARIANTS for seed in (0, 1)]
    history = frames.history_frame(records)
    assert len(history) == 3 * 2 * 2 and not history.duplicated(["norm", "seed", "epoch"]).any()
    assert set(history.dataset) == {"digits"} and "seconds" not in history
    assert frames.history_frame([]).empty and frames.wrong_frame([]).empty


def test_final_frame_counts_over_seeds():
    records = [record("layer", 0, [1, 2]), record("layer", 1, [3]), record("batch", 0, [])]
    layer, batch = frames.final_frame(records).itertuples()
    assert (layer.n, layer.val_accuracy, layer.errors) == (2, pytest.approx(99.85), 1.5)
    assert layer.std == pytest.approx(np.std([99.8, 99.9], ddof=1))
    assert (layer.low, layer.high) == pytest.approx((99.85 - 12.706 * 0.05, 100), abs=1e-3)
    assert (batch.low, batch.high) == wilson_interval(NUM_VAL, NUM_VAL) and np.isnan(batch.std)


def test_historical_numbers_are_those_of_the_run_and_for_mnist_alone():
    table = frames.historical_frame()
    assert len(table) == 58 and table.val_accuracy.min() == 64.69
    assert (table.val_correct / 100 == table.val_accuracy).all()
    ends = frames.historical_ends(MNIST).set_index("norm").epoch.to_dict()
    assert ends == {"layer": 20, "group": 20, "batch": 18}
    for data in (DIGITS, replace(MNIST, name="mnist-holdout")):
        assert frames.historical_ends(data) is None
        assert "historical_val_accuracy" not in frames.final_frame([record("layer", 0, [1], data)])
    assert frames.final_frame([record("layer", 0, [1], MNIST)]).historical_val_accuracy.item() == 99.37


def test_confusion_counts_every_image():
    matrices = frames.confusion_matrices([record("layer", 0, [3, 13, 14]), record("layer", 1, [3])], LABELS)
    layer = matrices["layer"]
    assert list(matrices) == ["layer"] and layer.sum() == 2 * NUM_VAL
    assert layer[3, 4] == 3 and layer[4, 5] == 1 and layer.trace() == 1996
    assert confusion_reading(matrices) == "LayerNorm most often reads 3 as 4 (3 of its 4 errors)."


def test_overlap_counts_every_wrong_image_once():
    records = [record("layer", 0, [1, 2, 3]), record("group", 0, [2, 3, 4]), record("batch", 0, [3, 9]),
               record("batch", 1, [500])]
    counts = frames.overlap_counts(frames.wrong_frame(records), list(VARIANTS), 0)
    assert set(counts.index[counts == 1]) == {
        ("layer", "group", "batch"), ("layer", "group"), ("layer",), ("group",), ("batch",)}
    assert len(counts) == 7 and counts.sum() == 5
    assert overlap_reading(counts) == (
        "At least one variant gets 5 images wrong: 1 of them wrong for all 3 (20 %), 3 for one alone (60 %).")


def test_pairs_are_compared_on_the_same_images():
    records = [record("layer", 0, [1, 2, 3]), record("group", 0, [3, 4]), record("batch", 1, [])]
    [pair] = frames.pairs_frame(records).itertuples()  # batch has no seed in common
    assert (pair.only_a, pair.only_b, pair.difference) == (1, 2, -1) and pair.p == mcnemar_p(1, 2)
