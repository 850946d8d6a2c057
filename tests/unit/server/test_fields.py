"""A request's fields are the options' own."""

from dataclasses import fields

import pytest

from maskwright.cutout_options import CutoutOptions
from maskwright.errors import OptionError
from maskwright.person import PersonOptions
from maskwright.server.fields import SHORT, form_fields, parse_extras, parse_fields
from maskwright.server.tasks import TASKS


@pytest.mark.parametrize(("options", "task"), [(CutoutOptions, "remove"), (PersonOptions, "person")])
def test_every_option_is_a_field_and_its_default_comes_back(options, task):
    known = TASKS[task].fields
    assert {each.name for each in fields(options)} <= set(known)
    for each in form_fields(fields(options)):
        default = each.schema.get("default")
        if default is not None:
            parsed = each.parse(str(default))
            assert str(parsed) == str(getattr(options(), each.name)) or parsed == getattr(options(), each.name)
            options(**{each.name: parsed})


def test_rembgs_names_are_long_names_too():
    known = TASKS["remove"].fields
    texts = {"a": "on", "af": "230", "ab": "5", "ae": "0", "om": "False", "ppm": "YES", "dc": "0", "bgc": "1, 2,3 ,255"}
    values = parse_fields(texts.items(), known)
    assert set(values) == set(SHORT.values())
    assert values["bgcolor"] == (1, 2, 3, 255)
    assert (values["alpha_matting"], values["only_mask"], values["post_process_mask"]) == (True, False, True)
    CutoutOptions(**values)


def test_what_is_left_empty_is_left_out():
    assert parse_fields([("grow", ""), ("grow", "2"), ("model", "")], TASKS["remove"].fields) == {"grow": 2.0}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("grwo", "1", "did you mean grow"),
        ("alpha_matting_erode_size", "1.5", "0 or more"),
        ("grow", "x", "a number of pixels"),
        ("invert", "perhaps", "true or false"),
        ("shadow_offset", "1,b", "numbers with commas between"),
    ],
)
def test_what_is_wrong(name, text, said):
    with pytest.raises(OptionError, match=said):
        parse_fields([(name, text)], TASKS["remove"].fields)


def test_extras():
    assert parse_extras('{"cc": "attire"}') == "all"
    assert parse_extras("{}") is None
    for text, said in (
        ("[", "JSON object"),
        ("[1]", "no object"),
        ('{"cc": "x", "model_path": "/x"}', "model_path"),
        ("[" * 9999, "JSON"),
    ):
        with pytest.raises(OptionError, match=said):
            parse_extras(text)
