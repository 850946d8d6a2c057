"""Options that describe themselves: help, unit, range and group of each stand in its field, once for all doors.

A dataclass of options gives every field by `option`, checks them by `check_options`, and gets their description into
its docstring by `describe_options`. Flags, pages and forms are made from the same fields. Its annotations are text,
`from __future__ import annotations`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import Field, field, fields
from typing import Any, TypeVar

import numpy as np

from .errors import OptionError

__all__ = ["check_options", "check_value", "describe_options", "expected_value", "option", "option_kind", "option_text"]

_T = TypeVar("_T")


def option(
    default: Any,
    help: str,  # noqa: A002
    *,
    group: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] = (),
) -> Any:
    """A dataclass field that says of itself what it is.

    Args:
        default: What it is when it is left out; None: no value at all.
        help: What it does, in sentences.
        group: Which options stand together.
        unit: What its number counts, such as `pixels`; for a text, how it is written.
        low: The smallest number allowed; None: any.
        high: The largest; None: any.
        choices: The only values there are.
    """
    return field(
        default=default,
        metadata={"help": help, "group": group, "unit": unit, "low": low, "high": high, "choices": choices},
    )


def option_kind(option: Field[Any]) -> str:
    """What a value is, None aside: `bool`, `int`, `float`, `str` or another annotation as it is written."""
    return str(option.type).removesuffix(" | None")


def expected_value(option: Field[Any]) -> str:
    """Which values an option takes, in words; "" where its kind says it all."""
    facts = option.metadata
    if facts["choices"]:
        return " or ".join(map(str, facts["choices"]))
    if facts["low"] is not None and facts["high"] is not None:
        return f"from {_plain(facts['low'])} to {_plain(facts['high'])}"
    if facts["low"] is not None:
        return f"{_plain(facts['low'])} or more"
    return f"a number of {facts['unit']}" if option_kind(option) in ("int", "float") else ""


def _plain(number: float) -> str:
    """A number as one would type it: all digits of a whole one."""
    return str(number) if isinstance(number, int) else f"{number:g}"


def option_text(option: Field[Any]) -> str:
    """All that is to be said of an option: its help, then its values and their unit."""
    help_, unit, choices = (option.metadata[key] for key in ("help", "unit", "choices"))
    if choices:
        return f"{help_} One of {', '.join(map(str, choices))}."
    values = expected_value(option)
    values = values if unit in values else f"{values} {unit}"
    return f"{help_} {values[0].upper()}{values[1:]}." if option_kind(option) in ("int", "float") else str(help_)


def check_options(options: Any) -> None:
    """Nothing, if every option of a kind that is known here has a value of that kind, in its range.

    Args:
        options: An instance of a dataclass whose fields were made by `option`.

    Raises:
        OptionError: A value of another kind, outside its range, or not among the choices.
    """
    for each in fields(options):
        check_value(each, getattr(options, each.name))


def check_value(option: Field[Any], value: Any) -> None:
    """Nothing, if one option may have a value.

    Raises:
        OptionError: It is of another kind, outside its range, or not among the choices.
    """
    if (value is None and str(option.type).endswith("| None")) or _fits(option, value):
        return
    expected = expected_value(option) or _KINDS[option_kind(option)][0]
    default = option.default
    hint = "leave it out" if default is None else f"{default} leaves it out" if not default else f"usual: {default}"
    raise OptionError(option.name, expected=expected, got=repr(value), hint=hint)


def _fits(option: Field[Any], value: Any) -> bool:
    facts = option.metadata
    if facts["choices"]:
        return value in facts["choices"]
    _, is_kind = _KINDS.get(option_kind(option), ("", None))
    if is_kind is None:
        return True
    low, high = facts["low"], facts["high"]
    return is_kind(value) and (low is None or value >= low) and (high is None or value <= high)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and math.isfinite(float(value))


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "bool": ("True or False", lambda value: isinstance(value, (bool, np.bool_))),
    "int": ("a whole number", lambda value: isinstance(value, (int, np.integer))),
    "float": ("a number", _is_number),
    "str": ("text", lambda value: isinstance(value, str)),
}


def describe_options(cls: type[_T]) -> type[_T]:
    """The same class, its docstring ended by an `Attributes` section made from its fields."""
    lines = [f"{each.name}: {option_text(each)}" for each in fields(cls)]  # type: ignore[arg-type]
    cls.__doc__ = "\n".join(
        [inspect.cleandoc(cls.__doc__ or ""), "", "Attributes:", *(f"    {line}" for line in lines)]
    )
    return cls
