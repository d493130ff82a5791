"""What a parameter is: its rule, how a value is checked, how a notebook's cell is read. Without torch, so at once."""

import ast
import contextlib
import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields


class OneLineError(Exception):
    """An error about what was asked for, not about the code: IPython prints this line instead of a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class ParameterError(OneLineError, ValueError):
    """A parameter that can't be used. Its message is one line: the name, what it got, what it takes."""


@dataclass(frozen=True)
class Rule:
    """The values that a parameter takes, in words and as a test."""

    takes: str
    accepts: Callable[[object], bool]

    def check(self, name: str, value) -> None:
        """Raises ParameterError, in one line, when the rule does not accept `value`."""
        if not self.accepts(value):
            kind = "" if value is None else f" ({type(value).__name__})"
            raise ParameterError(f"{name}: got {_short(value)}{kind}, takes {self.takes}")


def _short(value) -> str:
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an integer of thousands of digits has no text
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."


def integer(low: int, high: int = 2**31 - 1) -> Rule:
    most = "2**31 - 1" if high == 2**31 - 1 else high
    takes = f"an integer of at least {low} and at most {most}"
    return Rule(takes, lambda value: type(value) is int and low <= value <= high)


def number(words: str, fits: Callable[[float], bool]) -> Rule:
    def accepts(value) -> bool:
        if type(value) not in (int, float) or not abs(value) < 1e38:  # nan is not below
            return False
        return (value == 0 or abs(value) >= 1e-30) and fits(value)  # less is 0 in float32

    return Rule(f"a finite number {words} (1e-30 to 1e38 in size)", accepts)


def one_of(*choices) -> Rule:
    types = {type(choice) for choice in choices}  # True is no 1 and 2.0 is no 2 here
    return Rule("one of " + ", ".join(map(repr, choices)), lambda value: type(value) in types and value in choices)


def list_of(item: Rule, items: str) -> Rule:
    def accepts(value) -> bool:
        return isinstance(value, list | tuple) and all(map(item.accepts, value)) and 0 < len(value) == len(set(value))

    return Rule(f"a list without repeats of one or more {items}", accepts)


def optional(rule: Rule, meaning: str) -> Rule:
    takes = f"{rule.takes}, or None for {meaning}"
    return Rule(takes, lambda value: value is None or rule.accepts(value))


def parameter(default, rule: Rule):
    """A dataclass field with its default and its rule."""
    return field(default=default, metadata={"rule": rule})


def required(rule: Rule):
    """A dataclass field with a rule and no default."""
    return field(metadata={"rule": rule})


def is_path(value) -> bool:
    """Whether `value` can name a file."""  # \ud800 to \udfff stand for bytes that are no text
    return isinstance(value, str) and value.strip() != "" and not re.search("[\0\ud800-\udfff]", value)


class Checked:
    """Base of the declarations: every field is checked by its rule."""

    def __post_init__(self):
        for name, rule in self.own_rules().items():
            rule.check(name, getattr(self, name))

    @classmethod
    def own_rules(cls) -> dict[str, Rule]:
        """The fields that have a rule, in their order."""
        return {one.name: one.metadata["rule"] for one in fields(cls) if "rule" in one.metadata}

    def _set(self, name: str, value) -> None:
        """Sets a field of a frozen dataclass while it is made."""
        object.__setattr__(self, name, value)


class Parameters(Checked):
    """Base of a notebook's parameters: a frozen dataclass whose fields carry their rules."""

    @classmethod
    def rules(cls) -> dict[str, Rule]:
        """The parameters by name, in the order of the notebook's cell."""
        return cls.own_rules()

    @classmethod
    def from_dict(cls, values: Mapping) -> "Parameters":
        """From parameters by name."""
        return cls(**cls.parsed(values))

    @classmethod
    def parsed(cls, values: Mapping) -> dict:
        """The values of known parameters. A list or a number may come as text.

        papermill's -p passes '[0, 1]' on, its YAML '1e-5'. Raises ParameterError for an unknown name.
        """
        rules = cls.rules()
        parsed = dict(values)
        for name, value in values.items():
            check_name(name, rules)
            if isinstance(value, str) and not rules[name].accepts(value):
                with contextlib.suppress(Exception):  # a text that is nothing else is its rule's to refuse
                    parsed[name] = ast.literal_eval(value)
        return parsed

    @classmethod
    def from_notebook(cls, namespace: Mapping) -> "Parameters":
        """What the notebook's parameters cell, and papermill's injected one, ask for.

        The names come from the cells' source (`In`): a misspelt one would be one variable among many in `globals()`.
        papermill begins its cell with the bare line "# Parameters".
        """
        names = []
        for source in namespace.get("In", []):
            if source.startswith("# Parameters"):
                if not source.startswith("# Parameters\n"):
                    names = []  # our own cell, executed again: what was asked for before is over
                names += re.findall(r"^(\w+)\s*(?::[^=\n]*)?=(?!=)", source, re.MULTILINE)
        if not names:  # outside IPython there is no In
            names = [name for name in cls.rules() if name in namespace]
        for name in names:
            if name not in namespace:
                raise ParameterError(f"{name}: has no value; execute the parameters cell again")
        return cls.from_dict({name: namespace[name] for name in names})


def check_name(name: str, known: Collection[str]) -> None:
    """Raises ParameterError, naming the nearest, when `name` is none of the `known` parameters."""
    if name not in known:
        nearest = difflib.get_close_matches(str(name), known, 1, 0.5)
        hint = f"did you mean {nearest[0]}? " if nearest else ""
        allowed = ", ".join(known) or "none"
        raise ParameterError(f"{_short(str(name))[1:-1]}: no such parameter; {hint}takes {allowed}")
