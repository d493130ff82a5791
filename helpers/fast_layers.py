"""The same network, faster: `accelerate(net)` swaps the classes of its layers for those below.

They compute the same functions as torch.nn's (the tests compare them) and bear the same names, which torchsummary
prints. Activations then lie in the order of `torch.channels_last`: the channels of a pixel are neighbours in memory.
Convolutions, pooling and norms over channels are faster so.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.model import Net


def accelerate(net: Net, precision: str = "float32") -> Net:
    """The same `net`, in place, on faster paths. bfloat16: of activations in training; the rest stays float32."""
    for module in net.modules():
        module.__class__ = FAST.get(type(module), type(module))
        if isinstance(module, nn.ReLU):
            module.inplace = True
        if isinstance(module, nn.Sequential):
            for before, layer in pairwise(module):
                # In place only behind a norm: ReLU needs its own output for the gradient.
                if isinstance(layer, nn.Dropout):
                    layer.inplace = isinstance(before, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d)
    net.precision = precision
    return net.to(memory_format=torch.channels_last)


class FastNet(Net):
    """Net in channels-last order; in training its activations have `precision`."""

    def forward(self, images: Tensor) -> Tensor:  # (N, 1, 28, 28)
        x = images
        if self.precision == "bfloat16" and self.training:
            x = x.to(torch.bfloat16)
        return super().forward(x.contiguous(memory_format=torch.channels_last)).to(images.dtype)  # (N, 10)


class LayerNorm(nn.LayerNorm):
    """nn.LayerNorm over (C, H, W), computed over (H, W, C), the order in memory; weight and bias are turned to it."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        weight, bias = (None if p is None else p.permute(1, 2, 0) for p in (self.weight, self.bias))  # (H, W, C)
        x = x.permute(0, 2, 3, 1)
        return F.layer_norm(x, x.shape[1:], weight, bias, self.eps).permute(0, 3, 1, 2)


class GroupNorm(nn.GroupNorm):
    """nn.GroupNorm; bfloat16 groups of few channels, which torch computes one number at a time, go through float32."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        if x.dtype == torch.bfloat16 and self.num_channels // self.num_groups % 16:
            return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


class Conv2d(nn.Conv2d):
    """nn.Conv2d without bias, in the precision of the activations."""

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W)
        weight = self.weight.to(x.dtype)
        if self.kernel_size == (1, 1) and x.device.type == "cpu":
            return _Pointwise.apply(x, weight)
        return F.conv2d(x, weight, padding=self.padding)


class _Pointwise(torch.autograd.Function):
    """A 1x1 convolution; its weight's gradient is one matrix product, in a third of oneDNN's time on the CPU."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        rows, columns = (t.permute(0, 2, 3, 1).flatten(0, 2) for t in (gradient, x))  # (N*H*W, C)
        return F.conv_transpose2d(gradient, weight), (rows.T @ columns).view_as(weight)


class Dropout(nn.Dropout):
    """nn.Dropout; on the CPU it draws where the next dropped element is: four times as fast as a number for each."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return super().forward(x)
        return _Drop.apply(x, dropped_indices(x.numel(), self.p), 1 / (1 - self.p), self.inplace)


def dropped_indices(num_elements: int, p: float) -> Tensor:
    """Which of `num_elements` elements are dropped, each with probability p, independently: (K,) int64, ascending.

    From one success to the next the distance is geometric: 1 + floor(log u / log(1 - p)) for u uniform in (0, 1).
    Source: Devroye 1986, Non-Uniform Random Variate Generation, X.2.
    """
    expected = num_elements * p
    most = math.ceil(expected + 7 * math.sqrt(expected * (1 - p)) + 7)  # more are needed once in 10^11 draws
    bits = torch.empty((most + 1) // 2, dtype=torch.int64).random_(-(2**63), None).view(torch.int32)[:most]
    u = bits.float().mul_(2**-32).add_(0.5).clamp_(min=2**-33)
    distances = (u.log_() / math.log1p(-p)).clamp_(max=num_elements)  # a tiny p leads farther than an int64 counts
    indices = distances.long().add_(1).cumsum(0).sub_(1)
    return indices[: int(torch.searchsorted(indices, num_elements))]


class _Drop(torch.autograd.Function):
    """Scales, and sets to zero the elements at `indices`, counted in the order in which they lie in memory.

    In place, nobody else may read x or the gradient that arrives. (autograd refuses an x that a gradient still needs.)
    """

    @staticmethod
    def forward(ctx, x: Tensor, indices: Tensor, scale: float, inplace: bool) -> Tensor:
        ctx.save_for_backward(indices)
        ctx.options = scale, inplace, x.stride()
        return _scale_and_drop(x.detach() if inplace else x.clone(), indices, scale)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (indices,) = ctx.saved_tensors
        scale, inplace, stride = ctx.options
        if not inplace or gradient.stride() != stride:  # the indices count in x's order
            gradient = torch.empty_strided(gradient.shape, stride, dtype=gradient.dtype).copy_(gradient)
        return _scale_and_drop(gradient, indices, scale), None, None, None


def _scale_and_drop(x: Tensor, indices: Tensor, scale: float) -> Tensor:
    x.mul_(scale).as_strided((x.numel(),), (1,)).index_fill_(0, indices, 0.0)
    return x


FAST = {Net: FastNet, nn.Conv2d: Conv2d, nn.LayerNorm: LayerNorm, nn.GroupNorm: GroupNorm, nn.Dropout: Dropout}
