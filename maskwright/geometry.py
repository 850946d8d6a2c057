"""Resizing and placing: picture to network input, network output back to the picture.

A `Placement` says where the picture lies in the input, so that the way back needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .errors import ShapeError
from .models.card import Fit, Kernel
from .types import AnyArray, FloatArray

__all__ = ["Placement", "fit_placement", "place", "resize", "resize_map", "unplace"]

_PILLOW = {
    "bilinear-antialias": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}
_ROWS = 256  # a block of rows that stays in the processor's cache while it is interpolated
_LONGEST = 4096  # pixels; the longer side of an input whose shorter side is fixed


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in a network's input.

    Attributes:
        image_hw: Height and width of the picture.
        input_hw: Height and width of the input.
        box_hw: Height and width of the picture inside the input.
        offset_hw: Rows above and columns left of it.
    """

    image_hw: tuple[int, int]
    input_hw: tuple[int, int]
    box_hw: tuple[int, int]
    offset_hw: tuple[int, int] = (0, 0)


def fit_placement(image_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit) -> Placement:
    """Where a picture of this size goes in an input of that size.

    >>> fit_placement((100, 200), (64, 64), "letterbox").box_hw
    (32, 64)

    Args:
        image_hw: Height and width of the picture.
        size_hw: The network's height and width; for `shorter-side` the side to aim at.
        fit: `stretch`, `letterbox` (centred) or `shorter-side` (multiples of 32).
    """
    if fit == "stretch":
        return Placement(image_hw, size_hw, size_hw)
    if fit == "shorter-side":
        side_hw = _shorter_side(image_hw, size_hw[0])
        return Placement(image_hw, side_hw, side_hw)
    factor = min(size_hw[0] / image_hw[0], size_hw[1] / image_hw[1])
    height, width = (max(1, int(side * factor + 1e-9)) for side in image_hw)
    offset = ((size_hw[0] - height) // 2, (size_hw[1] - width) // 2)
    return Placement(image_hw, size_hw, (height, width), offset)


def _shorter_side(image_hw: tuple[int, int], side: int) -> tuple[int, int]:
    """MODNet's rule: shorter side to `side` unless the picture is about that size already; multiples of 32."""
    height, width = image_hw
    if max(height, width) < side or min(height, width) > side:
        shorter = min(height, width)  # in whole numbers, so that the shorter side becomes `side` exactly
        height, width = height * side // shorter, width * side // shorter
    height, width = (max(32, min(value, _LONGEST) // 32 * 32) for value in (height, width))
    return height, width


def place(image: AnyArray, placement: Placement, kernel: Kernel) -> AnyArray:
    """The network's input before scaling: the picture resized, on black where it does not reach.

    Args:
        image: (H, W, 3) uint8.
        placement: From `fit_placement`.
        kernel: The resampling kernel; `bilinear` gives float32, the others uint8.
    """
    resized = resize(image, placement.box_hw, kernel)
    if placement.box_hw == placement.input_hw:
        return resized
    canvas = np.zeros((*placement.input_hw, 3), resized.dtype)
    top, left = placement.offset_hw
    canvas[top : top + placement.box_hw[0], left : left + placement.box_hw[1]] = resized
    return canvas


def unplace(maps: FloatArray, placement: Placement, kernel: Kernel) -> FloatArray:
    """A network's map at the size of the picture.

    Args:
        maps: (h, w) float32 over the whole input.
        placement: The one the input was made with.
        kernel: The resampling kernel.
    """
    height, width = maps.shape  # a network may answer at another size than its input's
    scale = (height / placement.input_hw[0], width / placement.input_hw[1])
    top, left = (round(offset * factor) for offset, factor in zip(placement.offset_hw, scale, strict=True))
    rows, columns = (max(1, round(side * factor)) for side, factor in zip(placement.box_hw, scale, strict=True))
    return resize_map(maps[top : top + rows, left : left + columns], placement.image_hw, kernel)


def resize(image: AnyArray, size_hw: tuple[int, int], kernel: Kernel) -> AnyArray:
    """The image at another size.

    Args:
        image: (H, W, 3) or (H, W) uint8.
        size_hw: Height and width wanted, in pixels.
        kernel: `bilinear` samples without low-pass (float32 out, half-pixel centres, as torch's `interpolate`);
            `bilinear-antialias`, `lanczos` and `area` are Pillow's (uint8 out).

    Raises:
        ShapeError: `image` is not uint8 (H, W, 3) or (H, W).
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ShapeError("image to resize", expected="uint8 (H, W, 3) or (H, W)", got=f"{image.dtype} {image.shape}")
    if kernel == "bilinear":
        return _sample_bilinear(image, size_hw)
    if image.shape[:2] == size_hw:
        return image
    enlarged = size_hw[0] > image.shape[0] or size_hw[1] > image.shape[1]
    method = _PILLOW["bilinear-antialias" if kernel == "area" and enlarged else kernel]
    return np.asarray(Image.fromarray(image).resize(size_hw[::-1], method))


def resize_map(values: FloatArray, size_hw: tuple[int, int], kernel: Kernel) -> FloatArray:
    """A float map at another size.

    Args:
        values: (h, w) float32.
        size_hw: Height and width wanted, in pixels.
        kernel: As for `resize`; enlarging with `area` or `bilinear-antialias` is bilinear.
    """
    if values.shape == size_hw:
        return np.array(values)  # a copy: the caller may keep changing its own
    enlarged = size_hw[0] >= values.shape[0] and size_hw[1] >= values.shape[1]
    if kernel == "bilinear" or (enlarged and kernel != "lanczos"):
        return _sample_bilinear(values, size_hw)
    picture = Image.fromarray(np.ascontiguousarray(values))
    return np.array(picture.resize(size_hw[::-1], _PILLOW[kernel]))


def _sample_bilinear(values: AnyArray, size_hw: tuple[int, int]) -> FloatArray:
    """Bilinear samples at half-pixel centres, clamped at the frame, in float32.

    Columns first on the source's rows, then rows block by block: when a small map becomes a large one, nearly all
    the work is one multiply and one add for each pixel.
    """
    if size_hw[0] < values.shape[0]:  # fewer rows wanted than there are: take those alone, then the columns
        rows = _blend_rows(values, size_hw[0])
        return np.swapaxes(_blend_rows(np.swapaxes(rows, 0, 1), size_hw[1]), 0, 1)
    columns = np.swapaxes(_blend_rows(np.swapaxes(values, 0, 1), size_hw[1]), 0, 1)
    return _blend_rows(np.ascontiguousarray(columns), size_hw[0])


def _blend_rows(values: AnyArray, height: int) -> FloatArray:
    """`height` rows between those of `values`, whatever the other axes are."""
    count = values.shape[0]
    positions = np.clip((np.arange(height) + 0.5) * (count / height) - 0.5, 0, count - 1)
    first = np.minimum(positions.astype(np.intp), max(count - 2, 0))
    second = np.minimum(first + 1, count - 1)
    weight = (positions - first).astype(np.float32).reshape(-1, *(1,) * (values.ndim - 1))
    blended = np.empty((height, *values.shape[1:]), np.float32)
    for start in range(0, height, _ROWS):
        rows = slice(start, start + _ROWS)
        low = values[first[rows]].astype(np.float32, copy=False)
        np.subtract(values[second[rows]], low, out=blended[rows])
        blended[rows] *= weight[rows]
        blended[rows] += low
    return blended
