"""The three normalisations written out as arithmetic: to read, and as the tests' independent reference.

Nothing here calls torch's own normalisation, convolution or pooling layers. All three subtract a mean and divide by a
standard deviation; they differ in the elements that share one mean. Activations are (N, C, H, W): images, channels,
height, width. A tensor of another shape raises ValueError.
"""

from torch import Tensor

from helpers.config import check

EPS = 1e-5  # torch's default: keeps a constant input from being divided by zero


def standardize(x: Tensor, dims: tuple[int, ...], eps: float = EPS) -> Tensor:
    """`x` minus its mean over `dims`, divided by its standard deviation over `dims`; the shape stays.

    The variance is the biased one, the mean of the squares, and `eps` is added inside the root, as in all three papers.
    """
    mean = x.mean(dims, keepdim=True)
    variance = (x - mean).square().mean(dims, keepdim=True)
    return (x - mean) / (variance + eps).sqrt()


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = EPS) -> Tensor:
    """One mean for each image, over (C, H, W). x (N, C, H, W), weight and bias (C, H, W).

    Source: Ba, Kiros, Hinton 2016, "Layer Normalization", arXiv:1607.06450, equations 3 and 4. A weight of shape (C,)
    would be another layer: GroupNorm with one group. Raises ValueError for it.
    """
    _check_shapes(x, x.shape[1:], weight, bias)
    return standardize(x, (1, 2, 3), eps) * weight + bias


def group_norm(x: Tensor, num_groups: int, weight: Tensor, bias: Tensor, eps: float = EPS) -> Tensor:
    """One mean for each image and group of channels. x (N, C, H, W), weight and bias (C,).

    Source: Wu, He 2018, "Group Normalization", arXiv:1803.08494, equations 1, 2 and 7. Neighbouring channels form a
    group. Raises ValueError when `num_groups` does not divide C.
    """
    _check_shapes(x, x.shape[1:2], weight, bias)
    if num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(f"num_groups: got {num_groups}, takes a divisor of {x.shape[1]} channels")
    groups = x.unflatten(1, (num_groups, -1))  # (N, G, C/G, H, W)
    return _per_channel(standardize(groups, (2, 3, 4), eps).flatten(1, 2), weight, bias)  # (N, C, H, W)


def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = EPS) -> Tensor:
    """In training: one mean for each channel, over (N, H, W) of this batch. x (N, C, H, W), weight and bias (C,).

    Source: Ioffe, Szegedy 2015, "Batch Normalization", arXiv:1502.03167, algorithm 1. Raises ValueError when a
    channel has a single value: it would become its bias, whatever it was.
    """
    _check_shapes(x, x.shape[1:2], weight, bias)
    _values_per_channel(x)
    return _per_channel(standardize(x, (0, 2, 3), eps), weight, bias)


def batch_norm_eval(x: Tensor, running_mean: Tensor, running_var: Tensor, weight: Tensor, bias: Tensor,
                    eps: float = EPS) -> Tensor:
    """In evaluation: the running statistics instead of the batch's, so that an image's result is its own.

    x (N, C, H, W), all others (C,). Source: arXiv:1502.03167, algorithm 2, line 11. Raises ValueError.
    """
    _check_shapes(x, x.shape[1:2], running_mean, running_var, weight, bias)
    scale = weight / (running_var + eps).sqrt()  # (C,)
    return _per_channel(x, scale, bias - running_mean * scale)


def update_running_statistics(x: Tensor, running_mean: Tensor, running_var: Tensor,
                              momentum: float = 0.1) -> tuple[Tensor, Tensor]:
    """The running mean and variance, (C,) each, after a training step that saw x (N, C, H, W); nothing is overwritten.

    new = (1 - momentum) * old + momentum * batch's: `momentum` is the share of the new, as in torch. The variance is
    the unbiased one here (divided by one less), though the batch itself is normalised with the biased one: it
    estimates that of all images. Source: arXiv:1502.03167, algorithm 2, line 10. Raises ValueError for one value per
    channel.
    """
    _check_shapes(x, x.shape[1:2], running_mean, running_var)
    count = _values_per_channel(x)
    mean = x.mean((0, 2, 3))  # (C,)
    variance = (x - mean.view(-1, 1, 1)).square().sum((0, 2, 3)) / (count - 1)  # (C,)
    return ((1 - momentum) * running_mean + momentum * mean,
            (1 - momentum) * running_var + momentum * variance)


def num_statistics(norm: str, N: int, C: int, num_groups: int = 2) -> int:
    """How many means (and as many variances) one training step computes for activations (N, C, H, W).

    These depend on the batch or the groups; the learned parameters, `num_affine`, on neither. Raises ParameterError.
    """
    check("norm", norm)
    return {"layer": N, "group": N * num_groups, "batch": C, "none": 0, "layer_plain": N, "instance": N * C}[norm]


def num_affine(norm: str, C: int, H: int, W: int) -> int:
    """How many parameters the layer learns, weight and bias together. Raises ParameterError."""
    check("norm", norm)
    per_channel = {"group": 2 * C, "batch": 2 * C, "instance": 2 * C}
    return {"layer": 2 * C * H * W, **per_channel, "none": 0, "layer_plain": 0}[norm]


def reference_forward(parameters: list[Tensor], x: Tensor, norm: str, num_groups: int = 2) -> Tensor:
    """The whole network a second time, from its parameters alone: x (N, 1, 28, 28) -> logits (N, 10).

    parameters: all 20, in order of definition (six blocks of convolution, norm weight, norm bias; the 1x1
    convolutions after the second block and at the end). Batch statistics as in training, no dropout; autograd
    differentiates it. Raises ParameterError for an unknown norm, ValueError for another number of parameters.
    """
    check("norms", [norm])  # the study's own: those of the ablations have other parameters
    if len(parameters) != 20:
        raise ValueError(f"parameters: got {len(parameters)} tensors, takes 20")
    rest = iter(parameters)

    def block(x: Tensor, padding: int = 0) -> Tensor:
        x = convolve(x, next(rest), padding).clamp(min=0)
        weight, bias = next(rest), next(rest)
        if norm == "layer":
            return layer_norm(x, weight, bias)
        return group_norm(x, num_groups, weight, bias) if norm == "group" else batch_norm(x, weight, bias)

    x = block(block(x))  # (N, 32, 24, 24)
    x = convolve(x, next(rest))  # (N, 10, 24, 24)
    x = x.unflatten(3, (12, 2)).unflatten(2, (12, 2))  # (N, 10, 12, 2, 12, 2)
    x = x.transpose(3, 4).flatten(4).max(4).values  # (N, 10, 12, 12); of equal pixels the first, as in max pooling
    x = block(block(block(block(x))), padding=1)  # (N, 16, 6, 6)
    x = x.mean((2, 3), keepdim=True)  # (N, 16, 1, 1)
    return convolve(x, next(rest)).flatten(1)  # (N, 10)


def convolve(x: Tensor, weight: Tensor, padding: int = 0) -> Tensor:
    """Cross-correlation, stride 1: x (N, C, H, W), weight (O, C, K, K) -> (N, O, H + 2 padding - K + 1, W likewise)."""
    N, C, H, W = x.shape
    padded = x.new_zeros(N, C, H + 2 * padding, W + 2 * padding)
    padded[:, :, padding:padding + H, padding:padding + W] = x
    K = weight.shape[2]
    windows = padded.unfold(2, K, 1).unfold(3, K, 1)  # (N, C, H', W', K, K)
    return (windows.permute(0, 2, 3, 1, 4, 5).flatten(3) @ weight.flatten(1).T).permute(0, 3, 1, 2)  # (N, O, H', W')


def _per_channel(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (N, C, H, W) times weight (C,) plus bias (C,)."""
    return x * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)


def _values_per_channel(x: Tensor) -> int:
    count = x.numel() // x.shape[1]
    if count < 2:
        raise ValueError(f"x: got one value per channel in {tuple(x.shape)}, batch statistics take two or more")
    return count


def _check_shapes(x: Tensor, expected: tuple[int, ...], *parameters: Tensor) -> None:
    if x.dim() != 4:
        raise ValueError(f"x: got shape {tuple(x.shape)}, takes (N, C, H, W)")
    for parameter in parameters:
        if parameter.shape != expected:
            raise ValueError(f"got a parameter of shape {tuple(parameter.shape)}, takes {tuple(expected)} "
                             f"for x of shape {tuple(x.shape)}")
