"""The frames count what the records hold."""

from dataclasses import replace

import numpy as np
import pytest
from planted import DIGITS, LABELS, MNIST, NUM_VAL, record

from helpers.config import VARIANTS
from helpers.results import frames
from helpers.results.intervals import wilson_interval
from helpers.results.readings import shared_reading


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


def test_shared_errors_are_of_different_seeds():
    records = [record("layer", 0, [1, 2, 3]), record("layer", 1, [2, 3, 4]), record("group", 0, [1, 2, 3, 9]),
               record("group", 1, [3, 9])]
    shared = frames.shared_frame(records)
    # LayerNorm 0 and GroupNorm 1: [3]; LayerNorm 1 and GroupNorm 0: [2, 3]
    assert shared.to_numpy().tolist() == [[2, 1.5], [1.5, 2]] and list(shared) == ["layer", "group"]
    assert frames.wrong_in_all(records) == [3]
    assert shared_reading(shared, [3], 4) == (
        "Runs of two variants share 1.5 wrong images. Two seeds of one variant share 2.0. To change the variant "
        "and not only the seed changes that by -0.5 images. 1 image is wrong in all 4 runs: 3.")
    one_seed = frames.shared_frame(records[::2])
    assert one_seed.loc["layer", "group"] == 3 and np.isnan(one_seed.loc["layer", "layer"])
    said = shared_reading(one_seed, [], 2)
    assert said == "Runs of two variants share 3.0 wrong images. 0 images are wrong in all 2 runs."
    assert shared_reading(frames.shared_frame(records[:1]), [1, 2, 3], 1).startswith("3 images are wrong in all 1 runs")


def test_environments_are_told_apart():
    """A run's time is its own: runs of machines of different speed are not mixed."""
    fast, slow, other = (record("layer", seed, []) for seed in range(3))
    for row in slow["history"] + other["history"]:
        row["seconds"] = 10.0
    other["environment"] = slow["environment"] = {"processor": "slow", "torch": "3"}
    table = frames.environments_frame([fast, slow, other])
    assert table[["torch", "runs", "epochs", "seconds"]].to_numpy().tolist() == [["2", 1, 2, 3.0], ["3", 2, 4, 40.0]]
    assert frames.environments_frame([]).empty
