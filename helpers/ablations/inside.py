"""What happens inside: activations and gradients by depth."""

import math
from collections.abc import Iterator

import numpy as np
import seaborn as sns
import torch
from matplotlib.figure import Figure
from matplotlib.scale import SymmetricalLogScale
from pandas import DataFrame
from torch import Tensor, nn

from helpers.ablations import common
from helpers.config import ALL_NORMS, VARIANTS, Recipe, RunConfig
from helpers.data import Dataset, normalize
from helpers.machine import reproducible
from helpers.plots.style import blank, captioned, style
from helpers.runs.checkpoint import fresh_state
from helpers.training import train_one_epoch

COLUMNS = ["norm", "update", "block", "mean", "std", "gradient"]
QUANTITIES = [  # column, for readers, scale of its axis
    ("mean", "mean of activations", SymmetricalLogScale(None, linthresh=1)),
    ("std", "standard deviation", "log"),
    ("gradient", "gradient norm", "log"),
]


@common.for_each_seed
def runs(recipe: Recipe) -> list[tuple]:
    """The three normalisations, and none, without a penalty."""
    return [(norm, recipe.without_l1(), 2) for norm in (*VARIANTS, "none")]


def watch(config: RunConfig, data: Dataset) -> DataFrame:
    """Trains a network and looks into it about twenty times: one row for each update and block.

    mean, std: of what the block's convolution gives for 250 validation images, before ReLU and norm.
    gradient: norm of the loss's gradient for the convolution's weights, of the batch at hand.
    """
    num_batches = math.ceil(len(data.train_labels) / config.recipe.batch_size)
    every = max(20, num_batches * config.num_epochs // 400 * 20)  # training calls back every 20 batches
    images = normalize(data.val_images[:250]).contiguous(memory_format=torch.channels_last)
    rows = []

    def look(batch: int) -> None:
        if batch % every == 0 or batch == num_batches:
            update = len(state.history) * num_batches + batch
            for block, seen in enumerate(_look(state.net, images), 1):
                rows.append((config.norm, update, block, *seen))

    with reproducible("cpu"):
        state = fresh_state(config)
        look(0)
        for _ in range(config.num_epochs):
            train_one_epoch(state, data.train_images, data.train_labels, config, look)
            if num_batches % 20:
                look(num_batches)
            state.history.append({})
    return DataFrame(rows, columns=COLUMNS)


@torch.no_grad()
def _look(net: nn.Module, images: Tensor) -> Iterator[tuple]:
    """Mean, standard deviation and gradient norm of each block's convolution.

    BatchNorm stays in training: its running averages are of nothing yet, and nobody reads them here.
    """
    x = images
    for layer in net.layers:
        if isinstance(layer, nn.Sequential):
            y = layer[0](x)
            gradient = layer[0].weight.grad
            yield y.mean().item(), y.std().item(), math.nan if gradient is None else gradient.norm().item()
        x = layer(x)


def finding(frame: DataFrame) -> str:
    """What depth does to activations before training, and which network died."""
    stds = []
    deaths = ""
    for name, part, alive, dead in _networks(frame):
        first, *_, last = part["std"][part["update"] == 0]
        stds.append(f"{name} {first:.2g} and {last:.2g}")
        if dead:
            deaths += (f" The network with {name} dies between updates {alive:,} and {dead:,}: from then on "
                       "all gradients are 0.")
    return ("Standard deviation of the activations before training, first block and last: "
            f"{', '.join(stds)} (one seed).{deaths}")


def _networks(frame: DataFrame) -> Iterator[tuple]:
    """Each network's name and rows, its last update with a gradient, the first without; 0 where it lives."""
    for norm, part in frame.groupby("norm", sort=False):
        gradients = part[part["update"] > 0].groupby("update").gradient.sum()
        alive = max(gradients.index[gradients != 0], default=0)
        dead = min(gradients.index[gradients.index > alive], default=0)
        yield ALL_NORMS[norm].bare, part, alive, dead


def table(frame: DataFrame) -> DataFrame:
    """Each network for readers: its gradients by depth, and its largest activations."""
    rows = {}
    for name, part, _, dead in _networks(frame):
        gradients = part.pivot(index="update", columns="block", values="gradient")
        ratio = (gradients[1] / gradients.iloc[:, -1]).median()
        largest = part.groupby("update")["std"].max()
        end = dead or largest.index[-1]
        rows[name] = {
            "gradient norm, first block / last (median)": "all 0 in the end" if dead else f"{ratio:.2f}",
            "largest standard deviation": f"{largest[0]:.2g} at first, {largest[end]:.3g} by update {end:,}",
        }
    return DataFrame.from_dict(rows, "index")


@style()
def plot(frame: DataFrame, dataset_title: str) -> Figure:
    """Activations and gradients by depth, at five times."""
    shown = np.unique(np.quantile(frame["update"].unique(), [0, 0.25, 0.5, 0.75, 1], method="nearest"))
    networks = list(_networks(frame))
    figure = blank(6.4)
    axes = figure.subplots(3, len(networks), sharex=True, sharey="row")
    figure.subplots_adjust(left=0.11, right=0.98, bottom=0.14, top=0.82)
    for column, (name, part, _, dead) in zip(axes.T, networks, strict=True):
        column[0].set_title(name)
        for ax, (quantity, words, scale) in zip(column, QUANTITIES, strict=True):
            lines = part.pivot(index="block", columns="update", values=quantity)[shown]
            ax.set_prop_cycle(color=sns.color_palette("flare", 5), marker=list("os^Dv"))
            ax.plot(lines, markersize=4, label=[f"update {update:,}" for update in shown])
            ax.set(yscale=scale, ylabel=words, xlabel="block", xticks=lines.index)
            ax.yaxis.set_major_formatter("{x:g}")
            ax.minorticks_off()
            ax.label_outer()
        if dead:
            ax.text(0.5, 0.5, f"0 at update\n{dead:,} and after", ha="center", transform=ax.transAxes)
    figure.legend(handles=axes[0, 0].lines, loc="lower center", ncols=5, frameon=False)
    subtitle = (f"{dataset_title}, one seed. What each block's convolution gives, and the gradient of its "
                "weights; lighter is earlier")
    return captioned(figure, "svg", "What happens inside?", subtitle, finding(frame).removesuffix("."))
