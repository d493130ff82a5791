"""What a parameter is: its rule, how a value is checked, how a notebook's cell is read.

This file imports no torch, so that a mistake in a value is told at once.
"""

import ast
import contextlib
import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields


class OneLineError(Exception):
    """An error about what was asked for, not about the code."""

    def _render_traceback_(self) -> list[str]:
        """IPython prints this line instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class ParameterError(OneLineError, ValueError):
    """A parameter that can't be used. Its message is one line: the name, what it got, what it takes."""


@dataclass(frozen=True)
class Rule:
    """The values that a parameter takes, in words and as a test."""

    takes: str
    accepts: Callable[[object], bool]
    is_list: bool = False

    def check(self, name: str, value) -> None:
        """Raises ParameterError, in one line, when the rule does not accept `value`."""
        if not self.accepts(value):
            kind = "" if value is None else f" ({type(value).__name__})"
            raise ParameterError(f"{name}: got {_short(value)}{kind}, takes {self.takes}")


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def integer(low: int, high: int = 2**31 - 1) -> Rule:
    most = "2**31 - 1" if high == 2**31 - 1 else str(high)

    takes = f"an integer of at least {low} and at most {most}"
    return Rule(takes, lambda value: type(value) is int and low <= value <= high)


def number(low: float, high: float = math.inf, low_open: bool = False, high_open: bool = False) -> Rule:
    takes = f"a finite number {'above' if low_open else 'of at least'} {low:g}"
    if high != math.inf:
        takes += f" and {'below' if high_open else 'at most'} {high:g}"

    def accepts(value) -> bool:
        if type(value) not in (int, float) or not abs(value) < 1e300:  # nan is not below
            return False
        return (low < value if low_open else low <= value) and (value < high if high_open else value <= high)

    return Rule(takes, accepts)


def one_of(*choices) -> Rule:
    types = {type(choice) for choice in choices}  # True is no 1 and 2.0 is no 2 here
    takes = "one of " + ", ".join(map(repr, choices))
    return Rule(takes, lambda value: type(value) in types and value in choices)


def list_of(item: Rule, items: str) -> Rule:
    def accepts(value) -> bool:
        return isinstance(value, list | tuple) and all(map(item.accepts, value)) and 0 < len(value) == len(set(value))

    return Rule(f"a list without repeats of one or more {items}", accepts, is_list=True)


def optional(rule: Rule, meaning: str) -> Rule:
    takes = f"{rule.takes}, or None for {meaning}"
    return Rule(takes, lambda value: value is None or rule.accepts(value), rule.is_list)


def parameter(default, rule: Rule):
    """A dataclass field with its default and its rule."""
    return field(default=default, metadata={"rule": rule})


def is_path(value) -> bool:
    """Whether `value` can name a file."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        return False
    return not any("\ud800" <= letter <= "\udfff" for letter in value)  # bytes that are no text


class Checked:
    """Base of the declarations: every field is checked by its rule."""

    def __post_init__(self):
        for one in fields(self):
            if "rule" in one.metadata:
                one.metadata["rule"].check(one.name, getattr(self, one.name))

    def _set(self, name: str, value) -> None:
        """Sets a field of a frozen dataclass while it is made."""
        object.__setattr__(self, name, value)


class Parameters(Checked):
    """Base of a notebook's parameters: a frozen dataclass whose fields carry their rules."""

    @classmethod
    def rules(cls) -> dict[str, Rule]:
        """The parameters by name, in the order of the notebook's cell."""
        return {one.name: one.metadata["rule"] for one in fields(cls)}

    @classmethod
    def from_dict(cls, values: Mapping) -> "Parameters":
        """From parameters by name. A list may come as text ('[0, 1]'), as papermill's -p passes it on.

        Raises ParameterError for a name that is no parameter, and for a value that its rule refuses.
        """
        rules = cls.rules()
        for name in values:
            check_name(name, list(rules))
        return cls(**{name: _parse_list(value) if rules[name].is_list else value for name, value in values.items()})

    @classmethod
    def from_notebook(cls, namespace: Mapping) -> "Parameters":
        """What the notebook's parameters cell, and papermill's injected one, ask for.

        Reads the names from the cells' source (`In`), so that a misspelt one is seen. In `globals()` it
        would be one variable among many. papermill begins its cell with the bare line "# Parameters".
        """
        names = []
        for source in namespace.get("In", []):
            if not source.startswith("# Parameters"):
                continue
            if not source.startswith("# Parameters\n"):
                names = []  # our own cell, executed again: what was asked for before is over
            with contextlib.suppress(SyntaxError):  # a mistyped cell that was executed again since
                names += _assigned_names(source)
        if not names:  # outside IPython there is no In
            names = [name for name in cls.rules() if name in namespace]
        for name in names:
            if name not in namespace:
                raise ParameterError(f"{name}: has no value; execute the parameters cell again")
        return cls.from_dict({name: namespace[name] for name in names})


def check_name(name: str, known: list[str]) -> None:
    """Raises ParameterError, naming the nearest, when `name` is none of the `known` parameters."""
    if name not in known:
        nearest = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f"did you mean {nearest[0]}? " if nearest else ""
        allowed = ", ".join(known) or "none"
        raise ParameterError(f"{_short(name)[1:-1]}: no such parameter; {hint}takes {allowed}")


def _parse_list(value):
    """A list from text such as '[0, 1]'. Anything else comes back as it is, for its rule to refuse."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return ast.literal_eval(value)
    return value


def _assigned_names(source: str) -> list[str]:
    names = []
    for node in ast.parse(source).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names
