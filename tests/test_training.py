"""A run is the same to the bit however it came about, and its metrics mean what their names say."""

import copy
import hashlib
import io
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from helpers import training
from helpers.config import RECIPES, VARIANTS, ParameterError, Recipe, Study
from helpers.data import normalize
from helpers.model import build_model
from helpers.training import (
    DivergedError,
    conv_weights,
    evaluate,
    fit,
    l1_penalty,
    learning_rate,
    make_optimizer,
    penalized,
    resolve_device,
    resolve_precision,
    train_one_epoch,
    update_average,
)


def numbers(record: dict) -> list:
    """A record without what the clock says."""
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in record["history"]]
    return [record["num_parameters"], rows, record["wrong"]]


class Interrupted(Exception):
    pass


def interrupt_after(epoch: int):
    def on_progress(progress):
        if progress.epoch == epoch + 1:
            raise Interrupted
    return on_progress


# --- reproducible ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("norm", VARIANTS)
def test_interrupted_run_ends_with_the_same_bits(tiny_data, make_config, tmp_path, norm, recipe, precision):
    # 24 batches: progress is told at batch 20
    config = make_config(norm, num_epochs=4, recipe=recipe, batch_size=3, precision=precision)
    whole = fit(config, tiny_data, tmp_path / "whole.pt")
    for epoch in (1, 3):
        with pytest.raises(Interrupted):
            fit(config, tiny_data, tmp_path / "cut.pt", interrupt_after(epoch))
    torch.manual_seed(123)  # the random state of whoever resumes does not matter
    assert numbers(fit(config, tiny_data, tmp_path / "cut.pt")) == numbers(whole)
    assert numbers(fit(config, tiny_data, tmp_path / "cut.pt")) == numbers(whole), "all epochs were in the checkpoint"


def test_same_seed_same_bits_other_seed_other_bits(tiny_data, make_config):
    assert numbers(fit(make_config(), tiny_data)) == numbers(fit(make_config(), tiny_data))
    assert numbers(fit(make_config(), tiny_data)) != numbers(fit(make_config(seed=1), tiny_data))


def test_fit_leaves_random_state_and_threads_alone(tiny_data, make_config):
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    fit(make_config(dropout=0.1), tiny_data)
    assert torch.equal(state, torch.get_rng_state()) and torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_damaged_checkpoint_is_set_aside(tiny_data, make_config, tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    config = make_config()
    if content is None:  # a foreign one: of another variant
        fit(make_config("layer"), tiny_data, path)
    else:
        path.write_bytes(content)
    assert numbers(fit(config, tiny_data, path)) == numbers(fit(config, tiny_data))
    assert (tmp_path / "checkpoint.damaged").exists()


def test_checkpoint_with_code_in_it_is_not_run(tiny_data, make_config, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    pickled = io.BytesIO()
    torch.save({"net": Evil()}, pickled)
    (tmp_path / "checkpoint.pt").write_bytes(pickled.getvalue() + hashlib.sha256(pickled.getvalue()).digest())
    fit(make_config(), tiny_data, tmp_path / "checkpoint.pt")
    assert not (tmp_path / "pwned").exists()


# --- metrics --------------------------------------------------------------------------------------------------------


def test_evaluation_is_the_mean_over_images_whatever_the_batches(tiny_data):
    net = build_model("batch", seed=0).train()
    images, labels = tiny_data.val_images, tiny_data.val_labels  # 30 images
    before = {k: v.clone() for k, v in net.state_dict().items()}
    parts = [evaluate(net, images, labels, batch_size) for batch_size in (7, 30, 1)]
    logits = copy_in_eval_mode(net)(normalize(images)).double()
    for part in parts:
        assert_close(part.loss, F.cross_entropy(logits, labels).item(), rtol=1e-5, atol=1e-6)
        assert torch.equal(part.predictions, logits.argmax(1))
        assert part.correct == int((logits.argmax(1) == labels).sum())
        assert part.accuracy == 100 * part.correct / 30
        probabilities = logits.softmax(1).float()
        assert_close(part.confidence, probabilities.max(1).values, rtol=1e-4, atol=1e-6)
        assert_close(part.true_confidence, probabilities[torch.arange(30), labels], rtol=1e-4, atol=1e-6)
    assert net.training, "the mode is restored"
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def copy_in_eval_mode(net):
    return copy.deepcopy(net).eval()


def test_evaluation_keeps_file_order(tiny_data):
    net = build_model("layer", seed=0)
    forwards = evaluate(net, tiny_data.val_images, tiny_data.val_labels)
    backwards = evaluate(net, tiny_data.val_images.flip(0), tiny_data.val_labels.flip(0))
    assert torch.equal(forwards.predictions, backwards.predictions.flip(0))
    assert not torch.equal(forwards.true_confidence, backwards.true_confidence)


def test_wrong_images_are_those_of_the_last_epoch(tiny_data, make_config):
    record = fit(make_config(), tiny_data)
    assert len(record["history"]) == 2
    assert len(record["wrong"]) == 30 - record["history"][-1]["val_correct"] > 0
    indices = [row[0] for row in record["wrong"]]
    assert indices == sorted(indices)
    for index, label, prediction, confidence, true_confidence in record["wrong"]:
        assert label == tiny_data.val_labels[index] != prediction
        assert 1 >= confidence >= true_confidence >= 0


def test_record_tells_of_the_weights_and_of_batch_statistics(tiny_data, make_config, monkeypatch):
    nets = []
    real = training.outcome
    monkeypatch.setattr(training, "outcome", lambda net, *rest: (nets.append(net), real(net, *rest))[1])
    config = make_config("batch", batch_size=10)
    record = fit(config, tiny_data)
    (net,) = nets
    weights = torch.cat([w.detach().flatten() for w in conv_weights(net)])
    assert record["near_zero"] == pytest.approx(sum(abs(w) < 1e-3 for w in weights.tolist()) / len(weights))
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert record["gamma"] == pytest.approx([m.weight.abs().mean().item() for m in norms]) and len(norms) == 6
    losses = []  # 30 images, 10 at a time, in train mode: each batch is normalised by its own mean and variance
    for start in (0, 10, 20):
        logits = copy.deepcopy(net).train()(normalize(tiny_data.val_images[start:start + 10]))
        losses.append(F.cross_entropy(logits, tiny_data.val_labels[start:start + 10]).item())
    assert record["batch_statistics"]["val_loss"] == pytest.approx(sum(losses) / 3, rel=1e-4)
    assert record["batch_statistics"]["val_loss"] != record["history"][-1]["val_loss"]
    assert all(m.running_mean is not None for m in norms), "the network is as it was"
    assert "batch_statistics" not in fit(make_config("layer"), tiny_data)
    assert fit(make_config("none", lr=0.01), tiny_data)["gamma"] == []


def test_epoch_means_weigh_every_image_the_same(tiny_data, make_config):
    """With a learning rate of almost zero the epoch's means are those of the untrained network: 70 = 4 * 16 + 6."""
    still = {"rotation": 0.0, "shift": 0.0, "scale": 0.0, "shear": 0.0, "lr": 1e-12, "schedule": "constant"}
    config = make_config("layer", l1_lambda=0.25, l1_target="all", **still)
    net = build_model("layer", seed=0)
    logits = net(normalize(tiny_data.train_images))
    row = train_one_epoch(net, make_optimizer(net, config.recipe), tiny_data.train_images, tiny_data.train_labels,
                          config, 1)
    assert_close(row["train_loss"], F.cross_entropy(logits, tiny_data.train_labels).item(), rtol=1e-5, atol=0)
    assert_close(row["train_accuracy"], 100 * (logits.argmax(1) == tiny_data.train_labels).double().mean().item(),
                 rtol=1e-6, atol=0)
    assert_close(row["l1_penalty"], 0.25 * sum(p.abs().sum().item() for p in net.parameters()), rtol=1e-5, atol=0)


# --- the penalty ----------------------------------------------------------------------------------------------------


def test_penalty_is_lambda_times_the_sum_of_absolute_values():
    net = build_model("batch", seed=0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.linspace(-1, 1, p.numel() + 1)[:-1].view_as(p))  # as many negative as positive ones
    expected = {"all": sum(p.detach().double().abs().sum() for p in net.parameters()),
                "weights": sum(p.detach().double().abs().sum() for p in net.parameters() if p.dim() == 4)}
    for target, value in expected.items():
        recipe = replace(Recipe(), l1_lambda=0.125, l1_target=target)
        assert_close(l1_penalty(net, recipe).double(), 0.125 * value, rtol=1e-5, atol=0)
    assert len(penalized(net, "all")) == 20 and len(penalized(net, "weights")) == 8 == len(conv_weights(net))


def test_penalty_pulls_and_data_loss_is_recorded_without_it(tiny_data, make_config):
    free = fit(make_config("batch", l1_lambda=0.0), tiny_data)["history"]
    held = fit(make_config("batch", l1_lambda=0.01, lr=0.1), tiny_data)["history"]
    assert free[0]["l1_penalty"] == 0 < held[1]["l1_penalty"] < held[0]["l1_penalty"]
    assert held[0]["train_loss"] < 5 < held[0]["l1_penalty"], "the penalty is not in the loss"


# --- schedules, averages, optimizer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["step", "one_cycle"])
def test_schedule_is_torchs(schedule):
    num_epochs, steps = 14, 7
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.05)
    if schedule == "step":
        reference = torch.optim.lr_scheduler.StepLR(optimizer, 6, 0.1)
    else:
        reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=num_epochs * steps,
                                                        cycle_momentum=False)
    recipe = replace(Recipe(), lr=0.05, schedule=schedule)
    for step in range(num_epochs * steps):
        assert math.isclose(learning_rate(recipe, step, steps, num_epochs), optimizer.param_groups[0]["lr"],
                            rel_tol=1e-9), step
        optimizer.step()
        if schedule == "one_cycle" or (step + 1) % steps == 0:
            reference.step()


@pytest.mark.parametrize(("steps", "num_epochs"), [(1, 1), (1, 2), (2, 1), (3, 1)])
def test_shortest_one_cycle(steps, num_epochs):
    rates = [learning_rate(Recipe(), step, steps, num_epochs) for step in range(steps * num_epochs)]
    assert all(0 < rate <= Recipe().lr for rate in rates)


def test_average_follows_the_weights_and_the_running_statistics():
    average, net = build_model("batch", seed=0), build_model("batch", seed=1)
    start = {k: v.clone() for k, v in average.state_dict().items()}
    update_average(average, net, 0.75, step=1000)
    for key, value in average.state_dict().items():
        if value.is_floating_point():
            assert_close(value, 0.75 * start[key] + 0.25 * net.state_dict()[key], rtol=1e-5, atol=1e-7)
    update_average(average, net, 0.999, step=0)  # early on the average follows quickly: decay (1 + 0) / (10 + 0)
    weight = next(average.parameters()).detach()
    expected = 0.1 * (0.75 * next(iter(start.values())) + 0.25 * next(net.parameters())) + 0.9 * next(net.parameters())
    assert_close(weight, expected.detach(), rtol=1e-4, atol=1e-6)


def test_weight_decay_is_on_convolutions_alone():
    net = build_model("group", seed=0)
    decayed, others = make_optimizer(net, replace(Recipe(), weight_decay=0.5)).param_groups
    assert decayed["weight_decay"] == 0.5 and others["weight_decay"] == 0
    assert {id(p) for p in decayed["params"]} == {id(p) for p in conv_weights(net)}
    assert len(others["params"]) == 12


def test_each_run_trains_its_own_parameters(tiny_data, make_config):
    """The penalty, the optimizer and the weights of one run must not reach the next."""
    alone = numbers(fit(make_config("layer"), tiny_data))
    fit(make_config("batch", l1_lambda=0.01), tiny_data)
    assert numbers(fit(make_config("layer"), tiny_data)) == alone


def test_it_learns(tiny_data, make_config):
    record = fit(make_config("batch", num_epochs=30, rotation=0.0, shift=0.0, scale=0.0, shear=0.0), tiny_data)
    assert record["history"][-1]["val_accuracy"] > 90, "ten squares in ten places"


# --- refused --------------------------------------------------------------------------------------------------------


def test_diverging_run_says_when_and_why(tiny_data, make_config):
    with pytest.raises(DivergedError, match=r"layer, seed 0: .* epoch 1; .*rate \(1e\+30\) is probably too high"):
        fit(make_config("layer", lr=1e30, l1_lambda=0.0), tiny_data)


def test_batch_size_above_the_data(tiny_data, make_config):
    with pytest.raises(ParameterError, match="batch_size: got 71, takes at most the 70 training images"):
        fit(make_config(batch_size=71), tiny_data)


def test_precision_is_found_and_named(make_config):
    assert resolve_precision("float32", "cpu") == "float32" and resolve_precision("bfloat16", "cpu") == "bfloat16"
    assert resolve_precision("auto", "cpu") in ("float32", "bfloat16")
    assert resolve_precision("auto", "cuda") == "float32"
    with pytest.raises(ParameterError, match="precision: got 'bfloat16' on 'cuda', takes 'auto' or 'float32' there"):
        resolve_precision("bfloat16", "cuda")
    assert make_config(precision="auto").recipe.precision == "float32", "a run's identity never says auto"
    assert Study(precision="auto").run_configs("cpu", "bfloat16")[0].recipe.precision == "bfloat16"
    assert Study(precision="float32").run_configs("cpu", "bfloat16")[0].recipe.precision == "float32"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_missing_device_is_named():
    with pytest.raises(ParameterError, match="device: got 'cuda', but this machine has none; takes 'auto' or 'cpu'"):
        resolve_device("cuda")
    assert resolve_device("auto") in ("cpu", "mps")
