"""The networks are those of the table, and compute what the arithmetic says."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from helpers.config import ParameterError
from helpers.model import (
    Conv2d,
    Dropout,
    GroupNorm,
    LayerNorm,
    build_model,
    dropped_places,
    make_norm,
    num_parameters,
    summarize,
)
from helpers.normalization import reference_forward

NAMES = {"layer": "LayerNorm", "group": "GroupNorm", "batch": "BatchNorm2d"}
# The historical run's own torchsummary tables (github.com/sunandhini96/School_of_AI-Assignment_5): layer, output
# shape, parameters; for a normalisation the parameters of layer / group / batch.
TABLE = [
    ("Conv2d", (16, 26, 26), 144), ("ReLU", (16, 26, 26), 0), ("norm", (16, 26, 26), (21632, 32, 32)),
    ("Dropout", (16, 26, 26), 0), ("Conv2d", (32, 24, 24), 4608), ("ReLU", (32, 24, 24), 0),
    ("norm", (32, 24, 24), (36864, 64, 64)), ("Dropout", (32, 24, 24), 0), ("Conv2d", (10, 24, 24), 320),
    ("MaxPool2d", (10, 12, 12), 0), ("Conv2d", (12, 10, 10), 1080), ("ReLU", (12, 10, 10), 0),
    ("norm", (12, 10, 10), (2400, 24, 24)), ("Dropout", (12, 10, 10), 0), ("Conv2d", (12, 8, 8), 1296),
    ("ReLU", (12, 8, 8), 0), ("norm", (12, 8, 8), (1536, 24, 24)), ("Dropout", (12, 8, 8), 0),
    ("Conv2d", (12, 6, 6), 1296), ("ReLU", (12, 6, 6), 0), ("norm", (12, 6, 6), (864, 24, 24)),
    ("Dropout", (12, 6, 6), 0), ("Conv2d", (16, 6, 6), 1728), ("ReLU", (16, 6, 6), 0),
    ("norm", (16, 6, 6), (1152, 32, 32)), ("Dropout", (16, 6, 6), 0), ("AvgPool2d", (16, 1, 1), 0),
    ("Conv2d", (10, 1, 1), 160),
]


def expected_rows(norm: str) -> list[str]:
    rows = []
    for number, (layer, shape, count) in enumerate(TABLE, 1):
        layer = NAMES[norm] if layer == "norm" else layer
        count = count[list(NAMES).index(norm)] if isinstance(count, tuple) else count
        rows.append(f"{layer + '-' + str(number):>20}  {[-1, *shape]!s:>25} {count:>15,}")
    return rows


@pytest.mark.parametrize(("norm", "total"), [("layer", 75_080), ("group", 10_832), ("batch", 10_832)])
def test_torchsummary_prints_the_golden_table(norm, total):
    net = build_model(norm)
    lines = summarize(net).splitlines()
    assert lines[3:31] == expected_rows(norm)
    assert lines[32] == f"Total params: {total:,}" and num_parameters(net) == total
    assert lines[34] == "Non-trainable params: 0"


def test_summary_leaves_the_network_and_the_random_state_alone():
    net = build_model("batch", seed=0).train()
    before, state = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    summarize(net)
    assert net.training and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


@pytest.mark.parametrize(("norm", "num_groups"), [("layer", 2), ("group", 1), ("group", 2), ("group", 4), ("batch", 2)])
def test_forward_and_backward_equal_the_arithmetic(norm, num_groups):
    net = build_model(norm, num_groups, seed=1).double().train()
    with torch.no_grad():  # away from 1 and 0, so that a swapped or missing weight or bias is seen
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(p.numel())))
    x = torch.randn(5, 1, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ours = net(x)
    theirs = reference_forward(list(net.parameters()), x, norm, num_groups)
    assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weights = torch.randn(ours.shape, dtype=ours.dtype, generator=torch.Generator().manual_seed(3))
    for mine, other in zip(torch.autograd.grad((ours * weights).sum(), list(net.parameters())),
                           torch.autograd.grad((theirs * weights).sum(), list(net.parameters())), strict=True):
        assert_close(mine, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("norm", "learns", "reference"), [
    ("none", 0, lambda x: x),
    ("layer_plain", 0, lambda x: F.layer_norm(x, x.shape[1:])),
    ("instance", 24, lambda x: F.instance_norm(x)),
])
@pytest.mark.parametrize("copies", [1, 3])
def test_norms_of_the_ablations(norm, learns, reference, copies):
    layer, x = make_norm(norm, 12, 6, copies=copies), torch.randn(5, copies * 12, 6, 6)
    assert num_parameters(layer) == copies * learns
    for one, whole in zip(x.chunk(copies, 1), layer(x).chunk(copies, 1), strict=True):
        assert_close(whole, reference(one), rtol=1e-4, atol=1e-5)


def test_dropout_without_a_norm_can_train():
    net = build_model("none", dropout=0.1, seed=0).train()
    net(torch.randn(4, 1, 28, 28)).sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_variants_start_from_the_same_convolutions():
    nets = [build_model(norm, seed=5) for norm in NAMES]
    convs = [[m.weight for m in net.modules() if isinstance(m, nn.Conv2d)] for net in nets]
    assert all(torch.equal(a, b) for other in convs[1:] for a, b in zip(convs[0], other, strict=True))
    assert not torch.equal(convs[0][0], next(build_model("layer", seed=6).parameters()))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_layer_norm_is_nn_layer_norm(memory_format):
    plain, ours = nn.LayerNorm([3, 4, 5]), LayerNorm([3, 4, 5])
    with torch.no_grad():
        for p in plain.parameters():
            p.copy_(torch.randn(p.shape))
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(7, 3, 4, 5).contiguous(memory_format=memory_format).requires_grad_()
    weights = torch.randn(7, 3, 4, 5)
    for a, b in zip((ours(x), *torch.autograd.grad((ours(x) * weights).sum(), [x, *ours.parameters()])),
                    (plain(x), *torch.autograd.grad((plain(x) * weights).sum(), [x, *plain.parameters()])),
                    strict=True):
        assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gradient_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("inplace", [False, True])
def test_dropout_is_nn_dropout_with_its_own_mask(memory_format, gradient_format, inplace):
    x = (1 + torch.rand(16, 8, 24, 24)).contiguous(memory_format=memory_format).requires_grad_()  # no zero in it
    weights = torch.randn(x.shape).contiguous(memory_format=gradient_format)
    y = Dropout(0.1, inplace)(x.clone() if inplace else x)
    mask = (y != 0).float()
    assert 0.88 < mask.mean() < 0.92
    expected = x * mask / 0.9  # what nn.Dropout computes under this mask
    assert_close(y, expected, rtol=1e-6, atol=0)
    assert_close(torch.autograd.grad((y * weights).sum(), x), torch.autograd.grad((expected * weights).sum(), x),
                 rtol=1e-6, atol=0)
    assert torch.equal(Dropout(0.1).eval()(x), x) and torch.equal(Dropout(0.0)(x), x)


def test_dropout_in_place_is_refused_where_the_gradient_needs_its_input():
    x = torch.randn(100, requires_grad=True)
    e = x.exp()  # keeps its result for the gradient
    with pytest.raises(RuntimeError, match="inplace operation"):
        Dropout(0.5, inplace=True)(e).sum().backward()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_pointwise_convolution_is_nn_conv2d(memory_format):
    plain, ours = nn.Conv2d(6, 4, 1, bias=False), Conv2d(6, 4, 1, bias=False)
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(7, 6, 4, 5).contiguous(memory_format=memory_format).requires_grad_()
    weights = torch.randn(7, 4, 4, 5)
    for a, b in zip((ours(x), *torch.autograd.grad((ours(x) * weights).sum(), [x, ours.weight])),
                    (plain(x), *torch.autograd.grad((plain(x) * weights).sum(), [x, plain.weight])), strict=True):
        assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("p", [4.579908914907432e-30, 1e-12])
def test_a_tiny_rate_drops_nothing(p):
    for seed in range(20):
        torch.manual_seed(seed)
        assert len(dropped_places(50_000, p)) == 0


@pytest.mark.parametrize("p", [0.001, 0.05, 0.1, 0.5, 0.9])
def test_dropped_places_have_the_rate_and_are_independent(p):
    torch.manual_seed(0)
    n, draws = 20_000, 60
    masks = torch.zeros(draws, n)
    for mask in masks:
        places = dropped_places(n, p)
        assert (places.diff() > 0).all() and places[0] >= 0 and places[-1] < n
        mask[places] = 1
    sigma = (p * (1 - p) / masks.numel()) ** 0.5
    assert abs(masks.mean() - p) < 5 * sigma
    # the first, the last and all other elements alike
    for part in (masks[:, :1000], masks[:, -1000:]):
        assert abs(part.mean() - p) < 5 * sigma * 20**0.5
    flat = masks - p
    for other in (*(flat.roll(step, 1) for step in (1, 2, 3, 7, 64)), flat.roll(1, 0)):
        assert abs((flat * other).mean()) / (p * (1 - p)) < 5 / masks.numel() ** 0.5
    counts = masks.sum(1)  # binomial: the number dropped varies as much as independent draws do
    assert 0.5 < counts.std() / (n * p * (1 - p)) ** 0.5 < 1.6


def test_dropout_of_almost_everything_and_of_almost_nothing():
    x = torch.ones(1000)
    assert (Dropout(0.9999999)(x) != 0).sum() < 5 and (Dropout(1e-12)(x) != 0).all()


@pytest.mark.parametrize("norm", NAMES)
def test_bfloat16_activations_give_the_gradients_of_float32_but_for_rounding(norm):
    full, reduced = (build_model(norm, seed=0, precision=precision) for precision in ("float32", "bfloat16"))
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(64, 1, 28, 28, generator=generator), torch.arange(64) % 10
    gradients = []
    for net in (full, reduced):
        logits = net(images)
        assert logits.dtype == torch.float32
        gradients.append(torch.autograd.grad(F.cross_entropy(logits, labels), list(net.parameters())))
    for exact, rounded in zip(*gradients, strict=True):
        assert rounded.dtype == torch.float32
        cosine = F.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0)
        assert cosine > 0.95 and 0.8 < rounded.norm() / exact.norm() < 1.25
    assert not torch.equal(gradients[0][0], gradients[1][0])
    reduced.load_state_dict(full.state_dict())
    assert torch.equal(full.eval()(images), reduced.eval()(images)), "evaluation is in float32"


@pytest.mark.parametrize(("channels", "groups"), [(16, 2), (32, 2), (12, 4)])
def test_group_norm_is_nn_group_norm(channels, groups):
    plain, ours = nn.GroupNorm(groups, channels), GroupNorm(groups, channels)
    x = torch.randn(8, channels, 6, 6)
    assert torch.equal(ours(x), plain(x))
    rounded = x.to(torch.bfloat16)
    assert ours(rounded).dtype == torch.bfloat16
    assert_close(ours(rounded).float(), plain(rounded.float()), rtol=2**-8, atol=1e-6)  # half a step of bfloat16


def test_dropout_in_the_first_block_and_half_of_it_after():
    rates = [m.p for m in build_model("batch", dropout=0.1).modules() if isinstance(m, nn.Dropout)]
    assert rates == [0.1] + 5 * [0.05]


def test_batchnorm_alone_mixes_the_images_of_a_batch():
    x = torch.randn(4, 1, 28, 28)
    for norm in NAMES:
        net = build_model(norm, seed=0).train()
        alone, beside = net(x[:2])[0], net(x)[0]
        assert torch.allclose(alone, beside, atol=1e-4) == (norm != "batch"), norm


@pytest.mark.parametrize(("norm", "num_groups", "says"), [
    ("spectral", 2, "'layer', 'group', 'batch'"), ("group", 3, "1, 2, 4"), ("group", 0, "1, 2, 4")])
def test_bad_norm_or_groups(norm, num_groups, says):
    with pytest.raises(ParameterError, match=says):
        build_model(norm, num_groups)


def test_groups_must_divide_the_channels():
    with pytest.raises(ParameterError, match="divisor of 6 channels"):
        make_norm("group", 6, 4, 4)
