from __future__ import annotations

from dataclasses import fields

import pytest

from maskwright.detail import DetailOptions
from maskwright.errors import OptionError


def test_the_nodes_defaults():
    options = DetailOptions()
    expected = {
        "guide_size": 512,
        "guide_size_for": "bbox",
        "max_size": 768,
        "seed": 0,
        "steps": 20,
        "cfg": 8.0,
        "sampler_name": "euler",
        "scheduler": "simple",
        "denoise": 0.5,
        "refiner_ratio": 0.2,
        "noise_mask_feather": 20,
        "compat": False,
    }
    assert {name: getattr(options, name) for name in expected} == expected


def test_every_field_is_described():
    for field in fields(DetailOptions):
        assert field.metadata["help"]
        assert f"{field.name}: " in DetailOptions.__doc__


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guide_size_for": "box"}, "guide_size_for must be bbox or crop_region, got 'box'"),
        ({"denoise": 0}, "denoise must be from 0.0001 to 1, got 0"),
        ({"steps": 0}, "steps must be from 1 to 10000, got 0"),
        ({"seed": -1}, "seed must be from 0 to"),
        ({"storage": "jpeg"}, "storage must be float32 or float16 or uint8"),
        ({"compat": 1}, "compat must be True or False"),
    ],
)
def test_values_are_checked(options, message):
    with pytest.raises(OptionError, match=message):
        DetailOptions(**options)
