"""One wide network that holds the network of several seeds, and its updates.

An update, from cutting the batch to the running average, never waits for the host: it is recorded once as a CUDA graph
and then repeated.
"""

import math
import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers import training
from helpers.config import RunConfig
from helpers.data import Dataset, augment, random_affine
from helpers.model import Net, build_model
from helpers.runs.checkpoint import momenta
from helpers.training import State

EVALUATION_BATCH = 2500  # images: enough to fill a GPU, 200 MB of activations


class WideLayerNorm(nn.LayerNorm):
    """One LayerNorm for each copy; the copies' channels lie one behind the other."""

    copies: int

    def forward(self, x: Tensor) -> Tensor:  # (N, copies * C, H, W)
        y = F.group_norm(x, self.copies, eps=self.eps)  # the mean of a group of C channels is over (C, H, W) too
        return y if self.weight is None else torch.addcmul(self.bias, y, self.weight)


def widen(net: Net, copies: int) -> Net:
    """`net`, in place, as that many independent networks in one: (N, copies, 28, 28) -> (N, 10 * copies)."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            layer.groups = copies
        elif isinstance(layer, nn.GroupNorm):
            layer.num_groups *= copies
        elif isinstance(layer, nn.LayerNorm):
            layer.__class__ = WideLayerNorm
            layer.copies = copies
    for tensor in (*net.parameters(), *net.buffers()):
        if tensor.dim():
            tensor.data = torch.cat([tensor.data] * copies)
    return net


def changing_tensors(state: State) -> list[Tensor]:
    """All that an update changes."""
    tensors = [*state.net.state_dict().values(), *momenta(state.optimizer)]
    if state.average is not None:
        tensors += state.average.state_dict().values()
    return tensors


@torch.no_grad()
def copy_states(wide: State, states: Sequence[State], into_wide: bool) -> None:
    """Copies weights, statistics and momenta of all states into the wide network's, or out of it.

    In a wide tensor the states' own lie one behind the other in the first dimension.
    """
    narrow = [changing_tensors(state) for state in states]
    for whole, *parts in zip(changing_tensors(wide), *narrow, strict=True):
        chunks = whole.chunk(len(states)) if whole.dim() else [whole] * len(states)
        for chunk, part in zip(chunks, parts, strict=True):
            if into_wide:
                chunk.copy_(part)
            else:
                part.copy_(chunk)


class Updates:
    """The updates of a wide network. All that changes from one to the next lies on the device."""

    def __init__(self, config: RunConfig, data: Dataset, copies: int):
        device = config.device
        recipe = config.recipe
        num_images = len(data.train_images)
        net = build_model(config.norm, config.num_groups or 2, recipe.dropout)
        self.config = config
        self.copies = copies
        self.state = training.start(config, widen(net, copies))
        self.images = data.train_images.to(device)
        self.labels = data.train_labels.to(device)
        self.val_images = data.val_images.to(device)
        self.val_labels = data.val_labels.to(device)
        self.num_batches = math.ceil(num_images / recipe.batch_size)
        self.order = torch.empty(copies, num_images, dtype=torch.int64, device=device)
        self.theta = torch.empty(copies, num_images, 2, 3, device=device)
        self.batch = torch.zeros(1, dtype=torch.int64, device=device)
        self.offsets = torch.arange(recipe.batch_size, device=device)
        self.schedule = torch.empty(self.num_batches, 2, device=device)  # learning rate, step of the average
        self.rate = torch.zeros((), device=device)
        self.sums = torch.zeros(3, copies, device=device)  # loss, penalty, share of correct images, times images
        for group in self.state.optimizer.param_groups:
            group["lr"] = self.rate  # read when the update runs, not when it is recorded
        self.graph = None

    def train_one_epoch(self, epoch: int, seeds: Sequence[int]) -> None:
        """All updates of `epoch` (from 1), the last one with what is left over, drawn as `data.batches` does."""
        self.clock = time.perf_counter()
        recipe = self.config.recipe
        num_images = len(self.images)
        for index, seed in enumerate(seeds):
            generator = torch.Generator().manual_seed(training.epoch_seed(seed, epoch))
            self.order[index] = torch.randperm(num_images, generator=generator)
            self.theta[index] = random_affine(num_images, recipe, generator)
        torch.manual_seed(training.epoch_seed(seeds[0], epoch) + 500_000)  # for dropout
        rows = []
        for step in range((epoch - 1) * self.num_batches, epoch * self.num_batches):
            lr = training.learning_rate(recipe, step, self.num_batches, self.config.num_epochs)
            rows.append((lr, 1 - training.average_decay(recipe.ema_decay, step)))
        self.schedule.copy_(torch.tensor(rows))
        self.batch.zero_()
        self.sums.zero_()
        num_whole, left = divmod(num_images, recipe.batch_size)
        for _ in range(num_whole):
            if self.graph is not None:
                self.graph.replay()
            elif self.images.is_cuda:
                self._record()
            else:
                self._update(self.offsets)
        if left:
            self._update(self.offsets[:left])

    def means(self) -> list[dict[str, float]]:
        """The epoch's means for each copy, as `training.train_one_epoch` returns them. Waits for the device."""
        rows = (self.sums.cpu().double() / len(self.images)).T.tolist()
        return [{"train_loss": loss, "l1_penalty": penalty, "train_accuracy": 100 * accuracy}
                for loss, penalty, accuracy in rows]

    def evaluate(self, state: State) -> training.Evaluation:
        """Validates the network of one seed."""
        return training.evaluate(state.validated, self.val_images, self.val_labels, EVALUATION_BATCH)

    def _update(self, offsets: Tensor) -> None:
        recipe = self.config.recipe
        net = self.state.net
        copies = self.copies
        positions = self.batch * recipe.batch_size + offsets
        index = self.order.index_select(1, positions)  # (copies, N)
        theta = self.theta.index_select(1, positions)  # (copies, N, 2, 3)
        x = augment(self.images[index.flatten()], theta.flatten(0, 1), recipe)  # (copies * N, 1, 28, 28)
        x = x.view(copies, -1, 28, 28).transpose(0, 1)  # (N, copies, 28, 28)
        y = self.labels[index]  # (copies, N)
        rate, average_step = self.schedule.index_select(0, self.batch).squeeze(0)
        self.rate.copy_(rate)
        logits = net(x).view(-1, copies, 10).transpose(0, 1)  # (copies, N, 10)
        losses = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none",
                                 label_smoothing=recipe.label_smoothing).view(copies, -1).mean(1)  # (copies,)
        weights = torch.cat([p.reshape(copies, -1) for p in training.penalized(net, recipe.l1_target)], dim=1)
        penalties = recipe.l1_lambda * weights.abs().sum(1)  # (copies,)
        self.state.optimizer.zero_grad()
        (losses + penalties).sum().backward()  # no weight is in two copies: each gets the gradient of its own loss
        self.state.optimizer.step()
        with torch.no_grad():
            if self.state.average is not None:
                average = [t for t in self.state.average.state_dict().values() if t.is_floating_point()]
                weights = [t for t in net.state_dict().values() if t.is_floating_point()]
                change = torch._foreach_sub(weights, average)
                torch._foreach_mul_(change, average_step)
                torch._foreach_add_(average, change)
            self.sums += len(offsets) * torch.stack([losses, penalties, (logits.argmax(2) == y).float().mean(1)])
            self.batch += 1

    def _record(self) -> None:
        """Does this update, and records it for the next ones. What the warm-up changed is put back first."""
        changed = [*changing_tensors(self.state), self.batch, self.sums, self.rate]
        before = [t.clone() for t in changed]
        random_state = torch.cuda.get_rng_state()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # now libraries choose their algorithms and reserve their memory
                self._update(self.offsets)
        torch.cuda.current_stream().wait_stream(side)
        for tensor, value in zip(changed, before, strict=True):
            tensor.copy_(value)
        self.state.optimizer.zero_grad()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):  # records, and executes nothing
            self._update(self.offsets)
        torch.cuda.set_rng_state(random_state)
        self.graph.replay()
