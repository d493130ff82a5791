"""How a network is trained and evaluated: the loss, the penalty, one update, one epoch, a whole run.

No disk, no threads, no clock, no progress bars: these are in `helpers/runs/`, which calls `start` and `epochs`.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.config import OneLineError, Recipe, RunConfig
from helpers.data import Dataset, batches, check_batch_size, normalize
from helpers.model import build_model

VERSION = 3  # part of every run's identity: raise it when the same configuration would train to other bits


class DivergedError(OneLineError, RuntimeError):
    """The loss is no longer a number. One line: the epoch and the likely cause."""


@dataclass(frozen=True)
class Evaluation:
    """What a network does on images: means over all of them, and one entry for each image, in file order."""

    loss: float               # mean cross-entropy, nats
    accuracy: float           # percent
    correct: int              # images
    predictions: Tensor       # (N,) int64
    confidence: Tensor        # (N,) float32, probability of the prediction
    true_confidence: Tensor   # (N,) float32, probability of the label


@dataclass
class State:
    """All that changes while a run trains. A checkpoint holds it."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    average: nn.Module | None  # running average of the weights, which is what is validated; None: validate `net`
    history: list[dict]        # one row for each finished epoch
    evaluation: Evaluation | None = None  # after the last finished epoch

    @property
    def validated(self) -> nn.Module:
        """The network that is validated, and kept."""
        return self.net if self.average is None else self.average


def start(config: RunConfig, net: nn.Module | None = None) -> State:
    """A run before its first update. `net` has the weights of the run's seed; None builds a plain one, in float32.

    The study passes the same network made faster, in the recipe's precision: `runs.checkpoint.fresh_state(config)`.
    """
    if net is None:
        net = build_model(config.norm, config.num_groups or 2, config.recipe.dropout, config.seed)
    net.to(config.device)
    average = copy.deepcopy(net) if config.recipe.ema_decay else None
    return State(net, make_optimizer(net, config.recipe), average, history=[])


def epochs(config: RunConfig, data: Dataset, state: State,
           on_batch: Callable[[int, int], None] = lambda epoch, batch: None) -> Iterator[State]:
    """Trains the epochs that `state` still lacks. Yields the same state after each, validated, with its new row.

    on_batch(epoch, batch) is called every 20 batches. Raises DivergedError, and ParameterError for too large a batch.
    """
    check_batch_size(config.recipe, data)
    images, labels = data.train_images.to(config.device), data.train_labels.to(config.device)
    val_images, val_labels = data.val_images.to(config.device), data.val_labels.to(config.device)
    for epoch in range(len(state.history) + 1, config.num_epochs + 1):
        means = train_one_epoch(state, images, labels, config, partial(on_batch, epoch))
        state.evaluation = evaluate(state.validated, val_images, val_labels)
        lr = state.optimizer.param_groups[0]["lr"]
        state.history.append(history_row(config, epoch, lr, means, state.evaluation))
        yield state


def train_one_epoch(state: State, images: Tensor, labels: Tensor, config: RunConfig,
                    on_batch: Callable[[int], None] = lambda batch: None) -> dict[str, float]:
    """One pass over the training images: the epoch that comes after those in `state.history`.

    Returns means over its images: train_loss (nats, without the penalty), l1_penalty (nats), train_accuracy (percent;
    of augmented images and moving weights, so usually below the validation accuracy).
    """
    recipe = config.recipe
    epoch = len(state.history) + 1  # as in the history, from 1
    num_batches = math.ceil(len(images) / recipe.batch_size)
    generator = torch.Generator().manual_seed(epoch_seed(config.seed, epoch))
    torch.manual_seed(epoch_seed(config.seed, epoch) + 500_000)  # for dropout; far from any epoch's own seed
    sums = torch.zeros(3, device=images.device)  # stay there: reading them would make a GPU wait
    state.net.train()
    for batch, (x, y) in enumerate(batches(images, labels, recipe, generator)):  # (N, 1, 28, 28), (N,)
        step = (epoch - 1) * num_batches + batch
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step, num_batches, config.num_epochs)
        sums += len(y) * train_step(state.net, state.optimizer, x, y, recipe)
        if state.average is not None:
            update_average(state.average, state.net, recipe.ema_decay, step)
        if (batch + 1) % 20 == 0:  # about once a second
            on_batch(batch + 1)
    loss, penalty, accuracy = (sums.cpu().double() / len(images)).tolist()
    return {"train_loss": loss, "l1_penalty": penalty, "train_accuracy": 100 * accuracy}


def train_step(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, recipe: Recipe) -> Tensor:
    """One update on images x (N, 1, 28, 28) and labels y (N,).

    Returns (3,): the data loss and the penalty in nats, and the share of images classified correctly, all three by the
    weights before the update.
    """
    logits = net(x)  # (N, 10)
    loss = F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
    penalty = l1_penalty(net, recipe)
    optimizer.zero_grad()
    (loss + penalty).backward()
    optimizer.step()
    return torch.stack([loss, penalty, (logits.argmax(1) == y).float().mean()]).detach()


def l1_penalty(net: nn.Module, recipe: Recipe) -> Tensor:
    """lambda * sum |p|, a scalar: over all parameters, or over the convolutions' weights alone.

    lambda is 0 for the variants that have no penalty, all but "batch" (`Study.run_configs`).
    """
    parameters = penalized(net, recipe.l1_target)
    if not recipe.l1_lambda:
        return torch.zeros((), device=parameters[0].device)
    return recipe.l1_lambda * torch.cat([p.flatten() for p in parameters]).abs().sum()


def penalized(net: nn.Module, target: str) -> list[nn.Parameter]:
    """The parameters that the L1 penalty counts: "all", or the convolutions' "weights"."""
    return list(net.parameters()) if target == "all" else conv_weights(net)


def conv_weights(net: nn.Module) -> list[nn.Parameter]:
    """The weights of the convolutions, top to bottom."""
    return [m.weight for m in net.modules() if isinstance(m, nn.Conv2d)]


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD; weight decay on the convolutions alone: a norm's weight that decays would switch its block off."""
    convs = conv_weights(net)
    others = [p for p in net.parameters() if p.dim() != 4]  # of the norms: only convolutions have 4 dimensions
    groups = [{"params": convs, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    nesterov = recipe.nesterov and recipe.momentum > 0  # torch refuses Nesterov without momentum
    # the same arithmetic for all weights at once, which is faster
    one_kernel = "foreach" if next(net.parameters()).device.type == "mps" else "fused"
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, **{one_kernel: True})


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, num_epochs: int) -> float:
    """The learning rate of update `step` (from 0): a function of the step alone, so that resuming needs no state.

    "step" divides by 10 every 6 epochs (torch's StepLR(6, 0.1)). "one_cycle" rises from lr / 25 to lr in 30 % of the
    steps and falls to lr / 250,000, both along a cosine (torch's OneCycleLR; Smith and Topin, arXiv:1708.07120).
    """
    if recipe.schedule == "constant":
        return recipe.lr
    if recipe.schedule == "step":
        return recipe.lr * 0.1 ** (step // steps_per_epoch // 6)
    last_step = steps_per_epoch * num_epochs - 1
    peak_step = 0.3 * (last_step + 1) - 1
    if step <= peak_step:
        return _along_cosine(recipe.lr / 25, recipe.lr, step / peak_step)
    return _along_cosine(recipe.lr, recipe.lr / 25 / 1e4, (step - peak_step) / (last_step - peak_step))


def _along_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


def average_decay(decay: float, step: int) -> float:
    """The average's decay at update `step`. It grows, so that a short run's average is not its random start.

    With 0.999 the average is over (10 + step) / 9 updates until update 8,990, then over 1,000.
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: nn.Module, net: nn.Module, decay: float, step: int) -> None:
    """Moves the running average of weights and norm statistics towards `net`, after update `step` (from 0)."""
    # in place: state_dict shares the network's memory; BatchNorm's counter of batches is no float
    old = [t for t in average.state_dict().values() if t.is_floating_point()]
    new = [t for t in net.state_dict().values() if t.is_floating_point()]
    torch._foreach_lerp_(old, new, 1 - average_decay(decay, step))  # old = decay * old + (1 - decay) * new, all at once


def epoch_seed(seed: int, epoch: int) -> int:
    """All randomness of an epoch starts here: it is the same whether the epochs before it ran now or yesterday."""
    return seed * 1_000_003 + epoch


@torch.no_grad()
def evaluate(net: nn.Module, images: Tensor, labels: Tensor, batch_size: int = 500) -> Evaluation:
    """The network in eval mode on uint8 images (N, 28, 28) in file order; its mode is restored.

    Every image weighs the same, so the batch size, and a smaller last batch, change nothing but rounding.
    """
    was_training = net.training
    net.eval()
    try:
        logits = torch.cat([net(normalize(part)) for part in images.split(batch_size)]).cpu()  # (N, 10)
    finally:
        net.train(was_training)
    labels = labels.cpu()  # all on the CPU from here: MPS has no float64
    log_probabilities = F.log_softmax(logits, dim=1)
    log_true = log_probabilities.gather(1, labels[:, None]).squeeze(1)  # (N,)
    confidence, predictions = log_probabilities.exp().max(1)
    correct = int((predictions == labels).sum())
    loss = -log_true.double().mean().item()
    return Evaluation(loss, 100 * correct / len(labels), correct, predictions, confidence, log_true.exp())


def history_row(config: RunConfig, epoch: int, lr: float, means: dict[str, float], evaluation: Evaluation) -> dict:
    """What is kept of an epoch. Raises DivergedError when a loss is no longer a number."""
    if not (math.isfinite(means["train_loss"]) and math.isfinite(evaluation.loss)):
        cause = f"the learning rate ({config.recipe.lr:g})"
        if config.recipe.l1_lambda:
            cause += f" or l1_lambda ({config.recipe.l1_lambda:g})"
        raise DivergedError(f"{config.norm}, seed {config.seed}: the loss is no longer a number in epoch {epoch}; "
                            f"{cause} is probably too high")
    return {"epoch": epoch, "lr": lr, **means, "val_loss": evaluation.loss, "val_accuracy": evaluation.accuracy,
            "val_correct": evaluation.correct}
