"""Nodes that take pictures and masks together: exact edges, crop and paste back, a look at a cut-out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import OptionError
from ..geometry import crop, fit_crop_region, make_bbox, parse_aspect
from ..refine import estimate_alpha, estimate_foreground, make_trimap
from ..types import AnyArray, BBox, FloatArray, check_same_size
from .convert import (
    arrays_to_mask,
    as_image,
    image_to_colors,
    make_empty_image,
    make_empty_mask,
    mask_to_arrays,
    spread,
    stack_rows,
)
from .host import each, show
from .inputs import choice, socket, whole
from .mask_nodes import MaskNode

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "AlphaMatting",
    "CropToMask",
    "ForegroundColors",
    "MakeTrimap",
    "PasteCrop",
    "PreviewCutout",
    "choose_region",
]

_SQUARE = 16  # pixels, of the checkerboard
_CHECKER = (np.float32(0.8), np.float32(1.0))
_ASPECTS = ("any", "1:1", "4:5", "3:4", "2:3", "9:16", "5:4", "4:3", "3:2", "16:9")


class MakeTrimap(MaskNode):
    """A trimap from a mask."""

    CATEGORY = "Maskwright/edges"
    DESCRIPTION = "Makes a trimap: 1 where the mask is sure subject, 0 where sure background, 0.5 between."
    RETURN_NAMES = ("trimap",)
    OUTPUT_TOOLTIPS = ("The trimaps: 0 background, 0.5 unknown, 1 subject.",)
    INPUTS: ClassVar = {
        "foreground_threshold": whole(240, "0 to 255: above it the mask is sure subject.", low=1, high=255),
        "background_threshold": whole(10, "0 to 255: below it the mask is sure background.", low=1, high=255),
        "erode_size": whole(10, "Pixels by which both sure zones are eroded.", high=255),
    }
    work = staticmethod(make_trimap)


class AlphaMatting:
    """Exact opacity from colours and a trimap."""

    CATEGORY = "Maskwright/edges"
    DESCRIPTION = "Finds the exact opacity of what a trimap leaves unknown (closed-form matting), and the pure colours."
    FUNCTION = "run"
    RETURN_TYPES = ("MASK", "IMAGE")
    RETURN_NAMES = ("alpha", "foreground")
    OUTPUT_TOOLTIPS = ("The opacity, 1 = opaque.", "The subject's own colours, without the background's.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "image": socket("IMAGE", "The pictures."),
                "trimap": socket("MASK", "0 background, 1 subject, between: unknown. One for all, or each its own."),
            }
        }

    def run(self, image: Tensor, trimap: Tensor) -> tuple[Tensor, ...]:
        """The opacity and the subject's colours."""
        if not len(image):
            return make_empty_mask(image), make_empty_image(image)
        trimaps = spread(list(mask_to_arrays(trimap)), len(image), "trimap")

        def match(colors: FloatArray, one: FloatArray) -> tuple[FloatArray, FloatArray]:
            alpha = estimate_alpha(colors, one)
            return alpha, estimate_foreground(colors, alpha)

        pairs = each(zip(image_to_colors(image), trimaps, strict=True), len(image))
        return stack_rows(starmap(match, pairs), len(image))


class ForegroundColors:
    """The subject's own colours."""

    CATEGORY = "Maskwright/edges"
    DESCRIPTION = "Takes the background's colours out of soft edges, so that no fringe shows on a new background."
    FUNCTION = "run"
    RETURN_TYPES = ("IMAGE", "IMAGE")
    RETURN_NAMES = ("foreground", "cutout")
    OUTPUT_TOOLTIPS = ("The subject's own colours.", "The same with the opacity as a fourth channel, straight.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "image": socket("IMAGE", "The pictures."),
                "alpha": socket("MASK", "The opacity, 1 = opaque; one for all, or each its own."),
            }
        }

    def run(self, image: Tensor, alpha: Tensor) -> tuple[Tensor, ...]:
        """The colours, without and with the opacity."""
        if not len(image):
            return make_empty_image(image), make_empty_image(image, 4)
        alphas = spread(list(mask_to_arrays(alpha)), len(image), "alpha")

        def purify(picture: FloatArray, one: FloatArray) -> tuple[FloatArray, AnyArray]:
            colors = estimate_foreground(picture, one)
            return colors, np.dstack([np.where(one[..., None] > 0, colors, 0), one])

        pairs = each(zip(image_to_colors(image), alphas, strict=True), len(image))
        return stack_rows(starmap(purify, pairs), len(image))


class CropToMask:
    """Crop pictures to what is selected."""

    CATEGORY = "Maskwright/crop"
    DESCRIPTION = (
        "Crops pictures to their masks. All pictures of a batch are cropped to one region, which holds what any of the "
        "masks selects; `PasteCrop` puts the crop back."
    )
    FUNCTION = "run"
    RETURN_TYPES = ("IMAGE", "MASK", "MaskwrightRegion")
    RETURN_NAMES = ("image", "mask", "region")
    OUTPUT_TOOLTIPS = (
        "The cropped pictures.",
        "The cropped masks.",
        "Where the crop lies: (x1, y1, x2, y2).",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "image": socket("IMAGE", "The pictures."),
                "mask": socket("MASK", "What to crop to, 1 = selected; one for all, or each its own."),
                "padding": whole(32, "Pixels around what is selected, as far as the frame reaches."),
                "aspect": choice(_ASPECTS, "Width to height of the crop."),
                "multiple_of": whole(8, "Both sides are made a multiple of this.", low=1, high=256),
            }
        }

    def run(
        self, image: Tensor, mask: Tensor, padding: int, aspect: str, multiple_of: int
    ) -> tuple[Tensor, Tensor, BBox]:
        """The crops and where they lie."""
        image = as_image(image)
        masks = list(mask_to_arrays(mask))
        selected = np.maximum.reduce(masks) if masks else np.zeros(image.shape[1:3], np.float32)
        check_same_size(np.empty(image.shape[1:3]), selected, ("image", "mask"))
        spread(masks, len(image), "mask")
        region = choose_region(selected, padding, None if aspect == "any" else parse_aspect(aspect), multiple_of)
        x1, y1, x2, y2 = region
        cropped = image[:, y1:y2, x1:x2].clone()
        return cropped, arrays_to_mask([crop(one, region) for one in masks]) if masks else cropped[..., 0], region


def choose_region(mask: FloatArray, padding: int, aspect: float | None, multiple_of: int) -> BBox:
    """The region around what is selected, inside the frame; the whole frame where nothing is.

    Args:
        mask: (H, W) float32 in [0, 1].
        padding: Pixels on every side.
        aspect: Width divided by height, as far as the frame allows; None: as it comes.
        multiple_of: Both sides become a multiple of this, as far as the frame allows.
    """
    height, width = mask.shape
    bbox = make_bbox(mask, level=1 / 255)
    if bbox is None:
        return 0, 0, width, height
    x1, y1, x2, y2 = fit_crop_region(bbox, padding=padding, aspect=aspect)
    left, right = _fit_side(x1, x2, width, multiple_of)
    top, bottom = _fit_side(y1, y2, height, multiple_of)
    return left, top, right, bottom


def _fit_side(start: int, stop: int, frame: int, multiple_of: int) -> tuple[int, int]:
    """The stretch made a multiple, moved into the frame; where it does not fit, the largest multiple that does."""
    length = -(-(stop - start) // multiple_of) * multiple_of
    if length > frame:
        length = max(frame // multiple_of * multiple_of, min(frame, multiple_of))
    start = min(max(start - (length - (stop - start)) // 2, 0), frame - length)
    return start, start + length


class PasteCrop:
    """Put a crop back where it came from."""

    CATEGORY = "Maskwright/crop"
    DESCRIPTION = "Pastes a crop back into its pictures, through its mask where there is one."
    FUNCTION = "run"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The pictures with the crop in its place.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {
                "image": socket("IMAGE", "The whole pictures."),
                "crop": socket("IMAGE", "The crops, of any size; as many as pictures, or one for all."),
                "region": socket("MaskwrightRegion", "Where the crop lies, from `CropToMask`."),
            },
            "optional": {
                "mask": socket("MASK", "The crop's mask: where it is 0 the picture stays. Left out: all of the crop."),
            },
        }

    def run(self, image: Tensor, crop: Tensor, region: BBox, mask: Tensor | None = None) -> tuple[Tensor]:
        """The pictures with the crop in its place."""
        from torch import from_numpy

        image, patches = as_image(image), as_image(crop)
        x1, y1, x2, y2 = region
        if not (0 <= x1 < x2 <= image.shape[2] and 0 <= y1 < y2 <= image.shape[1]):
            raise OptionError(
                "region", expected=f"inside the picture, {tuple(image.shape[1:3])}", got=str(tuple(region))
            )
        channels = min(image.shape[3], patches.shape[3])  # a crop without alpha leaves the picture's
        crops = spread(list(patches[..., :channels]), len(image), "crop")
        given = [None] if mask is None else [from_numpy(one) for one in mask_to_arrays(mask)]
        weights: Sequence[Tensor | None] = spread(given, len(image), "mask")
        pasted = image.clone()
        places = pasted[:, y1:y2, x1:x2, :channels]
        for place, patch, weight in each(zip(places, crops, weights, strict=True), len(image)):
            fitted = _resized(patch, (y2 - y1, x2 - x1))
            if weight is None:
                place[:] = fitted
            else:
                place += (fitted - place) * _resized(weight[..., None], (y2 - y1, x2 - x1))
        return (pasted,)


def _resized(picture: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """(h, w, C) at another size, unless it has it."""
    if tuple(picture.shape[:2]) == size_hw:
        return picture
    from torch.nn.functional import interpolate

    resized: Tensor = interpolate(picture.movedim(2, 0)[None], size_hw, mode="bilinear", antialias=True)
    return resized[0].movedim(0, 2)


class PreviewCutout:
    """A cut-out on a checkerboard."""

    CATEGORY = "Maskwright/edges"
    DESCRIPTION = "Shows pictures on a checkerboard where their mask, or their own alpha, is transparent."
    FUNCTION = "run"
    OUTPUT_NODE = True
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The pictures on the checkerboard.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """ComfyUI's description of the inputs."""
        return {
            "required": {"image": socket("IMAGE", "The pictures, RGB or RGBA.")},
            "optional": {"mask": socket("MASK", "The opacity, 1 = opaque. Left out: the pictures' own alpha.")},
        }

    def run(self, image: Tensor, mask: Tensor | None = None) -> dict[str, Any]:
        """The pictures on the checkerboard, also shown at the node."""
        image = as_image(image)
        if not len(image):
            return {"ui": {}, "result": (make_empty_image(image),)}
        alphas = spread(list(mask_to_arrays(_opacity(image) if mask is None else mask)), len(image), "mask")
        pairs = each(zip(image_to_colors(image), alphas, strict=True), len(image))
        (result,) = stack_rows(([_on_checkerboard(colors, alpha)] for colors, alpha in pairs), len(image))
        return {"ui": show(result), "result": (result,)}


def _opacity(image: Tensor) -> Tensor:
    """(1 or B, H, W): the pictures' own alpha; one that is opaque where they have none."""
    return image[..., 3] if image.shape[3] == 4 else image.new_ones((1, *image.shape[1:3]))


def _on_checkerboard(colors: FloatArray, alpha: FloatArray) -> AnyArray:
    check_same_size(colors, alpha, ("image", "mask"))
    rows, columns = (np.arange(side) // _SQUARE for side in alpha.shape)
    board = np.where((rows[:, None] + columns) % 2, *_CHECKER)[..., None]  # (H, W, 1)
    opacity = alpha[..., None]  # (H, W, 1)
    blended: AnyArray = colors * opacity + board * (1 - opacity)
    return blended
