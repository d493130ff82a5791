"""The exercises' checks: a right answer is told with its number, a wrong one by what differs.

`check` prints one line, for students; `grade` raises `Wrong`, for nbgrader. What is right comes from torch and scipy.
Typical mistakes are computed beside it, so that an answer which equals one is told which.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from torch import Tensor, nn

from helpers.course.bugs import bugs
from helpers.course.compare import Wrong, compare, compare_numbers
from helpers.model import build_model

EPS = 1e-5
LAMBDA = 1e-3


def check(number: int, *answers) -> None:
    """Prints what there is to say about the answers to a task."""
    try:
        print(f"Task {number}: right. {TASKS[number](*answers)}")
    except NotImplementedError:
        print(f"Task {number}: not answered yet.")
    except Wrong as wrong:
        print(f"Task {number}: not yet. {wrong}")
    except Exception as error:  # a mistake in the student's own code
        print(f"Task {number}: not yet. Your code stops with {type(error).__name__}: {error}")


def grade(number: int, *answers) -> None:
    """Raises when the answers to a task are not right."""
    TASKS[number](*answers)


def some_images(*shape: int, seed: int = 0) -> Tensor:
    """Activations that are not centred, so that a mean that is forgotten shows."""
    return 3 + 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def standardized(x: Tensor, dims: tuple[int, ...], correction: int = 0, inside: bool = True) -> Tensor:
    """`x` minus its mean over `dims` by its standard deviation. correction, inside: see the mistakes."""
    variance, mean = torch.var_mean(x, dims, correction=correction, keepdim=True)
    return (x - mean) / ((variance + EPS).sqrt() if inside else variance.sqrt() + EPS)


def group_norm(answer: Callable) -> str:
    """Task 1: (x, num_groups) -> y, without a weight."""
    for num_groups in (2, 4):
        x = 0.01 * some_images(3, 8, 4, 4)  # so small that the place of epsilon shows
        groups = x.unflatten(1, (num_groups, -1))
        woven = x.unflatten(1, (-1, num_groups))
        compare("group_norm", answer(x, num_groups), F.group_norm(x, num_groups, eps=EPS), {
            "the variance is divided by n - 1; torch divides by n": standardized(groups, (2, 3, 4), 1).flatten(1, 2),
            "epsilon stands outside of the root": standardized(groups, (2, 3, 4), inside=False).flatten(1, 2),
            "images share a mean: leave N out of the axes": standardized(groups, (0, 2, 3, 4)).flatten(1, 2),
            "the mean is each channel's: channels of a group share one": standardized(x, (2, 3)),
            "the mean is the whole image's: each group has its own": standardized(x, (1, 2, 3)),
            "channels 0, G, 2G ... form a group: neighbours should": standardized(woven, (1, 3, 4)).flatten(1, 2)})
    x = torch.tensor([1.0, 3, 5, 7, 0, 0, 2, 6]).view(1, 4, 1, 2)
    return f"The 5 of the worked example becomes {answer(x, 2).flatten()[2]:.2f}."


def layer_norm(answer: Callable, same: Callable) -> str:
    """Task 2: (x, weight, bias) -> y; and which layers compute the same as a new LayerNorm over (C, H, W)."""
    x = some_images(3, 4, 5, 5)
    weight = some_images(4, 5, 5, seed=1)
    bias = some_images(4, 5, 5, seed=2)
    own = standardized(x, (1, 2, 3))
    compare("layer_norm", answer(x, weight, bias), F.layer_norm(x, (4, 5, 5), weight, bias, EPS), {
        "the mean is over C alone: that is ConvNeXt's": standardized(x, (1,)) * weight + bias,
        "the mean is over (H, W) alone: that is InstanceNorm's": standardized(x, (2, 3)) * weight + bias,
        "the weight has one number a channel: each place has its own": own * weight[:, :1, :1] + bias[:, :1, :1],
        "weight and bias are missing": own,
        "the bias is added before the weight multiplies": (own + bias) * weight})
    letters = sorted(same())
    if letters != ["a"]:
        raise Wrong(f"same: got {letters}. Run each layer beside nn.LayerNorm([4, 5, 5]) on random images.")
    return "GroupNorm(1, C) has the same mean, and 2C learned numbers instead of 2CHW: 8 and 200 here."


def batch_norm(answer: Callable) -> str:
    """Task 3: (x, running_mean, running_var, training) -> (y, running_mean, running_var); momentum is 0.1."""
    x = some_images(4, 3, 2, 2)
    old_mean = torch.tensor([0.0, 1, 2])
    old_var = torch.tensor([1.0, 2, 3])
    for training in (True, False):
        mean = old_mean.clone()
        var = old_var.clone()
        expected = F.batch_norm(x, mean, var, training=training, eps=EPS)
        y, new_mean, new_var = answer(x, old_mean.clone(), old_var.clone(), training)
        mode = "in training" if training else "in evaluation"
        of_batch = standardized(x, (0, 2, 3))
        running = (x - old_mean.view(3, 1, 1)) / (old_var.view(3, 1, 1) + EPS).sqrt()
        compare(f"y {mode}", y, expected, {
            "it is normalised with running averages: a training step takes the batch's own" if training else
            "it is normalised with the batch's own statistics: evaluation takes running averages":
                running if training else of_batch,
            "the variance is divided by n - 1; torch divides by n": standardized(x, (0, 2, 3), 1),
            "each image has its own mean: a channel's is over (N, H, W)": standardized(x, (2, 3))})
        batch_var, batch_mean = torch.var_mean(x, (0, 2, 3), correction=0)
        compare(f"running_mean {mode}", new_mean, mean, {
            "evaluation moves it: the test images leak in" if not training else
            "the old average has weight 0.1: it is the batch that has":
                0.9 * old_mean + 0.1 * batch_mean if not training else 0.1 * old_mean + 0.9 * batch_mean})
        compare(f"running_var {mode}", new_var, var, {
            "the batch's variance is divided by n: the running one takes n - 1": 0.9 * old_var + 0.1 * batch_var})
    return "In evaluation an image's answer no longer depends on its batch."


def backward(answer: Callable) -> str:
    """Task 4: (x, grad of y) -> grad of x, of LayerNorm over (C, H, W) without a weight."""
    x = some_images(3, 4, 2, 2).requires_grad_()
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    F.layer_norm(x, (4, 2, 2), eps=EPS).backward(grad)
    dims = (1, 2, 3)
    with torch.no_grad():
        std = (x.var(dims, correction=0, keepdim=True) + EPS).sqrt()
        y = standardized(x, dims)
        mean = grad.mean(dims, keepdim=True)
        along = y * (grad * y).mean(dims, keepdim=True)
        compare("the gradient", answer(x.detach(), grad), x.grad, {
            "mean and variance depend on x too: two terms are missing": grad / std,
            "the variance depends on x too: the term along y is missing": (grad - mean) / std,
            "the mean depends on x too: the gradient's mean is missing": (grad - along) / std,
            "the division by the standard deviation is missing": grad - mean - along,
            "divide by the standard deviation, not by the variance": (grad - mean - along) / std ** 2})
        return f"It sums to {answer(x.detach(), grad).sum().abs():.0f}: a shift of x changes nothing."


def l1(answer: Callable) -> str:
    """Task 5: (net, l1_lambda) -> penalty on the convolutions' weights."""
    net = build_model("batch", seed=0)
    convs = [layer.weight for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    every = list(net.parameters())

    def total(parameters: list[Tensor], size: Callable) -> Tensor:
        return LAMBDA * sum(size(parameter).sum() for parameter in parameters)

    with torch.no_grad():
        expected = total(convs, torch.abs)
        compare("the penalty", answer(net, LAMBDA), expected, {
            "the signs are kept, so weights cancel: take absolute values": total(convs, torch.clone),
            "γ and β are counted: BatchNorm's γ would be pushed to 0": total(every, torch.abs),
            "γ and β are counted, and the signs are kept": total(every, torch.clone),
            "squares are summed: that is an L2 penalty": total(convs, torch.square),
            "λ is missing": expected / LAMBDA,
            "means are summed": LAMBDA * sum(weight.abs().mean() for weight in convs)})
    if not answer(net, LAMBDA).requires_grad:
        raise Wrong("the penalty has no gradient: leave out detach, item and no_grad.")
    return f"It is {expected:.3f} nats for a new network; γ would add {LAMBDA * 100:.1f}."


def counts(answer: Callable) -> str:
    """Task 6: numbers of Conv2d(16, 24, 3, bias=False) on 10×10, then a norm; batches of 64."""
    compare_numbers(answer(), {
        "conv": 3456, "layer": 3072, "group": 48, "batch": 48,
        "means_layer": 64, "means_group": 128, "means_batch": 24}, {
        "conv": {3480: "there is no bias", 384: "each kernel has 3×3 places", 216: "each output sees 16 channels"},
        "layer": {4800: "the norm sees 8×8: a 3×3 kernel takes a pixel from each side",
                  1536: "there is a weight and a bias", 48: "each of the C·H·W places has its own"},
        "group": {4: "it learns for each channel, not for each group", 24: "there is a weight and a bias",
                  128: "what is learned never depends on the batch"},
        "batch": {128: "what is learned never depends on the batch", 24: "there is a weight and a bias",
                  96: "running averages are not learned"},
        "means_group": {2: "each image has its own", 64: "each group has its own"},
        "means_batch": {64: "images share it, channels do not", 1536: "images share it"},
        "means_layer": {24: "channels share it, images do not", 1: "each image has its own"}})
    return "None of the learned numbers depends on the batch; the means do."


def mcnemar(answer: Callable, verdict: Callable) -> str:
    """Task 8: (wrong_a, wrong_b), sets of indices -> the exact p; and what may be said."""
    for only_a, only_b in ((12, 4), (3, 0), (30, 30)):
        wrong_a = set(range(100, 120)) | set(range(only_a))
        wrong_b = set(range(100, 120)) | set(range(200, 200 + only_b))
        expected = torch.tensor(binomtest(only_a, only_a + only_b).pvalue)
        one_sided = torch.tensor(binomtest(only_a, only_a + only_b, alternative="greater").pvalue)
        all_errors = torch.tensor(binomtest(len(wrong_a), len(wrong_a) + len(wrong_b)).pvalue)
        got = answer(wrong_a, wrong_b)
        got = torch.as_tensor(float(got), dtype=torch.double)
        compare(f"p of {only_a} against {only_b}", got, expected.double(), {
            "it is one-sided: you did not know beforehand which is better": one_sided.double(),
            "images that both get wrong say nothing of the difference": all_errors.double()})
    if verdict() != "b":
        raise Wrong(f"verdict: got {verdict()!r}. With p = 0.077 neither a difference nor its absence is shown.")
    return "12 against 4: p = 0.077. And 3 against 0 can't be below 0.25."


def as_many_groups_as_channels(answer: Callable) -> str:
    """Task 9: predictions for GroupNorm with G = C."""
    compare_numbers(answer(), {"same_as": "instance", "means": 1024, "of_one_pixel": 0}, {
        "same_as": {"layer": "LayerNorm is G = 1", "batch": "BatchNorm's mean is over the batch"},
        "means": {16: "each image has its own", 64: "each channel has its own", 128: "that is G = 2"},
        "of_one_pixel": {1: "x minus its mean is 0", "nan": "epsilon keeps 0 / 0 away"}})
    x = some_images(64, 16, 3, 3)
    same = torch.allclose(F.group_norm(x, 16), F.instance_norm(x), atol=1e-5)
    return f"group_norm(x, 16) equals instance_norm(x): {same}."


TASKS = {1: group_norm, 2: layer_norm, 3: batch_norm, 4: backward, 5: l1, 6: counts, 7: bugs, 8: mcnemar,
         9: as_many_groups_as_channels}
