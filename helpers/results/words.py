"""Numbers in words: counts, lists, p-values, and differences over seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from pandas import Series

from helpers.results.intervals import LEVEL, half_width, holm, paired_p


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
    """Differences over seeds: mean and interval of three or more, each one of fewer.

    unit: "points" (of percent, two decimals) or "images" (one). sign: "+" shows that one too.
    """
    digits = 1 if unit == "images" else 2
    if len(differences) > 2:
        unit = f"± {half_width(differences):.{digits}f} {unit}"
        differences = [np.mean(differences)]
    texts = []
    for difference in differences:
        text = f"{difference:{sign}.{digits}f}"
        texts.append(text if round(difference, digits) else text.lstrip("+-"))  # a zero has no sign
    return f"{' and '.join(texts)} {unit}"


def compare_in_words(named: Mapping[str, Series], unit: str = "points") -> str:
    """Differences by seed in words, name by name, and from three seeds on whether one is shown.

    The test is the paired t-test over seeds; its p is Holm-corrected for all of `named`.
    """
    known = {name: values.dropna().tolist() for name, values in named.items() if values.notna().any()}
    if not known:
        return "not known, for no seed was run with both"
    p_values = holm([paired_p(values) for values in known.values() if len(values) > 2])
    counts = {count_seeds(len(values)) for values in known.values()}
    parts = []
    for name, values in known.items():
        notes = []
        if len(values) > 2:
            p = p_values.pop(0)
            notes.append(f"{p_text(p)}: {'a difference' if p < 1 - LEVEL else 'no difference shown'}")
        if len(counts) > 1:
            notes.append(count_seeds(len(values)))
        part = f"{name} {in_words(values, unit, '+')}"
        parts.append(f"{part} ({', '.join(notes)})" if notes else part)
    if len(counts) == 1:
        parts[-1] += f" ({counts.pop()})"
    return "; ".join(parts)
