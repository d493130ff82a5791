"""Numbers in words: counts, lists, p-values, and differences over seeds."""

from collections.abc import Sequence

import numpy as np

from helpers.results.intervals import half_width


def plural(number: int, thing: str) -> str:
    """As "1 seed" and "3 seeds"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def count_seeds(number: int) -> str:
    """As "one seed" and "3 seeds"."""
    return "one seed" if number == 1 else f"{number} seeds"


def join_words(items: Sequence[str]) -> str:
    """As "a, b and c"; takes at least one item."""
    *others, last = items
    return f"{', '.join(others)} and {last}" if others else last


def p_text(p: float) -> str:
    """A p-value as it stands in a sentence."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def in_words(differences: Sequence[float], unit: str = "points", sign: str = "") -> str:
    """Differences over seeds: mean and interval of three or more, each one of fewer. sign: "+" shows that one too."""
    if len(differences) > 2:
        unit = f"± {half_width(differences):.2f} {unit}"
        differences = [np.mean(differences)]
    texts = []
    for difference in differences:
        text = f"{difference:{sign}.2f}"
        texts.append(text if round(difference, 2) else text.lstrip("+-"))  # a zero has no sign
    return f"{' and '.join(texts)} {unit}"
