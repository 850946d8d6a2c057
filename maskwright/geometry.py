"""Resizing and placing: picture to network input, network output back to the picture.

A `Placement` says where the picture lies in the input, so that the way back needs nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

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
        edge: Whether the picture's last rows and columns go on where it does not reach, instead of black.
    """

    image_hw: tuple[int, int]
    input_hw: tuple[int, int]
    box_hw: tuple[int, int]
    offset_hw: tuple[int, int] = (0, 0)
    edge: bool = False


def fit_placement(image_hw: tuple[int, int], size_hw: tuple[int, int], fit: Fit) -> Placement:
    """Where a picture of this size goes in an input of that size.

    >>> fit_placement((100, 200), (64, 64), "letterbox").box_hw
    (32, 64)

    Args:
        image_hw: Height and width of the picture.
        size_hw: The network's height and width; for `shorter-side` and `shorter-side-pad` the side to aim at.
        fit: As `models.Preprocess` describes it.
    """
    if fit == "stretch":
        return Placement(image_hw, size_hw, size_hw)
    if fit == "as-is":
        return Placement(image_hw, image_hw, image_hw)
    if fit == "shorter-side-pad":
        return _pad_below_and_right(image_hw, size_hw[0])
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


def _pad_below_and_right(image_hw: tuple[int, int], side: int) -> Placement:
    """The shorter side becomes `side`, unless the longer would pass `_LONGEST`; then to multiples of 64."""
    factor = min(side / min(image_hw), _LONGEST / max(image_hw))
    height, width = (max(1, round(value * factor)) for value in image_hw)
    return Placement(image_hw, (-height % 64 + height, -width % 64 + width), (height, width), edge=True)


def place(image: AnyArray, placement: Placement, kernel: Kernel) -> AnyArray:
    """The network's input before scaling: the picture resized; black, or its edge, where it does not reach.

    Args:
        image: (H, W, 3) uint8.
        placement: From `fit_placement`.
        kernel: The resampling kernel; `bilinear` gives float32, the others uint8.
    """
    resized = resize(image, placement.box_hw, kernel)
    if placement.box_hw == placement.input_hw:
        return resized
    if placement.edge:
        missing = [(0, whole - part) for whole, part in zip(placement.input_hw, placement.box_hw, strict=True)]
        return np.pad(resized, (*missing, (0, 0)), mode="edge")
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
            `bilinear-antialias`, `lanczos` and `area` are Pillow's (uint8 out); `area-cubic` is OpenCV's INTER_AREA
            where the picture shrinks, else its INTER_CUBIC (uint8 out, to one level).

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
    if kernel == "area-cubic":
        return _resize_as_opencv(image, size_hw, _cubic_rows if enlarged else _mean_rows)
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


def _resize_as_opencv(
    image: AnyArray, size_hw: tuple[int, int], along_rows: Callable[[AnyArray, int], AnyArray]
) -> AnyArray:
    """Rows, then columns, then one rounding to 8 bits."""
    rows = along_rows(image, size_hw[0])  # (height, W, 3)
    both = np.swapaxes(along_rows(np.swapaxes(rows, 0, 1), size_hw[1]), 0, 1)  # (height, width, 3)
    halved = image.shape[:2] == (2 * size_hw[0], 2 * size_hw[1])  # the one case in which OpenCV rounds halves up
    rounded: AnyArray = np.clip(np.floor(both + 0.5) if halved else np.rint(both), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(rounded)


def _mean_rows(values: AnyArray, height: int) -> AnyArray:
    """Each row the mean of those it covers, with the parts it covers at both ends; `height` at most their number."""
    count = values.shape[0]
    edges = np.arange(height + 1) * count
    first, part = edges // height, (edges % height / height).reshape(-1, *(1,) * (values.ndim - 1))
    # A loop, because one sum after the other is ten times as quick as `np.add.reduceat`.
    exact = np.uint32 if values.dtype == np.uint8 else np.float64
    sums = np.stack([values[start:end].sum(axis=0, dtype=exact) for start, end in pairwise(first)]).astype(np.float64)
    sums -= part[:-1] * values[first[:-1]]
    sums += part[1:] * values[np.minimum(first[1:], count - 1)]
    mean: AnyArray = sums * (height / count)
    return mean


def _cubic_rows(values: AnyArray, height: int) -> AnyArray:
    """Each row a cubic of the four nearest (Keys, a = -0.75), without low-pass; the frame's rows go on outside."""
    count, a = values.shape[0], -0.75
    positions = (np.arange(height) + 0.5) * (count / height) - 0.5
    first = np.floor(positions).astype(np.intp)
    x = positions - first
    near, far = np.stack([x, 1 - x]), np.stack([1 + x, 2 - x])  # distances of the inner and the outer two
    inner = ((a + 2) * near - (a + 3)) * near**2 + 1
    outer = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
    total = np.zeros((height, *values.shape[1:]))
    for offset, weight in zip((-1, 0, 1, 2), (outer[0], inner[0], inner[1], outer[1]), strict=True):
        total += weight.reshape(-1, *(1,) * (values.ndim - 1)) * values[np.clip(first + offset, 0, count - 1)]
    return total
