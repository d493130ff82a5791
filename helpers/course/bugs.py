"""Task 7: five mistakes of published course notebooks. None ends in an error, so each is shown by what it does."""

from collections.abc import Callable

import torch

from helpers.course.compare import Wrong, compare
from helpers.model import build_model


def bugs(penalty: Callable, accuracy: Callable, rotate: Callable, train_all: Callable, wrong_images: Callable) -> str:
    """Raises Wrong for the first that is not mended."""
    check_penalty(penalty)
    check_accuracy(accuracy)
    check_rotate(rotate)
    check_train_all(train_all)
    check_wrong_images(wrong_images)
    return "All five mended."


def check_penalty(penalty: Callable) -> None:
    """(net) -> 0.01 times the sum of all parameters' sizes, as the historical run had it."""
    net = build_model("batch", seed=0)
    with torch.no_grad():
        sizes = [parameter.abs().sum() for parameter in net.parameters()]
        sums = [parameter.sum() for parameter in net.parameters()]
        compare("penalty", penalty(net), 0.01 * sum(sizes), {
            "the signs are kept, so it can fall below zero": 0.01 * sum(sums)})


def check_accuracy(accuracy: Callable) -> None:
    """(net, images, labels) -> share of right answers, in evaluation mode, leaving no trace."""
    net = build_model("batch", seed=0).train()
    images = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        net(images + 1)  # its running averages are not this batch's
        labels = net.eval()(images).argmax(1)
    net.train()
    before = net.layers[0][2].running_mean.clone()
    share = accuracy(net, images, labels)
    if not torch.equal(before, net.layers[0][2].running_mean):
        raise Wrong("accuracy: the validation images move BatchNorm's running averages: call eval() first.")
    if float(share) != 1:
        raise Wrong(f"accuracy: got {float(share):.2f} where all answers in evaluation mode are right, takes 1.")
    if not net.training:
        raise Wrong("accuracy: the network stays in evaluation mode: training would go on without batch statistics.")


def check_rotate(rotate: Callable) -> None:
    """(images after ToTensor) -> the same turned by 7 degrees, paper in the corners."""
    turned = rotate(torch.zeros(2, 1, 28, 28))
    if turned.max() > 0:
        raise Wrong(f"rotate: blank paper gets ink of {turned.max():.0f} in its corners: after ToTensor paper is 0.")
    ink = rotate(torch.ones(2, 1, 28, 28))
    if ink.shape != (2, 1, 28, 28) or ink[0, 0, 14, 14] != 1 or ink[0, 0, 0, 0] != 0:
        raise Wrong("rotate: a page of ink should keep its ink in the middle and get paper in the corners.")


def check_train_all(train_all: Callable) -> None:
    """(norms, train) -> a result for each norm; train(net, use_l1) returns one."""
    def train(net, use_l1: bool) -> tuple[float, bool]:
        return net.layers[0][0].weight.sum().item() + torch.rand(1).item(), use_l1

    results = train_all(("layer", "group", "batch", "layer"), train)
    if [bool(use_l1) for _, use_l1 in results] != [False, False, True, False]:
        raise Wrong("train_all: the penalty stays on for the variant that comes after BatchNorm.")
    if results[0] != results[3]:
        raise Wrong("train_all: the same variant, trained twice, starts from other random numbers: seed each.")


def check_wrong_images(wrong_images: Callable) -> None:
    """(predict, images, labels) -> the indices of the images that are misread, in file order."""
    images = torch.arange(200).float().view(200, 1, 1, 1)
    labels = torch.arange(200) % 10
    labels[[3, 77, 150]] = 11
    for _ in range(2):
        got = list(wrong_images(lambda batch: batch.flatten().long() % 10, images, labels))
        if got != [3, 77, 150]:
            raise Wrong(f"wrong_images: got {got}, takes [3, 77, 150], each time: is the order that of the file?")
