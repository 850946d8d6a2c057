"""Fields that describe themselves."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pytest

from maskwright.errors import OptionError
from maskwright.options import check_options, describe_options, expected_value, option, option_kind, option_text


@describe_options
@dataclass(frozen=True)
class Settings:
    """Some settings."""

    size: int = option(3, "How large.", group="all", unit="pixels", low=1)
    share: float | None = option(None, "How much.", group="all", low=0, high=1)
    shift: float = option(0, "Where to.", group="all", unit="pixels")
    side: str = option("left", "Which side.", group="all", choices=("left", "right"))
    name: str = option("", "What it is called.", group="all")
    loud: bool = option(False, "Make noise.", group="all")
    pair: tuple[int, int] = option((0, 0), "Two of them.", group="all")


@pytest.mark.parametrize(
    ("name", "kind", "expected", "text"),
    [
        ("size", "int", "1 or more", "How large. 1 or more pixels."),
        ("share", "float", "from 0 to 1", "How much. From 0 to 1."),
        ("shift", "float", "a number of pixels", "Where to. A number of pixels."),
        ("side", "str", "left or right", "Which side. One of left, right."),
        ("name", "str", "", "What it is called."),
        ("loud", "bool", "", "Make noise."),
        ("pair", "tuple[int, int]", "", "Two of them."),
    ],
)
def test_a_field_says_what_it_is(name, kind, expected, text):
    field = next(each for each in fields(Settings) if each.name == name)
    found = (option_kind(field).replace("float | None", "float"), expected_value(field), option_text(field))
    assert found == (kind, expected, text)
    assert f"    {name}: {text}" in Settings.__doc__


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, "size must be 1 or more, got 0; usual: 3"),
        ({"size": 1.5}, "size must be 1 or more, got 1.5"),
        ({"size": None}, "size must be 1 or more, got None"),
        ({"share": 1.01}, "share must be from 0 to 1, got 1.01; leave it out"),
        ({"share": float("nan")}, "share must be from 0 to 1, got nan"),
        ({"shift": "2"}, "shift must be a number of pixels, got '2'; 0 leaves it out"),
        ({"side": "up"}, "side must be left or right, got 'up'"),
        ({"name": 5}, "name must be text, got 5"),
        ({"loud": 1}, "loud must be True or False, got 1"),
    ],
)
def test_other_values_are_refused(values, message):
    with pytest.raises(OptionError, match=message):
        check_options(Settings(**values))


def test_values_of_numpy_are_taken():
    check_options(Settings(size=np.int64(4), share=np.float32(0.5), loud=np.bool_(True), pair="not checked here"))
