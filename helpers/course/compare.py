"""How an answer is compared with what is right: what differs is said in one line."""

from collections.abc import Mapping

import torch
from torch import Tensor

from helpers.parameters import OneLineError


class Wrong(OneLineError):
    """What differs, in one line."""


def compare(name: str, got, expected: Tensor, mistakes: Mapping[str, Tensor] = {}) -> None:
    """Raises Wrong, saying what differs, when `got` is not `expected`. mistakes: what they give, by their names."""
    if not isinstance(got, Tensor):
        raise Wrong(f"{name}: got {type(got).__name__}, takes a tensor of shape {tuple(expected.shape)}.")
    if got.shape != expected.shape:
        raise Wrong(f"{name}: got shape {tuple(got.shape)}, takes {tuple(expected.shape)}.")
    if torch.allclose(got, expected, atol=1e-5):
        return
    for reason, value in mistakes.items():
        if value.shape == expected.shape and torch.allclose(got, value, atol=1e-6):
            raise Wrong(f"{name}: {reason}.")
    difference = (got - expected).abs()
    index = tuple(int(i) for i in torch.unravel_index(difference.argmax(), difference.shape))
    raise Wrong(f"{name}: differs most at {list(index)}: got {got[index]:.4f}, takes {expected[index]:.4f}.")


def compare_numbers(got: Mapping, expected: Mapping, mistakes: Mapping[str, Mapping]) -> None:
    """As `compare`, for named numbers. mistakes: for a name, what a number would come from."""
    for name, value in expected.items():
        if got.get(name) != value:
            reason = mistakes.get(name, {}).get(got.get(name), "count once more")
            raise Wrong(f"{name}: got {got.get(name)}; {reason}.")
