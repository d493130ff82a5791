"""The three normalisations written out as arithmetic, for the notebook's worked example. The network uses torch's own.

All three subtract a mean and divide by a standard deviation; they differ in the elements that share one mean.
Activations are (N, C, H, W): images, channels, height, width. Wrong shapes raise ValueError.
"""

from torch import Tensor

EPS = 1e-5  # torch's default: keeps a constant input from being divided by zero


def standardize(x: Tensor, dims: tuple[int, ...], eps: float = EPS) -> Tensor:
    """`x` minus its mean over `dims`, divided by its standard deviation over `dims`; the shape stays.

    The variance is the biased one, the mean of the squared deviations. `eps` is added inside the root, as torch does.
    """
    mean = x.mean(dims, keepdim=True)
    variance = (x - mean).square().mean(dims, keepdim=True)
    return (x - mean) / (variance + eps).sqrt()


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = EPS) -> Tensor:
    """One mean for each image, over (C, H, W); weight and bias (C, H, W). (Ba et al. 2016, arXiv:1607.06450, eq. 3, 4)

    A weight of shape (C,) would be another layer: GroupNorm with one group.
    """
    _check_shapes(x, x.shape[1:], weight, bias)
    return standardize(x, (1, 2, 3), eps) * weight + bias


def group_norm(x: Tensor, num_groups: int, weight: Tensor, bias: Tensor, eps: float = EPS) -> Tensor:
    """One mean for each image and group of channels; weight, bias (C,). (Wu, He 2018, arXiv:1803.08494, eq. 1-7)"""
    _check_shapes(x, x.shape[1:2], weight, bias)
    if num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(f"num_groups: got {num_groups}, takes a divisor of {x.shape[1]} channels")
    groups = x.unflatten(1, (num_groups, -1))  # (N, G, C/G, H, W): neighbouring channels form a group
    y = standardize(groups, (2, 3, 4), eps).flatten(1, 2)  # (N, C, H, W)
    return y * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = EPS) -> Tensor:
    """In training: one mean for each channel, over (N, H, W) of this batch; weight and bias (C,).

    In evaluation their running averages take their place. (Ioffe, Szegedy 2015, arXiv:1502.03167, algorithm 1)
    """
    _check_shapes(x, x.shape[1:2], weight, bias)
    if x.numel() == x.shape[1]:  # it would become its bias, whatever it was
        raise ValueError(f"x: got one value per channel in {tuple(x.shape)}, batch statistics take two or more")
    return standardize(x, (0, 2, 3), eps) * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)


def _check_shapes(x: Tensor, expected: tuple[int, ...], weight: Tensor, bias: Tensor) -> None:
    if x.dim() != 4:
        raise ValueError(f"x: got shape {tuple(x.shape)}, takes (N, C, H, W)")
    for parameter in (weight, bias):
        if parameter.shape != expected:
            raise ValueError(f"got a parameter of shape {tuple(parameter.shape)}, takes {tuple(expected)} "
                             f"for x of shape {tuple(x.shape)}")
