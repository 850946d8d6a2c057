import pickle
import re

import pytest

from maskwright import errors


def test_a_message_has_thing_expected_got_and_cure():
    error = errors.RangeError("mask", expected="in [0, 1]", got="[0, 2]", hint="scale it")
    assert str(error) == "mask must be in [0, 1], got [0, 2]; scale it"


def test_a_message_may_be_a_plain_sentence():
    assert str(errors.MediaError("photo.jpg is empty")) == "photo.jpg is empty"


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_drawn_in_the_tree_and_survives_pickling(name):
    kind = getattr(errors, name)
    assert issubclass(kind, errors.Error)
    assert re.search(rf"\b{name}\b", errors.__doc__ or "")
    error = pickle.loads(pickle.dumps(kind("thing", expected="a", got="b", hint="c")))
    assert type(error) is kind
    assert str(error) == "thing must be a, got b; c"


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.InputError, ValueError),
        (errors.ShapeError, ValueError),
        (errors.UnknownModel, LookupError),
        (errors.EngineUnavailable, ImportError),
    ],
)
def test_errors_are_also_the_builtin_that_callers_catch(kind, builtin):
    assert issubclass(kind, builtin)
