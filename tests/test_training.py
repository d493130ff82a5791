"""One update, one epoch and a whole run do what they say, on the plain layers and the fast ones."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from helpers import training
from helpers.config import ParameterError, Recipe
from helpers.data import normalize
from helpers.model import build_model
from helpers.runs.checkpoint import fresh_state
from helpers.training import epochs, evaluate, start

STILL = {"rotation": 0.0, "shift": 0.0, "scale": 0.0, "shear": 0.0}


@pytest.fixture(params=[start, fresh_state])
def begin(request):
    """How a run begins: on the plain layers, or on the fast ones."""
    return request.param


@pytest.fixture
def train(begin, tiny_data):
    """train(config): the state after a whole run."""
    return lambda config: [*epochs(config, tiny_data, begin(config))][-1]


def bits(state) -> list:
    return [state.history, [p.tolist() for p in state.validated.parameters()]]


def test_a_fast_run_starts_with_the_weights_of_the_plain_one(make_config):
    config = make_config("batch", seed=3, dropout=0.1, precision="bfloat16")
    fast = fresh_state(config).net
    assert_close(fast.state_dict(), build_model("batch", seed=3).state_dict(), rtol=0, atol=0)
    assert_close(fast.state_dict(), start(config).net.state_dict(), rtol=0, atol=0)
    assert fast.precision == "bfloat16" and fast.layers[0][3].p == 0.1


@pytest.mark.parametrize("batch_size", [7, 30, 1])
def test_evaluation_is_the_mean_over_images_whatever_the_batches(tiny_data, make_config, begin, batch_size):
    net = begin(make_config("batch")).net
    labels = tiny_data.val_labels  # 30
    before = copy.deepcopy(net)
    evaluation = evaluate(net, tiny_data.val_images, labels, batch_size)  # in file order
    assert net.training, "the mode is restored"
    assert_close(net.state_dict(), before.state_dict(), rtol=0, atol=0)
    logits = before.eval()(normalize(tiny_data.val_images)).detach()
    confidence, predictions = logits.softmax(1).max(1)
    assert evaluation.loss == pytest.approx(F.cross_entropy(logits, labels).item())
    assert evaluation.correct == (predictions == labels).sum()
    assert evaluation.accuracy == 100 * evaluation.correct / 30
    assert torch.equal(evaluation.predictions, predictions)
    assert_close(evaluation.confidence, confidence)
    assert_close(evaluation.true_confidence, logits.softmax(1)[range(30), labels])


@pytest.mark.parametrize("target", ["weights", "all"])
def test_train_step_descends_the_loss_and_the_penalty(tiny_data, make_config, begin, target):
    config = make_config("batch", lr=0.5, momentum=0.0, l1_lambda=0.01, l1_target=target)
    state = begin(config)
    net = copy.deepcopy(state.net)
    x, y = normalize(tiny_data.train_images[:16]), tiny_data.train_labels[:16]
    logits = net(x)
    loss = F.cross_entropy(logits, y)
    counted = [p for p in net.parameters() if target == "all" or p.dim() == 4]
    penalty = 0.01 * sum(p.abs().sum() for p in counted)
    (loss + penalty).backward()
    accuracy = (logits.argmax(1) == y).float().mean()
    values = training.train_step(state.net, state.optimizer, x, y, config.recipe)
    assert_close(values, torch.stack([loss, penalty, accuracy]))
    expected = [p - 0.5 * p.grad for p in net.parameters()]
    assert_close(list(state.net.parameters()), expected)


def test_epoch_means_weigh_every_image_the_same(tiny_data, make_config, begin):
    """At a learning rate of almost zero they are the untrained network's: 70 = 4 * 16 + 6."""
    images, labels = tiny_data.train_images, tiny_data.train_labels
    config = make_config("layer", lr=1e-12, schedule="constant", l1_lambda=0.25, **STILL)
    state = begin(config)
    logits = state.net(normalize(images))
    penalty = 0.25 * sum(weight.abs().sum() for weight in training.conv_weights(state.net))
    accuracy = 100 * (logits.argmax(1) == labels).double().mean()
    means = training.train_one_epoch(state, images, labels, config)
    assert means["train_loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert means["train_accuracy"] == pytest.approx(accuracy.item())
    assert means["l1_penalty"] == pytest.approx(penalty.item(), rel=1e-5)


@pytest.mark.parametrize("schedule", ["step", "one_cycle"])
def test_schedule_is_torchs(schedule):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.05)
    if schedule == "step":
        reference = torch.optim.lr_scheduler.StepLR(optimizer, 6 * 7, 0.1)
    else:
        reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, 14 * 7, cycle_momentum=False)
    for step in range(14 * 7):
        rate = training.learning_rate(Recipe(lr=0.05, schedule=schedule), step, 7, 14)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        reference.step()


def test_shortest_one_cycle():
    for num_steps in (1, 2, 3):
        for step in range(num_steps):
            assert 0 < training.learning_rate(Recipe(), step, num_steps, 1) <= Recipe().lr


@pytest.mark.parametrize(("step", "decay"), [(1000, 0.75), (0, 0.1)])  # 0.1 = (1 + 0) / (10 + 0)
def test_average_follows_the_weights_and_the_running_statistics(step, decay):
    net = build_model("batch")
    net(torch.randn(4, 1, 28, 28))  # moves the running statistics
    average = build_model("batch")
    before = copy.deepcopy(average.state_dict())
    training.update_average(average, net, 0.75, step)
    after = average.state_dict()
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            assert_close(after[name], decay * before[name] + (1 - decay) * value)


def test_weight_decay_is_on_convolutions_alone():
    net = build_model("group")
    decayed, others = training.make_optimizer(net, Recipe(weight_decay=0.5)).param_groups
    assert decayed["weight_decay"] == 0.5 and others["weight_decay"] == 0
    assert [p.dim() for p in decayed["params"]] == 8 * [4]
    assert [p.dim() for p in others["params"]] == 12 * [1]


def test_a_run_depends_on_its_config_alone(train, begin, tiny_data, make_config):
    config = make_config("layer", dropout=0.1)
    whole = bits(train(config))
    state = next(epochs(config, tiny_data, begin(config)))
    train(make_config("batch", l1_lambda=0.01))  # must not reach the run that goes on
    *_, state = epochs(config, tiny_data, state)
    assert bits(state) == whole != bits(train(replace(config, seed=1)))


@pytest.mark.parametrize("ema_decay", [0.9, 0.0])
def test_the_average_is_validated_where_there_is_one(train, tiny_data, make_config, ema_decay):
    state = train(make_config("batch", ema_decay=ema_decay))
    expected = evaluate(state.average if ema_decay else state.net, tiny_data.val_images, tiny_data.val_labels)
    assert state.history[-1]["val_loss"] == state.evaluation.loss == expected.loss
    assert state.history[-1]["val_correct"] == expected.correct


def test_it_learns(train, make_config):
    row = train(make_config("batch", num_epochs=12, l1_lambda=0.0, **STILL)).history[-1]
    assert row["val_accuracy"] > 90, "ten squares in ten positions"
    assert (row["epoch"], row["l1_penalty"]) == (12, 0.0)


def test_diverging_run_says_when_and_why(train, make_config):
    expected = r"^layer, seed 0: .* epoch 1; the learning rate \(1e\+30\) is probably too high$"
    with pytest.raises(training.DivergedError, match=expected):
        train(make_config("layer", lr=1e30, l1_lambda=0.0))


def test_batch_size_above_the_data(train, make_config):
    train(make_config(batch_size=70))
    with pytest.raises(ParameterError, match="batch_size: got 71, takes at most the 70 training"):
        train(make_config(batch_size=71))
