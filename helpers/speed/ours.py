"""Our pipeline, measured: `helpers.training` on the fast layers, one thread a run."""

import math
import re
import time
from functools import partial

import torch
from torch.profiler import ProfilerActivity

from helpers.config import RunConfig, Study
from helpers.data import Dataset, batches
from helpers.machine import reproducible
from helpers.runs.checkpoint import fresh_state
from helpers.speed.ordinary import WARM_UP, first_images
from helpers.training import (
    epoch_seed,
    evaluate,
    learning_rate,
    train_one_epoch,
    train_step,
    update_average,
)

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


@reproducible("cpu")
def time_ours(data: Dataset, norm: str, num_batches: int, changes: dict) -> float:
    """Seconds a batch, after the warm-up. changes: values that replace the recipe's own."""
    train = _warm(data, norm, num_batches, changes)
    start = time.perf_counter()
    train()
    return (time.perf_counter() - start) / num_batches


@reproducible("cpu")
def profile_ours(data: Dataset, norm: str, num_batches: int) -> dict[str, float]:
    """Milliseconds a batch by kind of operation; torch's profiler slows all a little."""
    train = _warm(data, norm, num_batches, {})
    with torch.profiler.profile(activities=[ProfilerActivity.CPU]) as profiled:
        train()
    totals = dict.fromkeys(KINDS, 0.0)
    for event in profiled.key_averages():
        kind = next(kind for kind, names in KINDS.items() if re.search(names, event.key))
        totals[kind] += event.self_cpu_time_total / 1000 / num_batches
    return totals


def _warm(data: Dataset, norm: str, num_batches: int, changes: dict) -> partial:
    """A function that trains `num_batches`. Its network has trained a few already."""
    config = _run_config(norm, recipe="original", changes=changes)
    size = config.recipe.batch_size
    train = partial(train_one_epoch, fresh_state(config), config=config)
    train(*first_images(data, WARM_UP * size))
    return partial(train, *first_images(data, num_batches * size))


def _run_config(norm: str, **asked) -> RunConfig:
    return Study(norms=(norm,), seeds=(0,), **asked).run_configs("cpu")[0]


@reproducible("cpu")
def time_to_accuracy(data: Dataset, norm: str, target: float) -> tuple[float, int]:
    """Seconds and updates of training until the averaged weights reach `target` percent.

    The recipe is `tuned` in three epochs, validated every 100 updates of an epoch with the clock
    stopped. The seconds are nan when three epochs do not suffice.
    """
    config = _run_config(norm, num_epochs=3)
    recipe = config.recipe
    num_batches = math.ceil(len(data.train_images) / recipe.batch_size)
    state = fresh_state(config)
    seconds = 0.0
    updates = 0
    start = time.perf_counter()
    for epoch in (1, 2, 3):
        generator = torch.Generator().manual_seed(epoch_seed(config.seed, epoch))
        epoch_batches = batches(data.train_images, data.train_labels, recipe, generator)
        for batch, (x, y) in enumerate(epoch_batches, 1):
            for group in state.optimizer.param_groups:
                group["lr"] = learning_rate(recipe, updates, num_batches, config.num_epochs)
            train_step(state.net, state.optimizer, x, y, recipe)
            update_average(state.average, state.net, recipe.ema_decay, updates)
            updates += 1
            if batch % 100 == 0:
                seconds += time.perf_counter() - start
                validation = evaluate(state.average, data.val_images, data.val_labels)
                if validation.accuracy >= target:
                    return seconds, updates
                start = time.perf_counter()
    return math.nan, updates
