"""Several seeds of one variant trained at once on a GPU, as one wider network that never waits for the host.

A network this small leaves a GPU idle: what costs is to start its hundreds of operations. So the seeds share them (the
`copies` of `Net`), and one update, from cutting the batch to the running average, is recorded once as a CUDA graph and
then repeated. Each seed has its own images, weights and results. They are those of a run alone but for rounding: the
sums of a wider convolution are added in another order. (With dropout the masks differ too.)
"""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.config import RunConfig
from helpers.data import Dataset, augment, random_affine
from helpers.model import Net
from helpers.training import (
    DivergedError,
    Progress,
    average_decay,
    check_batch_size,
    deterministic,
    epoch_seed,
    evaluate,
    fit,
    history_row,
    learning_rate,
    make_optimizer,
    outcome,
    penalized,
    prepare,
    save_checkpoint,
)

EVALUATION_BATCH = 2500  # images: enough to fill a GPU, 200 MB of activations


def fit_together(configs: Sequence[RunConfig], data: Dataset, checkpoints: Sequence[Path | None],
                 on_progress: Callable[[RunConfig, Progress], None] = lambda config, progress: None
                 ) -> list[dict | DivergedError | OSError]:
    """Trains runs that differ in nothing but their seed; each one's record as from `fit`, or why it has none.

    Their checkpoints are those of runs alone. Where they do not stand at the same epoch, each goes on alone.
    """
    first, seeds = configs[0], [config.seed for config in configs]
    assert all(replace(config, seed=first.seed) == first for config in configs)
    check_batch_size(first.recipe, data)
    device = torch.device(first.device)
    with deterministic(first.device):
        runs = [_Run(config, data, device, path) for config, path in zip(configs, checkpoints, strict=True)]
        if len({len(run.history) for run in runs}) > 1:
            return [_alone(run.config, data, run.path, on_progress) for run in runs]
        recipe, failed = first.recipe, {}
        wide = Net(first.norm, first.num_groups or 2, recipe.dropout, recipe.precision, len(runs)).to(device)
        average = copy.deepcopy(wide) if recipe.ema_decay else None
        updates = Updates(wide, average, first, data, len(runs))
        _move(runs, updates, "into the wide network")
        val_images, val_labels = data.val_images.to(device), data.val_labels.to(device)
        for epoch in range(len(runs[0].history) + 1, first.num_epochs + 1):
            start = time.perf_counter()
            updates.start(epoch, seeds)
            for _ in range(updates.whole):
                updates()
            updates.rest()
            _move(runs, updates, "out of it")
            for run, means in zip(runs, updates.means(), strict=True):
                if run.config.seed in failed:
                    continue
                run.evaluation = evaluate(run.average or run.net, val_images, val_labels, EVALUATION_BATCH)
                try:
                    row = history_row(run.config, epoch, updates.rate.item(), means, run.evaluation, start)
                    run.history.append(row)
                    save_checkpoint(run.path, run.config, data, run.net, run.optimizer, run.average, run.history)
                except (DivergedError, OSError) as error:  # OSError: a full disk
                    failed[run.config.seed] = error
                    continue
                on_progress(run.config, Progress(epoch, updates.num_batches, updates.num_batches, first.num_epochs,
                                                 run.evaluation.accuracy))
        for run in runs:
            if run.evaluation is None:  # every epoch was in the checkpoint
                run.evaluation = evaluate(run.average or run.net, val_images, val_labels, EVALUATION_BATCH)
    return [failed.get(run.config.seed)
            or outcome(run.average or run.net, run.config, run.history, run.evaluation, data) for run in runs]


def _alone(config: RunConfig, data: Dataset, path: Path | None, on_progress) -> dict | DivergedError | OSError:
    try:
        return fit(config, data, path, lambda progress: on_progress(config, progress))
    except (DivergedError, OSError) as error:
        return error


class _Run:
    """One seed's own network, optimizer and history, from its checkpoint if there is one."""

    def __init__(self, config: RunConfig, data: Dataset, device: torch.device, path: Path | None):
        self.config, self.path, self.evaluation = config, path, None
        self.net, self.optimizer, self.average, self.history = prepare(config, data, device, path)


def _move(runs: Sequence[_Run], updates: "Updates", direction: str) -> None:
    """Copies weights, statistics and momenta of all runs into the wide network, or out of it.

    In a wide tensor the runs' own lie one behind the other in the first dimension.
    """
    wide, narrow = updates.state(), [_state(run.net, run.average, run.optimizer) for run in runs]
    with torch.no_grad():
        for place, whole in enumerate(wide):
            parts = whole.chunk(len(runs)) if whole.dim() else [whole] * len(runs)
            for part, state in zip(parts, narrow, strict=True):
                if direction == "out of it":
                    state[place].copy_(part)
                else:
                    part.copy_(state[place])


def _state(net: Net, average: Net | None, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """All that an update changes. Momenta that are not there yet are made, as zeros: that is where they start."""
    tensors = [t for part in (net, average) if part is not None for t in part.state_dict().values()]
    for group in optimizer.param_groups:
        if group["momentum"]:
            for p in group["params"]:
                if optimizer.state[p].get("momentum_buffer") is None:
                    optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
                tensors.append(optimizer.state[p]["momentum_buffer"])
    return tensors


class Updates:
    """The updates of one epoch, one call each. All that changes from one to the next lies on the device.

    net: `copies` networks in one; average: its running average, or None. `start` sets the epoch, a call does the next
    update, `rest` the last one where it has fewer images, `means` reads the epoch's means.
    """

    def __init__(self, net: Net, average: Net | None, config: RunConfig, data: Dataset, copies: int):
        device = next(net.parameters()).device
        self.net, self.average, self.config, self.copies = net, average, config, copies
        self.images, self.labels = data.train_images.to(device), data.train_labels.to(device)
        self.size = config.recipe.batch_size
        self.num_batches = math.ceil(len(self.images) / self.size)
        self.whole = len(self.images) // self.size  # batches that are full
        self.order = torch.empty(copies, len(self.images), dtype=torch.int64, device=device)
        self.theta = torch.empty(copies, len(self.images), 2, 3, device=device)
        self.batch = torch.zeros(1, dtype=torch.int64, device=device)
        self.places = torch.arange(self.size, device=device)
        self.schedule = torch.empty(self.num_batches, 2, device=device)  # learning rate, step of the average
        self.rate = torch.zeros((), device=device)
        self.sums = torch.zeros(3, copies, device=device)  # loss, penalty and share of correct images, times images
        self.optimizer = make_optimizer(net, config.recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate  # read when the update runs, not when it is recorded
        self.graph = None

    def state(self) -> list[Tensor]:
        """Weights, statistics, averages and momenta."""
        return _state(self.net, self.average, self.optimizer)

    def start(self, epoch: int, seeds: Sequence[int]) -> None:
        """Draws the order and the augmentation of `epoch` (from 1) for each seed, as `helpers.data.batches` does."""
        recipe, num_images = self.config.recipe, len(self.images)
        for place, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
            self.order[place] = torch.randperm(num_images, generator=generator)
            self.theta[place] = random_affine(num_images, recipe, generator)
        torch.manual_seed(epoch_seed(seeds[0], epoch) + 500_000)  # for dropout
        steps = range((epoch - 1) * self.num_batches, epoch * self.num_batches)
        self.schedule.copy_(torch.tensor([
            (learning_rate(recipe, step, self.num_batches, self.config.num_epochs),
             1 - average_decay(recipe.ema_decay, step)) for step in steps]))
        self.batch.zero_()
        self.sums.zero_()

    def __call__(self) -> None:
        """The next update with a full batch: recorded on CUDA the first time, then repeated."""
        if self.graph is not None:
            self.graph.replay()
        elif self.images.device.type == "cuda":
            self._record()
        else:
            self._update(self.places)

    def rest(self) -> None:
        """The update with what is left over, if anything is."""
        left = len(self.images) - self.whole * self.size
        if left:
            self._update(self.places[:left])

    def _update(self, places: Tensor) -> None:
        recipe, copies = self.config.recipe, self.copies
        index = self.order.index_select(1, self.batch * self.size + places)  # (copies, N)
        chosen = torch.arange(copies, device=index.device)[:, None]
        theta = self.theta[chosen, self.batch * self.size + places]  # (copies, N, 2, 3)
        x = augment(self.images[index.flatten()], theta.flatten(0, 1), recipe)  # (copies * N, 1, 28, 28)
        x, y = x.view(copies, -1, 28, 28).transpose(0, 1), self.labels[index]  # (N, copies, 28, 28), (copies, N)
        rate, step = self.schedule.index_select(0, self.batch).squeeze(0)
        self.rate.copy_(rate)
        logits = self.net(x).view(-1, copies, 10).transpose(0, 1)  # (copies, N, 10)
        losses = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none",
                                 label_smoothing=recipe.label_smoothing).view(copies, -1).mean(1)  # (copies,)
        weights = torch.cat([p.reshape(copies, -1) for p in penalized(self.net, recipe.l1_target)], dim=1)
        penalties = recipe.l1_lambda * weights.abs().sum(1)  # (copies,)
        self.optimizer.zero_grad(set_to_none=True)
        (losses + penalties).sum().backward()  # no weight is in two copies: each gets the gradient of its own loss
        self.optimizer.step()
        with torch.no_grad():
            if self.average is not None:
                mine, theirs = ([t for t in net.state_dict().values() if t.is_floating_point()]
                                for net in (self.average, self.net))
                change = torch._foreach_sub(theirs, mine)
                torch._foreach_mul_(change, step)
                torch._foreach_add_(mine, change)
            self.sums += len(places) * torch.stack([losses, penalties, (logits.argmax(2) == y).float().mean(1)])
            self.batch += 1

    def _record(self) -> None:
        """Does this update, and records it for the next ones. What the warm-up changed is put back first."""
        changed = [*self.state(), self.batch, self.sums, self.rate]
        before, random_state = [t.clone() for t in changed], torch.cuda.get_rng_state()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # now libraries choose their algorithms and reserve their memory
                self._update(self.places)
        torch.cuda.current_stream().wait_stream(side)
        for tensor, value in zip(changed, before, strict=True):
            tensor.copy_(value)
        self.optimizer.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):  # records, and executes nothing
            self._update(self.places)
        torch.cuda.set_rng_state(random_state)
        self.graph.replay()

    def means(self) -> list[dict[str, float]]:
        """The epoch's means for each copy. Waits for the device."""
        rows = (self.sums.cpu().double() / len(self.images)).T.tolist()
        return [{"train_loss": loss, "l1_penalty": penalty, "train_accuracy": 100 * accuracy}
                for loss, penalty, accuracy in rows]
