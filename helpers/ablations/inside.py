"""What happens inside: activations and gradients by depth."""

import copy
import math

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from torch import nn

from helpers.ablations.common import ablation_config
from helpers.config import ALL_NORMS, VARIANTS, Recipe, RunConfig
from helpers.data import Dataset, normalize
from helpers.machine import reproducible
from helpers.model import BLOCKS
from helpers.plots.style import blank, captioned, style
from helpers.runs.checkpoint import fresh_state
from helpers.training import train_one_epoch

LAST = len(BLOCKS)
COLUMNS = ["norm", "update", "block", "mean", "std", "gradient"]
QUANTITIES = {"mean": "mean of activations", "std": "standard deviation", "gradient": "gradient norm"}


def runs(recipe: Recipe) -> list[RunConfig]:
    """The three normalisations, and none, without a penalty: one seed, two epochs."""
    return [ablation_config(norm, 0, 2, recipe.without_l1()) for norm in (*VARIANTS, "none")]


def watch(config: RunConfig, data: Dataset) -> pd.DataFrame:
    """Trains a network and looks into it about twenty times: one row for each update and block.

    mean, std: of what the block's convolution gives for 250 validation images, before ReLU and norm.
    gradient: norm of the loss's gradient for the convolution's weights, of the batch at hand.
    """
    num_batches = math.ceil(len(data.train_labels) / config.recipe.batch_size)
    every = max(20, num_batches * config.num_epochs // 400 * 20)  # training calls back every 20 batches
    images = normalize(data.val_images[:250])
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
    return pd.DataFrame(rows, columns=COLUMNS)


@torch.no_grad()
def _look(net: nn.Module, images: torch.Tensor) -> list[tuple[float, float, float]]:
    """Mean, standard deviation and gradient norm of each block's convolution; `net` stays as it is."""
    seen = []
    watched = copy.deepcopy(net).eval()
    for module in watched.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()  # as it is trained; its running averages are of nothing yet
    x = images.contiguous(memory_format=torch.channels_last)
    for layer, own in zip(watched.layers, net.layers, strict=True):
        if isinstance(own, nn.Sequential):
            y = layer[0](x)
            gradient = own[0].weight.grad
            norm = math.nan if gradient is None else gradient.norm().item()
            seen.append((y.mean().item(), y.std().item(), norm))
        x = layer(x)
    return seen


def finding(frame: pd.DataFrame) -> str:
    """What depth does to activations before training, and which network died."""
    stds = []
    deaths = ""
    for norm, part in frame.groupby("norm", sort=False):
        name = ALL_NORMS[norm].bare
        start = part[part["update"] == 0].set_index("block")["std"]
        stds.append(f"{name} {start[1]:.2g} and {start[LAST]:.2g}")
        alive, dead = _death(part)
        if dead:
            deaths += (f" The network with {name} dies between updates {alive:,} and {dead:,}: from then on "
                       "all gradients are 0.")
    return ("Standard deviation of the activations before training, first block and last: "
            f"{', '.join(stds)} (one seed).{deaths}")


def _death(frame: pd.DataFrame) -> tuple[int, int]:
    """One network's last update with a gradient, and the first one without; that is 0 where it lives."""
    gradients = frame[frame["update"] > 0].groupby("update").gradient.sum()
    alive = max(gradients.index[gradients != 0], default=0)
    return alive, min(gradients.index[gradients.index > alive], default=0)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Each network for readers: its gradients by depth, and its largest activations."""
    rows = {}
    for norm, part in frame.groupby("norm", sort=False):
        gradients = part.pivot(index="update", columns="block", values="gradient")
        largest = part.groupby("update")["std"].max()
        _, dead = _death(part)
        end = dead or largest.index[-1]
        rows[ALL_NORMS[norm].bare] = {
            "gradient norm, block 1 / block 6 (median)": f"{(gradients[1] / gradients[LAST]).median():.2f}",
            "largest std of activations, at the start": f"{largest[0]:.2g}",
            "later": f"{largest[end]:.3g} by update {end:,}",
            "gradients": f"all 0 from update {end:,}" if dead else "",
        }
    return pd.DataFrame.from_dict(rows, "index")


@style()
def plot(frame: pd.DataFrame, dataset_title: str) -> Figure:
    """Activations and gradients by depth, at five times."""
    updates = frame["update"].unique()
    shown = updates[np.unique(np.linspace(0, len(updates) - 1, 5).round().astype(int))]
    norms = dict(list(frame.groupby("norm", sort=False)))
    figure = blank(6.4)
    axes = figure.subplots(3, len(norms), sharex=True, sharey="row", squeeze=False)
    figure.subplots_adjust(left=0.11, right=0.98, bottom=0.14, top=0.82, wspace=0.15, hspace=0.2)
    facts = []
    for row, (column, name) in zip(axes, QUANTITIES.items(), strict=True):
        for ax, (norm, part) in zip(row, norms.items(), strict=True):
            lines = part.pivot(index="block", columns="update", values=column)[shown]
            ax.set_prop_cycle(color=sns.color_palette("flare", len(shown)), marker=list("os^Dv")[:len(shown)])
            ax.plot(lines, markersize=4, label=[f"update {update:,}" for update in shown])
            ends = lines[shown[-1]]
            facts.append(f"{ALL_NORMS[norm].bare}, {name} of blocks 1 and {LAST} at the end: "
                         f"{ends[1]:.2g} and {ends[LAST]:.2g}")
        ax.set_yscale("log", nonpositive="mask")  # a dead network's gradients are 0
        if column == "mean":  # of both signs, and of any size where nothing normalises
            ax.set_yscale("symlog", linthresh=1)
        ax.yaxis.set_major_formatter("{x:g}")
        row[0].set_ylabel(name)
    for (above, _, below), (norm, part) in zip(axes.T, norms.items(), strict=True):
        above.set_title(ALL_NORMS[norm].bare, size=10.5, loc="left")
        below.set(xlabel="block", xticks=range(1, LAST + 1))
        _, dead = _death(part)
        if dead:
            below.text(0.5, 0.5, f"0 at update\n{dead:,} and after", ha="center", transform=below.transAxes)
    figure.legend(handles=axes[0, 0].lines, loc="lower center", ncols=len(shown), frameon=False)
    subtitle = (f"{dataset_title}, one seed. What each block's convolution gives, and the gradient of its "
                "weights; lighter is earlier")
    return captioned(figure, "svg", "What happens inside?", subtitle, *facts)
