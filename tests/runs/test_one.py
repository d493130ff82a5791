"""A run is the same to the bit however it came about, and its record means what its names say."""

import copy

import pytest
import torch
import torch.nn.functional as F
from support import without_clock
from torch import nn

from helpers.data import normalize
from helpers.machine import reproducible
from helpers.runs.checkpoint import Checkpoint, fresh_state
from helpers.runs.one import fit, result_of
from helpers.training import conv_weights, epochs


@pytest.mark.parametrize("own", [
    {"norm": "layer"}, {"norm": "group"}, {"norm": "batch"},
    {"norm": "batch", "recipe": "original"},  # with dropout and without an average
    {"norm": "group", "recipe": "original", "precision": "bfloat16"}])
def test_interrupted_run_ends_with_the_same_bits(own, tiny_data, make_config, tmp_path):
    config = make_config(num_epochs=3, batch_size=3, **own)
    checkpoint = Checkpoint(tmp_path / "cut.pt", config, tiny_data)
    whole = without_clock(fit(config, tiny_data))
    for last_epoch in (1, 2):
        def interrupt(epoch, share, val_accuracy, last_epoch=last_epoch):
            if epoch == last_epoch + 1:  # told at batch 20 of 24
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(config, tiny_data, checkpoint, interrupt)
        assert len(checkpoint.load().history) == last_epoch
    torch.manual_seed(123)  # the random state of whoever resumes does not matter
    assert without_clock(fit(config, tiny_data, checkpoint)) == whole
    assert without_clock(fit(config, tiny_data, checkpoint)) == whole, "all epochs were in the checkpoint"


def test_fit_leaves_the_process_alone_and_tells_where_it_stands(tiny_data, make_config):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    threads = torch.get_num_threads()
    seen = []
    record = fit(make_config(batch_size=3, dropout=0.1), tiny_data, on_progress=lambda *where: seen.append(where))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    first, last = [row["val_accuracy"] for row in record["history"]]
    assert seen == [(1, 20 / 24, None), (1, 1, first), (2, 20 / 24, first), (2, 1, last)]


def test_wrong_images_are_those_of_the_last_epoch(tiny_data, make_config):
    record = fit(make_config(), tiny_data)
    assert len(record["wrong"]) == 30 - record["history"][-1]["val_correct"] > 0
    assert record["wrong"] == sorted(record["wrong"])
    for index, label, prediction, confidence, true_confidence in record["wrong"]:
        assert label == tiny_data.val_labels[index] != prediction
        assert 1 >= confidence >= true_confidence >= 0


def test_record_tells_of_the_weights_and_of_batch_statistics(tiny_data, make_config):
    config = make_config("batch", batch_size=10)
    with reproducible("cpu"):
        state = list(epochs(config, tiny_data, fresh_state(config)))[-1]
        record = result_of(state, config, tiny_data)
    net = state.average
    weights = torch.cat([weight.flatten() for weight in conv_weights(net)])
    assert record["near_zero"] == pytest.approx((weights.abs() < 1e-3).sum().item() / len(weights))
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert record["gamma"] == pytest.approx([layer.weight.abs().mean().item() for layer in norms])
    assert len(norms) == 6
    losses = []  # 30 images, 10 at a time, in train mode: each batch is normalised by its own statistics
    for images, labels in zip(tiny_data.val_images.split(10), tiny_data.val_labels.split(10), strict=True):
        logits = copy.deepcopy(net).train()(normalize(images))
        losses.append(F.cross_entropy(logits, labels).item())
    assert record["batch_statistics"]["val_loss"] == pytest.approx(sum(losses) / 3, rel=1e-4)
    assert record["batch_statistics"]["val_loss"] != record["history"][-1]["val_loss"]
    assert all(layer.running_mean is not None for layer in norms), "the network is as it was"
    other = fit(make_config("none", lr=0.01), tiny_data)
    assert other["gamma"] == []
    assert "batch_statistics" not in other
