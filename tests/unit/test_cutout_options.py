"""What a cut-out's options take and refuse, and what their fields say of themselves."""

from dataclasses import fields

import numpy as np
import pytest

from maskwright.cutout_options import CutoutOptions
from maskwright.errors import OptionError
from maskwright.imageio import load_image

IMAGE = np.zeros((4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"depth": 12}, "depth must be 8 or 16, got 12"),
        ({"threshold": 1.5}, "threshold must be from 0 to 1, got 1.5"),
        ({"threshold": float("nan")}, "threshold must be from 0 to 1"),
        ({"feather": -1}, "feather must be 0 or more"),
        ({"fill_holes": -1}, "fill_holes must be 0 or more"),
        ({"min_area": -1}, "min_area must be 0 or more"),
        ({"smooth": float("nan")}, "smooth must be 0 or more"),
        ({"threshold": "0.5"}, "threshold must be from 0 to 1"),
        ({"grow": float("nan")}, "grow must be a number of pixels, got nan"),
        ({"grow": "2"}, "grow must be a number of pixels"),
        ({"feather": float("inf")}, "feather must be 0 or more, got inf"),
        ({"fill_holes": None}, "fill_holes must be 0 or more, got None"),
        ({"bgcolor": "blue"}, "bgcolor must be four numbers"),
        ({"bgcolor": 255}, "bgcolor must be four numbers"),
        ({"bgcolor": (1.5, 0, 0, 255)}, "bgcolor must be four numbers"),
        ({"alpha_matting_erode_size": 2.5}, "alpha matting numbers must be whole numbers"),
        ({"compat": True, "depth": 16}, "depth with compat must be 8, got 16"),
        ({"bgcolor": (1, 2, 3)}, "bgcolor must be four numbers"),
        ({"bgcolor": (1, 2, 3, 256)}, "bgcolor must be four numbers"),
        ({"alpha_matting_foreground_threshold": 5}, "background 10, foreground 5"),
        ({"alpha_matting_background_threshold": 0}, "0 < background"),
        ({"alpha_matting_erode_size": -1}, "alpha_matting_erode_size must be 0 or more"),
        ({"invert": "false"}, "invert must be True or False, got 'false'"),
        ({"feather_side": "left"}, "feather_side must be centered or inside or outside, got 'left'"),
        ({"part": 3}, "part must be text, got 3"),
        ({"crop": True, "crop_padding": -3}, "padding must be pixels or a percentage, got -3"),
        ({"crop": True, "crop_padding": "wide"}, "padding must be pixels or a percentage, got 'wide'"),
        ({"crop": True, "crop_aspect": "wide"}, "an aspect must be WIDTH:HEIGHT, got 'wide'"),
        ({"crop_aspect": "1:1"}, "crop_padding and crop_aspect need crop; add crop"),
        ({"crop_padding": 9}, "crop_padding and crop_aspect need crop"),
        ({"outline": -1}, "outline must be 0 or more, got -1; 0 leaves it out"),
        ({"outline_color": "whit"}, "a colour must be a name, #rrggbb or R,G,B, got 'whit'"),
        ({"shadow_opacity": 2}, "shadow_opacity must be from 0 to 1, got 2; usual: 0.5"),
        ({"shadow_offset": (1, 2, 3)}, "shadow_offset must be two whole numbers"),
        ({"shadow_offset": (0.5, 2)}, "shadow_offset must be two whole numbers"),
        ({"background": "beach.jpg"}, "a colour must be a name, #rrggbb or R,G,B, got 'beach.jpg'"),
        ({"background": "blur:wide"}, "background must be blur or blur:RADIUS, got 'blur:wide'"),
        ({"background": IMAGE}, "background must be a colour, blur or a loaded picture, got ndarray; .*load_image"),
        ({"background": "red", "bgcolor": (0, 0, 0, 255)}, "background and bgcolor must be one of the two, got both"),
        ({"compat": True, "crop": True, "outline": 3}, "compat goes without crop, outline; leave one of them out"),
        ({"compat": True, "background": "blur"}, "compat goes without background"),
        ({"compat": True, "shadow": True}, "compat goes without shadow"),
        ({"compat": True, "expand_canvas": True}, "compat goes without expand_canvas"),
        ({"only_mask": True, "shadow": True}, "only_mask goes without shadow"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(OptionError, match=message):
        CutoutOptions(**values)


def test_options_are_frozen_and_have_names():
    with pytest.raises(AttributeError):
        CutoutOptions().depth = 16
    assert "alpha_matting" in CutoutOptions.names()


def test_every_option_says_what_it_is():
    for option in fields(CutoutOptions):
        facts = option.metadata
        assert facts["help"].endswith(".")
        assert facts["group"] in {"background", "edges", "frame", "layers", "mask", "model", "output"}
        assert f"    {option.name}: {facts['help']}" in CutoutOptions.__doc__
        if option.type in ("float", "int") and not facts["choices"]:
            assert facts["low"] is not None or facts["unit"], option.name


def test_options_can_be_compared_and_be_keys():
    picture = load_image(IMAGE)
    options = {CutoutOptions(), CutoutOptions(background="red"), CutoutOptions(background=picture)}
    assert len(options) == 3
    assert CutoutOptions(background=picture) in options
    assert CutoutOptions(background=load_image(IMAGE.copy())) not in options


@pytest.mark.parametrize(
    ("values", "fills"),
    [
        ({}, False),
        ({"only_mask": True}, True),
        ({"bgcolor": (0, 0, 0, 255)}, True),
        ({"bgcolor": (0, 0, 0, 254)}, False),
        ({"background": "white"}, True),
        ({"background": "#ffffff80"}, False),
        ({"background": "blur"}, True),
        ({"background": load_image(IMAGE)}, True),
        ({"background": load_image(np.dstack([IMAGE, IMAGE[..., 0]]))}, False),
    ],
)
def test_what_fills_the_frame(values, fills):
    assert CutoutOptions(**values).fills_frame is fills
