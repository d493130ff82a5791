"""The written-out arithmetic against numbers worked by hand and against torch's own layers."""

import pytest
import torch
from reference import noise, with_gradients
from torch import nn
from torch.testing import assert_close

from helpers.normalization import batch_norm, group_norm, layer_norm

# Two images of two channels of 1x2 pixels; the first channel is 1 3 5 7 like the first image.
X = torch.tensor([1.0, 3.0, 5.0, 7.0, 5.0, 7.0, 11.0, 13.0]).view(2, 2, 1, 2)
ONE_VALUE = X[:1, :, :, :1]
ONES = torch.ones(2)
ZEROS = torch.zeros(2)


def test_by_hand():
    """The variance of 1 3 5 7 is (9 + 1 + 1 + 9) / 4 = 5, and with eps = 4 the divisor is 3."""
    expected = torch.tensor([-3.0, -1.0, 1.0, 3.0]).view(2, 1, 2) / 3
    weight = torch.ones(2, 1, 2)
    assert_close(layer_norm(X, weight, weight, eps=4)[0], expected + 1)
    assert_close(group_norm(X, 1, ONES, ZEROS, eps=4)[0], expected)
    assert_close(batch_norm(X.transpose(0, 1), ONES, ZEROS, eps=4)[:, 0], expected)


@pytest.mark.parametrize(("ours", "layer"), [
    (layer_norm, nn.LayerNorm([6, 5, 4])), (batch_norm, nn.BatchNorm2d(6)),
    *[(lambda x, *affine, G=G: group_norm(x, G, *affine), nn.GroupNorm(G, 6)) for G in (1, 2, 6)]])
def test_forward_and_backward_agree_with_torch(ours, layer):
    layer.double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    inputs = [(noise(3, 6, 5, 4) * 2 + 1).requires_grad_(), layer.weight, layer.bias]
    assert_close(with_gradients(ours(*inputs), inputs), with_gradients(layer(inputs[0]), inputs))


@pytest.mark.parametrize(("normalise", "says"), [
    (lambda: layer_norm(X, ONES, ZEROS), r"takes \(2, 1, 2\)"),  # GroupNorm(1, C)'s weight
    (lambda: batch_norm(X, ONES.view(1, 2), ZEROS), r"takes \(2,\)"),  # would broadcast silently
    (lambda: group_norm(X, 3, ONES, ZEROS), "takes a divisor of 2 channels"),
    (lambda: layer_norm(X[0], ONES, ZEROS), r"takes \(N, C, H, W\)"),
    (lambda: batch_norm(ONE_VALUE, ONES, ZEROS), "one value per channel"),
])
def test_wrong_shapes_are_refused(normalise, says):
    with pytest.raises(ValueError, match=says):
        normalise()
