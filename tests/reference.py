"""The network a second time, as arithmetic in float64, without torch's layers and `helpers`: tests compare with it."""

import torch
from torch import Tensor


def reference_forward(parameters: list[Tensor], images: Tensor, norm: str, num_groups: int):
    """images (N, 1, 28, 28) -> logits (N, 10) as in training, from the network's 20 parameters, top to bottom."""
    rest = iter(parameters)

    def block(x: Tensor, padding: int = 0) -> Tensor:
        x = standardize(convolve(x, next(rest), padding).clamp(min=0), norm, num_groups)
        weight, bias = next(rest), next(rest)
        if norm == "layer":  # one weight for each position
            return x * weight + bias
        return x * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)

    x = block(block(images))  # (N, 32, 24, 24)
    x = convolve(x, next(rest))  # (N, 10, 24, 24)
    x = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).amax(4)  # (N, 10, 12, 12)
    for padding in (0, 0, 0, 1):
        x = block(x, padding)
    x = x.mean((2, 3), keepdim=True)  # (N, 16, 1, 1)
    return convolve(x, next(rest)).flatten(1)  # (N, 10)


def standardize(x: Tensor, norm: str, num_groups: int) -> Tensor:
    """x (N, C, H, W) with mean 0 and variance 1 over all values that share a mean: a row each."""
    if norm == "batch":  # what an image is to LayerNorm, a channel is to BatchNorm
        return standardize(x.transpose(0, 1), "layer", 1).transpose(0, 1)
    rows = x.reshape(len(x) * (num_groups if norm == "group" else 1), -1)
    variance, mean = torch.var_mean(rows, 1, correction=0, keepdim=True)
    return ((rows - mean) / (variance + 1e-5).sqrt()).reshape(x.shape)


def convolve(x: Tensor, weight: Tensor, padding: int = 0) -> Tensor:
    """Cross-correlation with stride 1: x (N, C, H, W), weight (O, C, K, K) -> (N, O, H', W')."""
    N, C, H, W = x.shape
    size = weight.shape[2]
    padded = x.new_zeros(N, C, H + 2 * padding, W + 2 * padding)
    padded[:, :, padding:padding + H, padding:padding + W] = x
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)  # (N, C, H', W', K, K)
    return torch.einsum("nchwij,ocij->nohw", windows, weight)


def noise(*shape: int) -> Tensor:
    """The same normal numbers every time, in float64, where no mistake hides behind rounding."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def with_gradients(output: Tensor, inputs) -> list[Tensor]:
    """The output, then the gradients of `inputs` under one fixed random gradient of the output."""
    return [output, *torch.autograd.grad(output, list(inputs), noise(*output.shape).to(output.dtype))]
