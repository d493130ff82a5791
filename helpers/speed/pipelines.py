"""The two pipelines that train the same recipe, timed on the same images.

Ordinary, as PyTorch's tutorials teach it: PIL images, one transform an image, a DataLoader, torch.nn,
all cores. Ours: `helpers.training` on the fast layers, one thread a run.
"""

import math
import re
import time
from functools import partial
from timeit import timeit

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import Compose, Normalize, RandomRotation, ToTensor

from helpers.config import RECIPES, VARIANTS, Study
from helpers.data import MEAN, STD, Dataset
from helpers.machine import reproducible
from helpers.model import build_model
from helpers.runs.checkpoint import fresh_state
from helpers.training import evaluate, train_one_epoch

RECIPE = RECIPES["original"]  # dropout, rotation, the penalty for the third variant
WARM_UP = 4  # batches before the clock starts
TRANSFORM = Compose([
    ToTensor(), RandomRotation(RECIPE.rotation, fill=RECIPE.fill), Normalize((MEAN,), (STD,))])

# Kinds of operation, and what their events are called in the profile; the first that fits counts.
KINDS = {
    "convolutions, forward": "mkldnn_convolution|thnn_conv2d",
    "convolutions, backward": "convolution_backward",
    "normalisation": "layer_norm|group_norm|batch_norm",
    "ReLU": "threshold_backward|clamp_min|relu",
    "pooling": "pool2d",
    "dropout": "_Drop|random_|index_fill|aten::log_|cumsum|searchsorted",
    "augmentation": "grid_sampler|affine_grid|aten::index",
    "optimizer": "Optimizer|_foreach",
    "everything else": "",
}


def first_images(data: Dataset, count: int) -> tuple[Tensor, Tensor]:
    """`count` training images and labels; smaller data are repeated."""
    index = torch.arange(count) % len(data.train_images)
    return data.train_images[index], data.train_labels[index]


class PilImages(TensorDataset):
    """Images as torchvision's MNIST hands them out: one PIL image at a time, transformed alone."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = super().__getitem__(index)
        return TRANSFORM(Image.fromarray(image.numpy())), int(label)


def time_ordinary(data: Dataset, num_batches: int, num_workers: int, norm: str) -> float:
    """Seconds a batch, after the warm-up. num_workers: the DataLoader's processes."""
    images = PilImages(*first_images(data, (WARM_UP + num_batches) * RECIPE.batch_size))
    loader = DataLoader(images, RECIPE.batch_size, shuffle=True, num_workers=num_workers)
    model = build_model(norm, dropout=RECIPE.dropout)
    optimizer = torch.optim.SGD(model.parameters(), lr=RECIPE.lr, momentum=RECIPE.momentum)
    for batch, (x, y) in enumerate(loader):
        if batch == WARM_UP:
            start = time.perf_counter()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if VARIANTS[norm].l1:
            loss = loss + RECIPE.l1_lambda * sum(p.abs().sum() for p in model.parameters())
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / num_batches


@reproducible("cpu")
def time_ours(data: Dataset, num_batches: int, norm: str, **changes) -> float:
    """Seconds a batch, after the warm-up. changes: values that replace the recipe's own."""
    return timeit(_warm(data, num_batches, norm, **changes), number=1) / num_batches


@reproducible("cpu")
def profile_ours(data: Dataset, num_batches: int, norm: str) -> dict[str, float]:
    """Milliseconds a batch by kind of operation; torch's profiler slows all a little."""
    train = _warm(data, num_batches, norm)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        train()
    totals = dict.fromkeys(KINDS, 0.0)
    for event in profiled.key_averages():
        kind = next(kind for kind, names in KINDS.items() if re.search(names, event.key))
        totals[kind] += event.self_cpu_time_total / 1000 / num_batches
    return totals


def _warm(data: Dataset, num_batches: int, norm: str, **changes) -> partial:
    """A function that trains `num_batches`. Its network has trained a few already."""
    (config,) = Study(norms=(norm,), seeds=(0,), recipe="original", changes=changes).run_configs("cpu")
    size = config.recipe.batch_size
    train = partial(train_one_epoch, fresh_state(config), config=config)
    train(*first_images(data, WARM_UP * size))
    return partial(train, *first_images(data, num_batches * size))


@reproducible("cpu")
def time_to_accuracy(data: Dataset, target: float, norm: str) -> tuple[str, float, int]:
    """The norm, seconds and updates of training until the averaged weights reach `target` percent.

    The recipe is `tuned` in three epochs, validated every 100 updates of an epoch with the clock stopped. The
    seconds are nan when three epochs do not suffice. The epoch that reaches it is finished, unclocked.
    """
    (config,) = Study(norms=(norm,), seeds=(0,), num_epochs=3).run_configs("cpu")
    state = fresh_state(config)
    num_batches = math.ceil(len(data.train_images) / config.recipe.batch_size)
    reached = []

    def look(batch: int) -> None:
        nonlocal start
        if reached or batch % 100:
            return
        stopped = time.perf_counter()
        if evaluate(state.average, data.val_images, data.val_labels).accuracy >= target:
            reached.append((norm, stopped - start, len(state.history) * num_batches + batch))
        start += time.perf_counter() - stopped

    start = time.perf_counter()
    while not reached and len(state.history) < 3:
        train_one_epoch(state, data.train_images, data.train_labels, config, look)
        state.history.append({})
    return reached[0] if reached else (norm, math.nan, 3 * num_batches)
