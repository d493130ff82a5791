"""The network: 28 plain torch.nn layers, the six norms among them swapped. `fast_layers.accelerate` makes it fast."""

import contextlib
import copy
import io

import torch
from torch import Tensor, nn

from helpers.config import ALL_NORMS, NORM, NUM_GROUPS, ParameterError

# Input channels, output channels, output height = width, and padding of each 3x3 block, top to bottom.
BLOCKS = [(1, 16, 26, 0), (16, 32, 24, 0), (10, 12, 10, 0), (12, 12, 8, 0), (12, 12, 6, 0), (12, 16, 6, 1)]


def make_norm(norm: str, num_channels: int, size: int, num_groups: int = 2) -> nn.Module:
    """The normalisation layer for activations (N, num_channels, size, size).

    norm: "layer" normalises each image over (C, H, W) and learns a weight and a bias for each of the C*H*W positions.
    It is neither GroupNorm(1, C), which learns C of each, nor the channels-only LayerNorm of ConvNeXt.
    "group" normalises each image over num_channels / num_groups channels, "batch" each channel over (N, H, W).
    Those of the ablations, and where to add one: `config.py`. Raises ParameterError.
    """
    NORM.check("norm", norm)
    if norm == "group":
        NUM_GROUPS.check("num_groups", num_groups)
        if num_channels % num_groups:
            raise ParameterError(f"num_groups: got {num_groups}, takes a divisor of {num_channels} channels")
    return ALL_NORMS[norm].make(nn, num_channels, size, size, num_groups)


class Net(nn.Module):
    """The study's CNN: (N, 1, 28, 28) float32 -> (N, 10) logits. No convolution has a bias.

    dropout: in the first block; half of it in the other five, as in the historical run's 0.1 and 0.05.
    """

    def __init__(self, norm: str, num_groups: int = 2, dropout: float = 0.0):
        super().__init__()
        blocks = []
        for in_channels, out_channels, size, padding in BLOCKS:
            blocks.append(nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 3, padding=padding, bias=False),
                nn.ReLU(),
                make_norm(norm, out_channels, size, num_groups),
                nn.Dropout(dropout / 2 if blocks else dropout),
            ))
        self.layers = nn.Sequential(
            *blocks[:2],                       # (N, 32, 24, 24)
            nn.Conv2d(32, 10, 1, bias=False),  # (N, 10, 24, 24)
            nn.MaxPool2d(2),                   # (N, 10, 12, 12)
            *blocks[2:],                       # (N, 16, 6, 6)
            nn.AvgPool2d(6),                   # (N, 16, 1, 1)
            nn.Conv2d(16, 10, 1, bias=False),  # (N, 10, 1, 1)
        )

    def forward(self, images: Tensor) -> Tensor:  # (N, 1, 28, 28)
        return self.layers(images).flatten(1)     # (N, 10)


def build_model(norm: str, num_groups: int = 2, dropout: float = 0.0, seed: int | None = None) -> Net:
    """A new `Net`. With a seed its weights are those of that seed, and the global random state is left alone.

    Norm layers draw no random numbers, so the convolutions of all variants start from the same weights.
    """
    if seed is None:
        return Net(norm, num_groups, dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net(norm, num_groups, dropout)


def num_parameters(module: nn.Module) -> int:
    """How many numbers the network, or one layer of it, learns."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def summarize(net: nn.Module) -> str:
    """torchsummary's table as text. Of a copy: its random images would move BatchNorm's running statistics."""
    from torchsummary import summary

    net = copy.deepcopy(net).cpu().eval()
    text = io.StringIO()
    with contextlib.redirect_stdout(text), torch.random.fork_rng(devices=[]):
        summary(net, (1, 28, 28), device="cpu")
    return text.getvalue().strip("\n")
