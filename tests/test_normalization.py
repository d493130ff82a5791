"""The written-out arithmetic against numbers worked by hand and against torch's own layers."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from helpers.config import ParameterError
from helpers.normalization import (
    batch_norm,
    batch_norm_eval,
    convolve,
    group_norm,
    layer_norm,
    num_affine,
    num_statistics,
    reference_forward,
    standardize,
    update_running_statistics,
)

# Two images of two channels of 1x2 pixels. The variance of 1, 3, 5, 7 is (9 + 1 + 1 + 9) / 4 = 5; with eps = 4 the
# divisor is exactly 3. Dividing by n - 1, or adding eps outside the root, gives other numbers.
X = torch.tensor([[[[1.0, 3.0]], [[5.0, 7.0]]],
                  [[[5.0, 7.0]], [[11.0, 13.0]]]])  # (2, 2, 1, 2)
THIRD = 1 / 3


def ones_and_zeros(*shape):
    return torch.ones(shape), torch.zeros(shape)


def test_layer_norm_by_hand():
    # image 0: 1 3 5 7, mean 4, variance 5.  image 1: 5 7 11 13, mean 9, variance (16 + 4 + 4 + 16) / 4 = 10
    root = 14 ** 0.5
    expected = torch.tensor([[[[-1, -THIRD]], [[THIRD, 1]]], [[[-4 / root, -2 / root]], [[2 / root, 4 / root]]]])
    assert_close(layer_norm(X, *ones_and_zeros(2, 1, 2), eps=4), expected, rtol=0, atol=1e-6)


def test_group_norm_by_hand():
    # two groups of one channel: every pair a, a + 2 has variance 1, and 1 / sqrt(1 + 3) is one half
    halves = torch.tensor([-0.5, 0.5]).expand(2, 2, 1, 2)
    assert_close(group_norm(X, 2, *ones_and_zeros(2), eps=3), halves, rtol=0, atol=1e-6)
    # one group: the same elements share a mean as in layer_norm
    assert_close(group_norm(X, 1, *ones_and_zeros(2)), layer_norm(X, *ones_and_zeros(2, 1, 2)), rtol=0, atol=1e-6)


def test_batch_norm_by_hand():
    # channel 0: 1 3 5 7, mean 4, variance 5.  channel 1: 5 7 11 13, mean 9, variance 10
    root = 14 ** 0.5
    expected = torch.tensor([[[[-1, -THIRD]], [[-4 / root, -2 / root]]], [[[THIRD, 1]], [[2 / root, 4 / root]]]])
    assert_close(batch_norm(X, *ones_and_zeros(2), eps=4), expected, rtol=0, atol=1e-6)


def test_affine_comes_after_normalising():
    weight, bias = torch.tensor([3.0, 6.0]), torch.tensor([10.0, 20.0])
    out = group_norm(X, 2, weight, bias, eps=3)
    assert_close(out[0], torch.tensor([[[8.5, 11.5]], [[17.0, 23.0]]]), rtol=0, atol=1e-5)
    place = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])  # LayerNorm learns one for every place
    assert_close(layer_norm(X, place, place, eps=4)[0], place * torch.tensor([[[-1, -THIRD]], [[THIRD, 1]]]) + place,
                 rtol=0, atol=1e-5)


def test_running_statistics_by_hand():
    # from 0 and 1, a tenth of the way to the means 4, 9 and the unbiased variances 20/3, 40/3
    mean, var = update_running_statistics(X, torch.zeros(2), torch.ones(2))
    assert_close(mean, torch.tensor([0.4, 0.9]), rtol=0, atol=1e-6)
    assert_close(var, torch.tensor([0.9 + 2 / 3, 0.9 + 4 / 3]), rtol=0, atol=1e-6)


def test_standardize_gives_mean_zero_and_variance_one():
    out = standardize(torch.randn(4, 6, 5, 5, generator=torch.manual_seed(0)) * 7 + 3, (1, 2, 3))
    assert_close(out.mean((1, 2, 3)), torch.zeros(4), rtol=0, atol=1e-6)
    assert_close(out.var((1, 2, 3), correction=0), torch.ones(4), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("ours", "layer"), [
    (layer_norm, nn.LayerNorm([6, 5, 4])),
    (lambda x, w, b: group_norm(x, 1, w, b), nn.GroupNorm(1, 6)),
    (lambda x, w, b: group_norm(x, 2, w, b), nn.GroupNorm(2, 6)),
    (lambda x, w, b: group_norm(x, 6, w, b), nn.GroupNorm(6, 6)),
    (batch_norm, nn.BatchNorm2d(6)),
], ids=["layer", "group 1", "group 2", "group 6", "batch"])
def test_forward_and_backward_agree_with_torch(ours, layer):
    generator = torch.manual_seed(0)
    layer = layer.double()  # in float64 a wrong formula can't hide behind rounding
    x = torch.randn(3, 6, 5, 4, generator=generator, dtype=torch.float64).mul_(2).add_(1).requires_grad_()
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    upstream = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    wrt = [x, layer.weight, layer.bias]
    expected, out = layer(x), ours(x, layer.weight, layer.bias)
    assert_close(out, expected, rtol=1e-10, atol=1e-10)
    for got, want in zip(torch.autograd.grad(out, wrt, upstream), torch.autograd.grad(expected, wrt, upstream),
                         strict=True):
        assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_running_statistics_and_evaluation_agree_with_torch():
    layer, generator = nn.BatchNorm2d(6).double(), torch.manual_seed(1)
    mean, var = layer.running_mean.clone(), layer.running_var.clone()
    for _ in range(3):
        x = torch.randn(4, 6, 5, 5, generator=generator, dtype=torch.float64) * 3 - 2
        layer(x)
        mean, var = update_running_statistics(x, mean, var)
    assert_close(mean, layer.running_mean, rtol=1e-12, atol=1e-12)
    assert_close(var, layer.running_var, rtol=1e-12, atol=1e-12)
    layer.eval()
    out = batch_norm_eval(x, mean, var, layer.weight, layer.bias)
    assert_close(out, layer(x), rtol=1e-10, atol=1e-10)
    assert_close(out[:1], batch_norm_eval(x[:1], mean, var, layer.weight, layer.bias))  # the batch no longer matters


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("size", [1, 3])
def test_convolve_agrees_with_torch(size, padding):
    generator = torch.manual_seed(2)
    x = torch.randn(2, 3, 7, 6, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, 3, size, size, generator=generator, dtype=torch.float64)
    assert_close(convolve(x, weight, padding), nn.functional.conv2d(x, weight, padding=padding),
                 rtol=1e-12, atol=1e-12)


def test_counts():
    assert [num_statistics(norm, N=64, C=16, num_groups=2) for norm in ("layer", "group", "batch")] == [64, 128, 16]
    assert [num_affine(norm, C=16, H=26, W=26) for norm in ("layer", "group", "batch")] == [21_632, 32, 32]
    for norm, layer in (("layer", nn.LayerNorm([12, 8, 8])), ("group", nn.GroupNorm(4, 12)),
                        ("batch", nn.BatchNorm2d(12))):
        assert num_affine(norm, 12, 8, 8) == sum(p.numel() for p in layer.parameters())


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"takes \(2, 1, 2\)"):
        layer_norm(X, *ones_and_zeros(2))  # GroupNorm(1, C)'s affine, not LayerNorm's
    with pytest.raises(ValueError, match=r"takes \(2,\)"):
        batch_norm(X, *ones_and_zeros(1, 2))  # would broadcast silently
    with pytest.raises(ValueError, match="takes a divisor of 2 channels"):
        group_norm(X, 3, *ones_and_zeros(2))
    with pytest.raises(ValueError, match=r"takes \(N, C, H, W\)"):
        layer_norm(X[0], *ones_and_zeros(1, 2))
    for refused in (batch_norm, update_running_statistics):
        with pytest.raises(ValueError, match="one value per channel"):
            refused(X[:1, :, :, :1], *ones_and_zeros(2))
    with pytest.raises(ValueError, match="takes 20"):
        reference_forward([X], X, "layer")
    with pytest.raises(ParameterError, match="norm: got 'spectral'"):
        num_affine("spectral", 1, 1, 1)
    with pytest.raises(ParameterError, match=r"takes a list .* 'layer', 'group', 'batch'"):
        reference_forward([X] * 20, X, "instance")
