"""How a cut-out is made: the one definition of its options, for the library, the command line and every other door."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import get_args

import numpy as np

from .errors import OptionError
from .geometry import parse_aspect, parse_padding
from .imageio import LoadedImage
from .options import check_options, describe_options, option
from .refine import layers
from .refine.budget import parse_budget
from .refine.masks import FeatherSide

__all__ = ["CutoutOptions"]

_FINISH = ("crop", "outline", "shadow", "expand_canvas", "background")
_THRESHOLD = {"foreground": 240, "background": 10, "erode": 10}  # rembg's command line


@describe_options
@dataclass(frozen=True)
class CutoutOptions:
    """How a cut-out is made. The names are the command line's long flags, with hyphens.

    Lengths are pixels of the picture, areas square pixels. A colour is text: a name of the web, `#rrggbb`, or `R,G,B`.

    Raises:
        OptionError: A value outside its range, or two options that contradict each other.
    """

    alpha_matting: bool = option(
        False, "Find the exact opacity of edges, and the subject's own colours there.", group="edges"
    )
    alpha_matting_foreground_threshold: int | None = option(
        None,
        "Above it the mask is sure foreground. None: automatic; 240 with another number or compat.",
        group="edges",
        low=1,
        high=255,
    )
    alpha_matting_background_threshold: int | None = option(
        None,
        "Below it the mask is sure background. None: automatic; 10 with another number or compat.",
        group="edges",
        low=1,
        high=255,
    )
    alpha_matting_erode_size: int | None = option(
        None,
        "How far both sure zones are eroded. None: automatic; 10 with another number or compat.",
        group="edges",
        unit="pixels",
        low=0,
    )
    budget: float | str | None = option(
        None,
        "What finding the opacity may cost: seconds, such as 2s, or millions of pixels solved for, such as 0.1mp. Over "
        "it the opacity is found at a smaller size, and a note says so. None: no limit.",
        group="edges",
        unit="SECONDS|MEGAPIXELSmp",
    )
    decontaminate: bool = option(
        False, "Give edges the subject's own colours without changing their opacity.", group="edges"
    )
    post_process_mask: bool = option(
        False, "Clean the mask as rembg does: opening, blur, and a hard edge.", group="mask"
    )
    only_mask: bool = option(False, "Save the mask as a gray picture instead of the cut-out.", group="output")
    threshold: float | None = option(
        None,
        "Make the mask hard: 1 at this value and above, 0 below. None: it stays soft.",
        group="mask",
        low=0,
        high=1,
    )
    bgcolor: tuple[int, int, int, int] | None = option(
        None,
        "R G B A, 0 to 255 each, put under the cut-out. None: it stays transparent.",
        group="background",
        unit="R G B A",
    )
    depth: int = option(8, "Bits per channel of the result; 16 is saved as PNG.", group="output", choices=(8, 16))
    keep_hidden: bool = option(
        False,
        "Keep the picture's colours where alpha is 0; without it, nothing of the background is saved.",
        group="output",
    )
    keep_gps: bool = option(
        False, "Keep the place a photo was taken at in its EXIF data; a TIFF cannot hold it.", group="output"
    )
    compat: bool = option(False, "Give the original program's numbers instead of the correct ones.", group="model")
    grow: float = option(0, "Move the mask's edge outwards; negative: inwards.", group="mask", unit="pixels")
    feather: float = option(0, "Soften the mask's edge over this far.", group="mask", unit="pixels", low=0)
    fill_holes: float = option(0, "Fill holes of the mask up to this area.", group="mask", unit="square pixels", low=0)
    min_area: float = option(
        0, "Remove islands of the mask smaller than this.", group="mask", unit="square pixels", low=0
    )
    keep_largest: bool = option(False, "Keep only the largest island of the mask.", group="mask")
    invert: bool = option(False, "Select the background instead.", group="mask")
    smooth: float = option(
        0, "Flatten bumps of the mask's outline smaller than this.", group="mask", unit="pixels", low=0
    )
    feather_side: str = option(
        "centered",
        "Where feather softens: on both sides of the edge, only what was selected, or only what was not.",
        group="mask",
        choices=get_args(FeatherSide),
    )
    part: str | None = option(
        None,
        "Cut out one part of a model that knows several, such as upper; all: their union. None: the union, with "
        "compat one cut-out for each.",
        group="model",
        unit="NAME",
    )
    crop: bool = option(
        False,
        "Crop to the subject and its outline. Where the frame cuts the subject off, the crop ends at the frame; on "
        "the other sides it may reach beyond it, which is transparent.",
        group="frame",
    )
    crop_padding: float | str = option(
        0,
        "With crop: room around the subject, in pixels, or as a percentage of its longer side, such as 10%.",
        group="frame",
        unit="PIXELS|PERCENT%",
    )
    crop_aspect: str | None = option(
        None, "With crop: width to height, such as 4:5; the subject stays in the middle.", group="frame", unit="W:H"
    )
    outline: float = option(
        0, "Draw an outline of this width around the subject, as on a sticker.", group="layers", unit="pixels", low=0
    )
    outline_color: str = option("white", "The outline's colour.", group="layers", unit="COLOUR")
    shadow: bool = option(False, "Put a soft shadow behind the subject.", group="layers")
    shadow_offset: tuple[int, int] = option(
        (10, 10), "Pixels by which the shadow lies to the right and down.", group="layers", unit="X Y"
    )
    shadow_blur: float = option(20, "How far the shadow's edge is softened.", group="layers", unit="pixels", low=0)
    shadow_opacity: float = option(0.5, "How dark the shadow is.", group="layers", low=0, high=1)
    shadow_color: str = option("black", "The shadow's colour.", group="layers", unit="COLOUR")
    expand_canvas: bool = option(
        False, "Let the canvas grow so that it holds all of the outline and the shadow.", group="frame"
    )
    background: str | LoadedImage | None = option(  # noqa: RUF009 - it makes a field, as `dataclasses.field` does
        None,
        "What is put under the cut-out: a colour; a picture, which fills the frame; or blur or blur:RADIUS, the "
        "picture itself out of focus (without a radius: 1/50 of its longer side). None: it stays transparent.",
        group="background",
        unit="COLOUR|PICTURE|blur[:RADIUS]",
    )

    def __post_init__(self) -> None:
        self._check_matting()
        check_options(self)
        if self.compat and self.depth != 8:
            raise OptionError("depth with compat", expected="8", got=repr(self.depth), hint="leave one of them out")
        parse_budget(self.budget)
        self._check_bgcolor()
        self._check_frame()
        self._check_layers()

    def _check_frame(self) -> None:
        parse_padding(self.crop_padding)
        if self.crop_aspect is not None:
            parse_aspect(self.crop_aspect)
        if not self.crop and (self.crop_aspect is not None or self.crop_padding not in (0, "0")):
            raise OptionError("crop_padding and crop_aspect need crop", hint="add crop, or leave them out")

    def _check_layers(self) -> None:
        for color in (self.outline_color, self.shadow_color):
            layers.parse_color(color)
        offset = self.shadow_offset
        if not (isinstance(offset, (tuple, list)) and len(offset) == 2 and all(map(_is_whole, offset))):
            raise OptionError("shadow_offset", expected="two whole numbers", got=repr(offset), hint="such as 10 10")
        self._check_background()
        wanted = [name for name in _FINISH if getattr(self, name)]
        for other in ("compat", "only_mask"):
            clash = [name for name in wanted if name != "crop" or other == "compat"]
            if getattr(self, other) and clash:
                raise OptionError(f"{other} goes without {', '.join(clash)}", hint="leave one of them out")

    def _check_background(self) -> None:
        if isinstance(self.background, str):
            layers.parse_background(self.background)
        elif not isinstance(self.background, (LoadedImage, type(None))):
            raise OptionError(
                "background",
                expected="a colour, blur or a loaded picture",
                got=type(self.background).__name__,
                hint="give a picture as imageio.load_image(path)",
            )
        if self.background is not None and self.bgcolor is not None:
            raise OptionError("background and bgcolor", expected="one of the two", got="both", hint="leave one out")

    def _check_bgcolor(self) -> None:
        color = self.bgcolor
        if color is None:
            return
        whole = isinstance(color, (tuple, list)) and all(map(_is_whole, color))
        if not whole or len(color) != 4 or not all(0 <= value <= 255 for value in color):
            raise OptionError(
                "bgcolor", expected="four numbers from 0 to 255", got=repr(color), hint="white is 255 255 255 255"
            )

    def _check_matting(self) -> None:
        foreground, background, size = numbers = self._usual_numbers()
        if not all(isinstance(value, (int, np.integer)) for value in numbers):
            raise OptionError("alpha matting numbers", expected="whole numbers", got=repr(numbers), hint="240, 10, 10")
        if not (0 < background < foreground <= 255):
            raise OptionError(
                "alpha matting thresholds",
                expected="0 < background < foreground <= 255",
                got=f"background {background}, foreground {foreground}",
                hint="the usual ones are 10 and 240",
            )
        if size < 0:
            raise OptionError("alpha_matting_erode_size", expected="0 or more", got=str(size), hint="usual is 10")

    @property
    def trimap_numbers(self) -> tuple[int, int, int] | None:
        """Foreground threshold, background threshold (8-bit units) and erosion (pixels); None: automatic."""
        automatic = not self.compat and all(number is None for number in self._given_numbers())
        return None if automatic else self._usual_numbers()

    def _given_numbers(self) -> tuple[int | None, int | None, int | None]:
        return (
            self.alpha_matting_foreground_threshold,
            self.alpha_matting_background_threshold,
            self.alpha_matting_erode_size,
        )

    def _usual_numbers(self) -> tuple[int, int, int]:
        """The numbers given, rembg's for those left out."""
        foreground, background, size = (
            usual if given is None else given
            for given, usual in zip(self._given_numbers(), _THRESHOLD.values(), strict=True)
        )
        return foreground, background, size

    @property
    def fills_frame(self) -> bool:
        """Whether what is saved has no transparency, whatever the subject."""
        if isinstance(self.background, str):
            wanted = layers.parse_background(self.background)
            return isinstance(wanted, float) or wanted[3] == 255
        if self.background is not None:
            return self.background.alpha is None
        return self.only_mask or (self.bgcolor is not None and self.bgcolor[3] == 255)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all options."""
        return tuple(field.name for field in fields(cls))


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer))
