"""The network: one `Net`, one `make_norm`, one `norm` argument.

Activations are (N, C, H, W) in the order of `torch.channels_last`: the channels of a place lie next to each other in
memory. Convolutions, pooling and norms over channels are faster so. `LayerNorm` and `Dropout` here compute the same
functions as torch's (the tests compare them) and bear the same names, which torchsummary prints; so do `Conv2d` and
`GroupNorm`, which also take bfloat16 activations.
"""

import contextlib
import copy
import io
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.config import ParameterError, check

# Input channels, output channels, output height = width, and padding of each 3x3 block, top to bottom.
BLOCKS = [(1, 16, 26, 0), (16, 32, 24, 0), (10, 12, 10, 0), (12, 12, 8, 0), (12, 12, 6, 0), (12, 16, 6, 1)]


def make_norm(norm: str, num_channels: int, size: int, num_groups: int = 2, copies: int = 1) -> nn.Module:
    """The normalisation layer for activations (N, num_channels, size, size), or copies * num_channels of them.

    norm: "layer" normalises each image over (C, H, W) and learns a weight and a bias for each of the C*H*W places
    (neither GroupNorm(1, C), which learns C of each, nor the channels-only LayerNorm of ConvNeXt); "group" normalises
    each image over num_channels / num_groups channels; "batch" each channel over (N, H, W). For the ablations there are
    "none", "layer_plain", which learns nothing, and "instance", a group for each channel. Raises ParameterError.
    """
    makers = {
        "layer": lambda: LayerNorm([copies * num_channels, size, size], copies),
        "group": lambda: GroupNorm(copies * num_groups, copies * num_channels),  # NOTE: the groups come first here
        "batch": lambda: nn.BatchNorm2d(copies * num_channels),
        "none": nn.Identity,
        "layer_plain": lambda: LayerNorm([copies * num_channels, size, size], copies, affine=False),
        "instance": lambda: GroupNorm(copies * num_channels, copies * num_channels),
    }
    if norm not in makers:
        check("norm", norm)
    if norm == "group":
        check("num_groups", num_groups)
        if num_channels % num_groups:
            raise ParameterError(f"num_groups: got {num_groups}, takes a divisor of {num_channels} channels")
    return makers[norm]()


class LayerNorm(nn.LayerNorm):
    """nn.LayerNorm over (C, H, W), computed over (H, W, C), the order in memory.

    The mean and the variance do not depend on the order; weight and bias, (C, H, W) as ever, are turned to it, which
    is cheaper than to turn the activations to them and back. Copies lie one behind the other in the channels.
    """

    def __init__(self, shape: list[int], copies: int = 1, affine: bool = True):
        super().__init__(shape, elementwise_affine=affine)
        self.copies = copies

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        if self.copies > 1:  # one group of channels for each copy: its mean is over (C, H, W) too
            y = F.group_norm(x, self.copies, eps=self.eps)
            return y if self.weight is None else torch.addcmul(self.bias, y, self.weight)
        weight, bias = (None if p is None else p.permute(1, 2, 0) for p in (self.weight, self.bias))  # (H, W, C)
        x = x.permute(0, 2, 3, 1)
        return F.layer_norm(x, x.shape[1:], weight, bias, self.eps).permute(0, 3, 1, 2)


class GroupNorm(nn.GroupNorm):
    """nn.GroupNorm; bfloat16 groups of few channels, which torch computes one number at a time, go through float32."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        if x.dtype == torch.bfloat16 and self.num_channels // self.num_groups % 16:
            return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


class Dropout(nn.Dropout):
    """nn.Dropout; on the CPU it draws where the next dropped element stands, not one random number an element.

    nn.Dropout takes up to a third of a training step, this a quarter of that.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return super().forward(x)
        return _Drop.apply(x, dropped_places(x.numel(), self.p), 1 / (1 - self.p), self.inplace)


def dropped_places(num_elements: int, p: float) -> Tensor:
    """Which of `num_elements` elements are dropped, each with probability p, independently: (K,) int64, ascending.

    The distance from one success to the next in independent trials is geometric: 1 + floor(log u / log(1 - p)) for
    u uniform in (0, 1). (Devroye 1986, Non-Uniform Random Variate Generation, X.2.)
    """
    expected = num_elements * p
    most = math.ceil(expected + 7 * math.sqrt(expected * (1 - p)) + 7)  # more are needed once in 10^11 draws
    bits = torch.empty((most + 1) // 2, dtype=torch.int64).random_(-(2**63), None).view(torch.int32)[:most]
    u = bits.float().mul_(2**-32).add_(0.5).clamp_(min=2**-33)
    distances = (u.log_() / math.log1p(-p)).clamp_(max=num_elements)  # a tiny p leads farther than an int64 counts
    places = distances.long().add_(1).cumsum(0).sub_(1)
    return places[: int(torch.searchsorted(places, num_elements))]


class _Drop(torch.autograd.Function):
    """Scales, and sets to zero the elements at `places`, counted in the order in which they lie in memory.

    In place neither direction makes a new tensor: x and the gradient that arrives must then be read by nobody else.
    (autograd itself refuses an x that a gradient still needs.)
    """

    @staticmethod
    def forward(ctx, x: Tensor, places: Tensor, scale: float, inplace: bool) -> Tensor:
        ctx.save_for_backward(places)
        ctx.scale, ctx.stride, ctx.inplace = scale, x.stride(), inplace
        return _scale_and_drop(x.detach() if inplace else x.clone(), places, scale)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (places,) = ctx.saved_tensors
        if not ctx.inplace or gradient.stride() != ctx.stride:  # the places count in x's order
            gradient = torch.empty_strided(gradient.shape, ctx.stride, dtype=gradient.dtype).copy_(gradient)
        return _scale_and_drop(gradient, places, ctx.scale), None, None, None


def _scale_and_drop(x: Tensor, places: Tensor, scale: float) -> Tensor:
    x.mul_(scale).as_strided((x.numel(),), (1,)).index_fill_(0, places, 0.0)
    return x


class Conv2d(nn.Conv2d):
    """nn.Conv2d without bias, in the precision of the activations, whatever that of the weights.

    On the CPU the gradient of a 1x1 weight is one matrix product, which takes a third of what oneDNN takes for it.
    """

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        weight = self.weight.to(x.dtype)
        if self.kernel_size == (1, 1) and self.groups == 1 and x.device.type == "cpu":
            return _Pointwise.apply(x, weight)
        return F.conv2d(x, weight, padding=self.padding, groups=self.groups)


class _Pointwise(torch.autograd.Function):
    """A 1x1 convolution without bias; the gradients are those of the matrix product that it is at every place."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        rows, columns = (t.permute(0, 2, 3, 1).flatten(0, 2) for t in (gradient, x))  # (N*H*W, C)
        return F.conv_transpose2d(gradient, weight), (rows.T @ columns).view_as(weight)


class Net(nn.Module):
    """The study's CNN: (N, 1, 28, 28) float32 -> (N, 10) logits. 28 layers, no bias in a convolution.

    With copies it is that many independent networks in one, wider by so much: (N, copies, 28, 28) -> (N, 10 * copies).

    dropout: in the first block; half of it in the other five, as in the historical run's 0.1 and 0.05.
    precision: of the activations in training. Weights, statistics and everything in eval mode are float32.
    """

    def __init__(self, norm: str, num_groups: int = 2, dropout: float = 0.0, precision: str = "float32",
                 copies: int = 1):
        super().__init__()
        check("dropout", dropout)
        check("precision", precision)
        self.reduced = precision == "bfloat16"
        blocks = []
        for in_channels, out_channels, size, padding in BLOCKS:
            blocks.append(nn.Sequential(
                Conv2d(copies * in_channels, copies * out_channels, 3, padding=padding, groups=copies, bias=False),
                nn.ReLU(inplace=True),
                make_norm(norm, out_channels, size, num_groups, copies),
                Dropout(dropout / 2 if blocks else dropout, inplace=norm != "none"),  # ReLU's gradient needs its output
            ))
        self.layers = nn.Sequential(
            *blocks[:2],         # (N, 32, 24, 24)
            Conv2d(copies * 32, copies * 10, 1, groups=copies, bias=False),  # (N, 10, 24, 24)
            nn.MaxPool2d(2),     # (N, 10, 12, 12)
            *blocks[2:],         # (N, 16, 6, 6)
            nn.AvgPool2d(6),     # (N, 16, 1, 1)
            Conv2d(copies * 16, copies * 10, 1, groups=copies, bias=False),  # (N, 10, 1, 1)
        )
        # Convolutions in groups are made for the other order.
        self.layout = torch.channels_last if copies == 1 else torch.contiguous_format
        self.to(memory_format=self.layout)

    def forward(self, images: Tensor) -> Tensor:  # (N, 1, 28, 28)
        x = images.to(torch.bfloat16) if self.reduced and self.training else images
        logits = self.layers(x.contiguous(memory_format=self.layout)).flatten(1)  # (N, 10)
        return logits.to(images.dtype)


def build_model(norm: str, num_groups: int = 2, dropout: float = 0.0, seed: int | None = None,
                precision: str = "float32") -> Net:
    """A new `Net`. With a seed its weights are those of that seed, and the global random state is left alone.

    Norm layers draw no random numbers, so the convolutions of all variants start from the same weights.
    """
    if seed is None:
        return Net(norm, num_groups, dropout, precision)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net(norm, num_groups, dropout, precision)


def num_parameters(net: nn.Module) -> int:
    """How many numbers the network learns."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def summarize(net: nn.Module) -> str:
    """torchsummary's table of the network, as text.

    Of a copy: torchsummary pushes random images through the network, which moves BatchNorm's running statistics.
    """
    from torchsummary import summary

    net = copy.deepcopy(net).cpu().eval()
    text = io.StringIO()
    with contextlib.redirect_stdout(text), torch.random.fork_rng(devices=[]):
        summary(net, (1, 28, 28), device="cpu")
    return text.getvalue().strip("\n")
