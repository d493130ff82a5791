"""Numbers in words: counts, lists, p-values, and differences over seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

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
        mean = _decimal(np.mean(differences), digits, sign)
        return f"{mean} ± {half_width(differences):.{digits}f} {unit}"
    each = [_decimal(difference, digits, sign) for difference in differences]
    return f"{' and '.join(each)} {unit}"


def _decimal(value: float, digits: int, sign: str) -> str:
    """What rounds to zero has no sign."""
    return f"{value:{sign}.{digits}f}" if round(value, digits) else f"{0:.{digits}f}"


def compare_in_words(named: Mapping[str, pd.Series], unit: str = "points") -> str:
    """Differences by seed in words, name by name, and from three seeds on whether one is shown.

    The test is the paired t-test over seeds; its p is Holm-corrected for all of `named`.
    """
    known = {name: differences.dropna().tolist() for name, differences in named.items()}
    known = {name: differences for name, differences in known.items() if differences}
    if not known:
        return "not known, for no seed was run with both"
    tested = [name for name in known if len(known[name]) > 2]
    p_values = holm([paired_p(known[name]) for name in tested])
    corrected = dict(zip(tested, p_values, strict=True))
    counts = {count_seeds(len(differences)) for differences in known.values()}
    parts = []
    for name, differences in known.items():
        notes = []
        if name in corrected:
            notes.append(_verdict(corrected[name]))
        if len(counts) > 1:
            notes.append(count_seeds(len(differences)))
        part = f"{name} {in_words(differences, unit, '+')}"
        if notes:
            part += f" ({', '.join(notes)})"
        parts.append(part)
    text = "; ".join(parts)
    if len(counts) == 1:
        text += f" ({counts.pop()})"
    return text


def _verdict(p: float) -> str:
    return f"{p_text(p)}: {'a difference' if p < 1 - LEVEL else 'no difference shown'}"
