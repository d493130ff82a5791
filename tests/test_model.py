"""The networks are those of the table, and compute what the arithmetic says."""

import pytest
import torch
import torch.nn.functional as F
from reference import noise, reference_forward, with_gradients
from torch import nn
from torch.testing import assert_close

from helpers.config import ALL_NORMS, VARIANTS, ParameterError
from helpers.fast_layers import accelerate
from helpers.model import build_model, make_norm, num_parameters, summarize
from helpers.training import conv_weights

# The historical run's torchsummary tables (github.com/sunandhini96/School_of_AI-Assignment_5):
# layer, channels, size and parameters; of a norm LayerNorm's, then GroupNorm's or BatchNorm's.
GOLDEN_TABLE = """
Conv2d 16 26 144   | ReLU 16 26 0 | norm 16 26 21,632 32 | Dropout 16 26 0
Conv2d 32 24 4,608 | ReLU 32 24 0 | norm 32 24 36,864 64 | Dropout 32 24 0
Conv2d 10 24 320   | MaxPool2d 10 12 0
Conv2d 12 10 1,080 | ReLU 12 10 0 | norm 12 10 2,400 24  | Dropout 12 10 0
Conv2d 12 8 1,296  | ReLU 12 8 0  | norm 12 8 1,536 24   | Dropout 12 8 0
Conv2d 12 6 1,296  | ReLU 12 6 0  | norm 12 6 864 24     | Dropout 12 6 0
Conv2d 16 6 1,728  | ReLU 16 6 0  | norm 16 6 1,152 32   | Dropout 16 6 0
AvgPool2d 16 1 0   | Conv2d 10 1 160
"""


@pytest.mark.parametrize(("norm", "name", "total"), [
    ("layer", "LayerNorm", "75,080"), ("group", "GroupNorm", "10,832"),
    ("batch", "BatchNorm2d", "10,832")])
def test_torchsummary_prints_the_golden_table(norm, name, total):
    net = build_model(norm, seed=0)
    random_state = torch.get_rng_state()
    table = summarize(net)
    assert net.training and torch.equal(random_state, torch.get_rng_state())
    assert_close(net.state_dict(), build_model(norm, seed=0).state_dict(), rtol=0, atol=0)
    lines = [" ".join(line.split()) for line in table.splitlines()]
    layers = GOLDEN_TABLE.strip().replace("norm", name).replace("\n", "|").split("|")
    for number, (layer, line) in enumerate(zip(layers, lines[3:31], strict=True), 1):
        title, channels, size, *counts = layer.split()
        count = counts[0 if norm == "layer" else -1]
        assert line == f"{title}-{number} [-1, {channels}, {size}, {size}] {count}"
    assert lines[32] == f"Total params: {total}" and lines[34] == "Non-trainable params: 0"
    assert f"{num_parameters(net):,}" == total
    assert summarize(accelerate(net)) == table


@pytest.mark.parametrize(("norm", "num_groups"), [
    ("layer", 2), ("group", 1), ("group", 2), ("group", 4), ("batch", 2)])
def test_forward_and_backward_equal_the_arithmetic(norm, num_groups):
    net = build_model(norm, num_groups).double()
    parameters = list(net.parameters())
    for parameter in parameters:  # among weights of one a swapped or missing one is not seen
        nn.init.normal_(parameter, std=0.5)
    images = noise(5, 1, 28, 28)
    expected = reference_forward(parameters, images, norm, num_groups)
    assert_close(with_gradients(net(images), parameters), with_gradients(expected, parameters))


@pytest.mark.parametrize(("norm", "learned", "reference"), [
    ("none", 0, lambda x: x),
    ("layer_plain", 0, lambda x: F.layer_norm(x, x.shape[1:])),
    ("instance", 24, F.instance_norm),
])
def test_norms_of_the_ablations(norm, learned, reference):
    layer = make_norm(norm, 12, 6)
    x = torch.randn(5, 12, 6, 6)
    assert num_parameters(layer) == learned
    assert_close(layer(x), reference(x))


def test_means_of_a_training_step():
    counts = [variant.means(64, 16, 2) for variant in ALL_NORMS.values()]
    assert counts == [64, 128, 16, 0, 64, 1024]


def test_variants_start_from_the_same_convolutions():
    first, *others = (conv_weights(build_model(norm, seed=5)) for norm in VARIANTS)
    for other in others:
        assert_close(first, other, rtol=0, atol=0)
    assert not torch.equal(first[0], conv_weights(build_model("layer", seed=6))[0])


def test_dropout_in_the_first_block_and_half_of_it_after():
    layers = build_model("batch", dropout=0.1).modules()
    rates = [layer.p for layer in layers if isinstance(layer, nn.Dropout)]
    assert rates == [0.1] + 5 * [0.05]


@pytest.mark.parametrize(("norm", "channels", "num_groups", "says"), [
    ("spectral", 16, 2, "norm: got 'spectral' .* 'layer', 'group', 'batch'"),
    ("group", 16, 3, "num_groups: got 3 .*1, 2, 4"),
    ("group", 6, 4, "num_groups: got 4, takes a divisor of 6 channels"),
])
def test_bad_norm_or_groups(norm, channels, num_groups, says):
    with pytest.raises(ParameterError, match=says):
        make_norm(norm, channels, 4, num_groups)
