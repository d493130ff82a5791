"""What happens inside: activations and gradients by depth."""

import math
from collections.abc import Iterator

import torch
from matplotlib.figure import Figure
from pandas import DataFrame
from torch import Tensor, nn

from helpers.ablations import common
from helpers.config import VARIANTS, Recipe, RunConfig
from helpers.data import Dataset, normalize
from helpers.machine import reproducible
from helpers.plots.style import blank, captioned, key, style
from helpers.runs.checkpoint import fresh_state
from helpers.training import epochs

COLUMNS = ["norm", "update", "block", "mean", "std", "gradient"]
SHOWN = ["batch", "none"]  # in the figure


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

    def look(epoch: int, batch: int) -> None:
        if batch % every == 0 or batch == num_batches:
            update = (epoch - 1) * num_batches + batch
            for block, seen in enumerate(_look(state.net, images), 1):
                rows.append((config.norm, update, block, *seen))

    with reproducible("cpu"):
        state = fresh_state(config)
        look(1, 0)
        for _ in epochs(config, data, state, look):
            if num_batches % 20:
                look(len(state.history), num_batches)
    return DataFrame(rows, columns=COLUMNS)


@torch.no_grad()
def _look(net: nn.Module, x: Tensor) -> Iterator[tuple]:
    """Mean, standard deviation and gradient norm of each block's convolution, for images x (N, 1, 28, 28).

    BatchNorm stays in training: its running averages are of nothing yet, and nobody reads them here.
    """
    for layer in net.layers:
        if isinstance(layer, nn.Sequential):
            y = layer[0](x)
            gradient = layer[0].weight.grad
            yield y.mean().item(), y.std().item(), math.nan if gradient is None else gradient.norm().item()
        x = layer(x)


def _by_block(frame: DataFrame, update: int, column: str) -> DataFrame:
    """What was seen at one update: a row a block, a column a norm."""
    return frame[frame["update"] == update].pivot(index="block", columns="norm", values=column)


def _signs_of_life(part: DataFrame) -> tuple[int, int]:
    """One network's last update with a gradient, and the first without; 0 where it lives."""
    gradients = part.groupby("update").gradient.sum()
    alive = max(gradients.index[gradients != 0], default=0)
    return alive, min(gradients.index[gradients.index > alive], default=0)


def finding(frame: DataFrame) -> str:
    """What depth does to activations before training where there is no norm, and whether that network dies."""
    stds = _by_block(frame, 0, "std")
    if "none" not in stds:
        return common.TOO_FEW
    first, *_, last = stds["none"]
    _, dead = _signs_of_life(frame[frame.norm == "none"])
    end = f"dies by update {dead:,}" if dead else "lives"
    return (f"With no norm the activations go from {first:.2g} to {last:.2g} in {len(stds)} blocks before training, "
            f"and the network {end} (one seed).")


def table(frame: DataFrame) -> DataFrame:
    """Each network for readers: activations by depth before training, the largest later on, and gradients."""
    rows = {}
    for norm, part in frame.groupby("norm", sort=False):
        first, *_, last = _by_block(part, 0, "std")[norm]
        gradients = part.pivot(index="update", columns="block", values="gradient")
        ratio = f"{(gradients[1] / gradients.iloc[:, -1]).median():.2f}"
        alive, dead = _signs_of_life(part)
        if dead:
            ratio = f"all 0 from update {dead:,} on, not yet at {alive:,}"
        largest = part.groupby("update")["std"].max()
        end = dead or largest.index[-1]
        rows[common.BARE[norm]] = {
            "standard deviation before training, first block and last": f"{first:.2g} and {last:.2g}",
            "largest later on": f"{largest[end]:.3g} by update {end:,}",
            "gradient norm, first block / last (median)": ratio,
        }
    return DataFrame.from_dict(rows, "index")


@style()
def plot(frame: DataFrame, dataset_title: str) -> Figure:
    """By depth: activations before training, and gradients at the first update that was looked at."""
    update = frame["update"][frame["update"] > 0].min()
    stds = _by_block(frame, 0, "std").filter(SHOWN)
    gradients = _by_block(frame, update, "gradient").filter(SHOWN)
    height = 4.6  # inches
    figure = blank(height)
    upper, lower = figure.subplots(2, 1, sharex=True)
    figure.subplots_adjust(left=0.27, right=0.97, bottom=0.55 / height, top=1 - 0.55 / height, hspace=0.12)
    upper.set(yscale="log", xticks=stds.index, ylabel="standard deviation\nbefore training")
    lower.set(yscale="log", xlabel="block", ylabel=f"gradient norm\nat update {update:,}")
    common.plot_lines(upper, stds)
    common.plot_lines(lower, gradients)
    key(upper, {norm: common.BARE[norm] for norm in stds})
    for ax in (upper, lower):
        ax.yaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.margins(y=0.1)
    figure.align_ylabels()
    subtitle = (f"{dataset_title}, one seed. The activations that each block's convolution gives, and the gradient "
                "of its weights")
    title = "What happens inside?"
    if "none" in stds:
        first, *_, last = stds["none"]
        title = f"With no norm the last block's activations are 1/{first / last:.0f} of the first's"
    return captioned(figure, "svg", title, subtitle, finding(frame).removesuffix("."))
