"""The fast layers and the fast network compute what torch.nn's do."""

import copy

import pytest
import torch
import torch.nn.functional as F
from reference import noise, with_gradients
from torch import nn
from torch.testing import assert_close

from helpers.config import ALL_NORMS, VARIANTS
from helpers.fast_layers import Dropout, GroupNorm, accelerate, dropped_indices
from helpers.model import build_model


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(("channels", "groups"), [(16, 2), (32, 2), (12, 4)])
def test_group_norm_in_bfloat16(channels, groups):
    x = torch.randn(8, channels, 6, 6).bfloat16()
    expected = nn.GroupNorm(groups, channels)(x.float()).bfloat16()
    assert_close(GroupNorm(groups, channels)(x), expected, rtol=2**-8, atol=1e-6)  # half a step


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", ALL_NORMS)
def test_accelerate_keeps_the_function(norm, training):
    plain = build_model(norm, dropout=0.0 if training else 0.5).double()
    for parameter in plain.parameters():  # among weights of one a misplaced one is not seen
        nn.init.normal_(parameter, std=0.5)
    images = noise(4, 1, 28, 28)
    plain(images)  # moves the running statistics
    plain.train(training)
    fast = copy.deepcopy(plain)
    assert accelerate(fast) is fast, "in place"
    expected = with_gradients(plain(images), plain.parameters())
    assert_close(with_gradients(fast(images), fast.parameters()), expected)
    assert_close(fast.state_dict(), plain.state_dict())


@pytest.mark.parametrize("norm", ALL_NORMS)
def test_dropout_in_place_spoils_no_gradient(norm):
    net = accelerate(build_model(norm, dropout=0.1))
    net(torch.randn(4, 1, 28, 28)).sum().backward()  # autograd refuses what is overwritten
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("norm", VARIANTS)
def test_bfloat16_activations_give_the_gradients_of_float32_but_for_rounding(norm):
    full = accelerate(build_model(norm, seed=0))
    reduced = accelerate(build_model(norm, seed=0), "bfloat16")
    images = torch.randn(64, 1, 28, 28)
    exact = with_gradients(full(images), full.parameters())
    rounded = with_gradients(reduced(images), reduced.parameters())
    assert not torch.equal(exact[0], rounded[0])
    for one, other in zip(exact, rounded, strict=True):
        assert other.dtype == torch.float32
        assert F.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.95
        assert 0.8 < other.norm() / one.norm() < 1.25
    reduced.load_state_dict(full.state_dict())
    assert torch.equal(full.eval()(images), reduced.eval()(images)), "evaluation is in float32"


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("inplace", [False, True])
def test_dropout_is_torchs_with_its_own_mask(memory_format, inplace):
    x = 1 + torch.rand(16, 8, 24, 24)  # no zero in it
    x = x.contiguous(memory_format=memory_format).requires_grad_()
    out = Dropout(0.1, inplace)(x.clone())
    mask = out != 0
    expected = x * mask / 0.9  # what nn.Dropout computes under this mask
    other = 0 if inplace else x  # in place the gradient must be read by nobody else
    assert_close(with_gradients(out + other, [x]), with_gradients(expected + other, [x]))
    assert 0.88 < mask.float().mean() < 0.92
    assert torch.equal(Dropout(0.1).eval()(x), x) and torch.equal(Dropout(0.0)(x), x)


def test_dropout_in_place_is_refused_where_the_gradient_needs_its_input():
    x = torch.randn(100, requires_grad=True).exp()  # keeps its result for the gradient
    with pytest.raises(RuntimeError, match="inplace operation"):
        Dropout(0.5, inplace=True)(x).sum().backward()


@pytest.mark.parametrize("p", [4.579908914907432e-30, 1e-12, 1 - 1e-7])
def test_dropout_of_almost_nothing_and_of_almost_everything(p):
    for _ in range(20):
        assert len(dropped_indices(50_000, p)) / 50_000 == pytest.approx(p, abs=1e-4)


@pytest.mark.parametrize("p", [0.001, 0.05, 0.1, 0.5, 0.9])
def test_dropped_indices_have_the_rate_and_are_independent(p):
    masks = torch.zeros(60, 20_000)
    for mask in masks:
        indices = dropped_indices(20_000, p)
        assert (indices.diff() > 0).all(), "ascending"
        mask[indices] = 1
    standard = (masks - p) / (p * (1 - p)) ** 0.5  # mean 0 and variance 1
    products = [standard * standard.roll(distance, 1) for distance in (1, 2, 3, 7, 64)]
    for sample in (standard, standard[:, :1], standard[:, -1:], standard * standard.roll(1, 0), *products):
        assert abs(sample.mean()) < 5 / sample.numel() ** 0.5
    assert 0.5 < standard.sum(1).std() / 20_000**0.5 < 1.6, "counts are binomial"
