"""Resizing, placing and cropping: picture to network input, network output back to the picture, frame to subject.

A `Placement` says where the picture lies in the input, so that the way back needs nothing else. A crop region is
(x1, y1, x2, y2) in pixels of the picture, half-open, and may reach beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from PIL import Image

from .errors import OptionError, RangeError, ShapeError
from .models.card import Fit, Kernel
from .types import AnyArray, BBox, FloatArray, check_mask

__all__ = [
    "Placement",
    "cover",
    "crop",
    "crop_to_box",
    "enlarge_rows",
    "find_neighbors",
    "fit_crop_region",
    "fit_placement",
    "make_bbox",
    "parse_aspect",
    "parse_padding",
    "place",
    "resize",
    "resize_map",
    "touched_sides",
    "unplace",
]

_PILLOW = {
    "bilinear-antialias": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}
_ROWS = 256  # a block of rows that stays in the processor's cache while it is interpolated
_BLOCK = 64  # rows of the picture's width that do
_SURE = 10 / 255  # below this a mask is taken for background, as in a trimap
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
    return resize_map(crop_to_box(maps, placement), placement.image_hw, kernel)


def crop_to_box(maps: AnyArray, placement: Placement) -> AnyArray:
    """The part of a network's maps in which the picture lies; no copy.

    Args:
        maps: (…, h, w) over the whole input.
        placement: The one the input was made with.
    """
    height, width = maps.shape[-2:]  # a network may answer at another size than its input's
    scale = (height / placement.input_hw[0], width / placement.input_hw[1])
    top, left = (round(offset * factor) for offset, factor in zip(placement.offset_hw, scale, strict=True))
    rows, columns = (max(1, round(side * factor)) for side, factor in zip(placement.box_hw, scale, strict=True))
    return maps[..., top : top + rows, left : left + columns]


def resize(image: AnyArray, size_hw: tuple[int, int], kernel: Kernel) -> AnyArray:
    """The image at another size.

    Args:
        image: (H, W, 3) or (H, W) uint8.
        size_hw: Height and width wanted, in pixels.
        kernel: `bilinear` samples without low-pass (float32 out, half-pixel centres, as torch's `interpolate`);
            `bilinear-antialias`, `lanczos` and `area` are Pillow's (uint8 out); `area-cubic` is OpenCV's INTER_AREA
            where the picture shrinks, else its INTER_CUBIC (uint8 out, to one level); `bilinear-corners` samples
            from corner to corner without low-pass, as MediaPipe does (uint8 out).

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
    if kernel == "bilinear-corners":
        return _sample_corners(image, size_hw)
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
    if enlarged and kernel != "lanczos":
        large = np.empty(size_hw, np.float32)
        for rows, block in enlarge_rows(values, size_hw):
            large[rows] = block
        return large
    if kernel == "bilinear":
        return _sample_bilinear(values, size_hw)
    picture = Image.fromarray(np.ascontiguousarray(values))
    return np.array(picture.resize(size_hw[::-1], _PILLOW[kernel]))


def enlarge_rows(values: FloatArray, size_hw: tuple[int, int]) -> Iterator[tuple[slice, FloatArray]]:
    """A map made larger by `bilinear`, some rows at a time: which rows, and (n, W) float32 that the next overwrite.

    Columns are blended first, on the map's own rows. What is left for each pixel is one multiply and one add, in
    buffers that stay in the processor's cache.

    Args:
        values: (h, w) float32.
        size_hw: Height and width wanted, in pixels; neither smaller than the map's.
    """
    first, second, across = find_neighbors(values.shape[1], size_hw[1])
    columns = values.take(first, axis=1).astype(np.float32, copy=False)  # (h, W)
    columns += (values.take(second, axis=1) - columns) * across
    first, second, down = find_neighbors(len(values), size_hw[0])
    steps = np.diff(columns, axis=0, append=columns[-1:])  # from each row to the next
    low, block = (np.empty((_BLOCK, size_hw[1]), np.float32) for _ in range(2))
    for start in range(0, size_hw[0], _BLOCK):
        rows = slice(start, min(start + _BLOCK, size_hw[0]))
        count = rows.stop - start
        steps.take(first[rows], axis=0, out=block[:count], mode="clip")  # clip: without a second copy
        block[:count] *= down[rows, np.newaxis]
        block[:count] += columns.take(first[rows], axis=0, out=low[:count], mode="clip")
        yield rows, block[:count]


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


def _sample_corners(image: AnyArray, size_hw: tuple[int, int]) -> AnyArray:
    """MediaPipe's way: pixel u of the result lies at u * W / w of the picture, in steps of 1/32, the edge going on.

    Reference: OpenCV's warpPerspective in 8 bits, by which MediaPipe's ImageToTensorCalculator fills the input.
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    left, right, nearness = _corner_neighbors(image.shape[1], size_hw[1])
    left, right = ((at[:, np.newaxis] * channels + np.arange(channels)).ravel() for at in (left, right))
    nearness = np.repeat(nearness, channels)
    flat = image.reshape(image.shape[0], -1)

    def take_row(at: AnyArray) -> AnyArray:
        """(h, w * channels) int16, in units of 1/32 of a level."""
        rows = flat.take(at, axis=0)  # only the rows that are needed
        low = rows.take(left, axis=1).astype(np.int16)
        sampled: AnyArray = (rows.take(right, axis=1) - low) * nearness.astype(np.int16) + low * np.int16(32)
        return sampled

    upper, lower, nearness_down = _corner_neighbors(image.shape[0], size_hw[0])
    top = take_row(upper).astype(np.int32)
    blended = (take_row(lower) - top) * nearness_down[:, np.newaxis].astype(np.int32) + top * 32
    levels: AnyArray = ((blended + 512) >> 10).astype(np.uint8).reshape(*size_hw, *image.shape[2:])
    return levels


def _corner_neighbors(count: int, length: int) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Between which two pixels each sample lies, and how near it is to the second, 0 to 31."""
    steps = np.floor(np.arange(length) * (32 * count / length) + 0.5).astype(np.intp)
    first = np.minimum(steps >> 5, count - 1)
    return first, np.minimum(first + 1, count - 1), steps & 31


def find_neighbors(count: int, length: int) -> tuple[AnyArray, AnyArray, FloatArray]:
    """Between which two samples each of `length` half-pixel centres lies, and how near it is to the second.

    >>> first, second, weight = find_neighbors(2, 4)
    >>> first.tolist(), second.tolist(), weight.tolist()
    ([0, 0, 0, 0], [1, 1, 1, 1], [0.0, 0.25, 0.75, 1.0])

    Args:
        count: How many samples there are.
        length: How many are wanted.
    """
    positions = np.clip((np.arange(length) + 0.5) * (count / length) - 0.5, 0, count - 1)
    first = np.minimum(positions.astype(np.intp), max(count - 2, 0))
    second = np.minimum(first + 1, count - 1)
    return first, second, (positions - first).astype(np.float32)


def _blend_rows(values: AnyArray, height: int) -> FloatArray:
    """`height` rows between those of `values`, whatever the other axes are."""
    first, second, weight = find_neighbors(values.shape[0], height)
    weight = weight.reshape(-1, *(1,) * (values.ndim - 1))
    blended = np.empty((height, *values.shape[1:]), np.float32)
    for start in range(0, height, _ROWS):
        rows = slice(start, start + _ROWS)
        low = values[first[rows]].astype(np.float32, copy=False)
        np.subtract(values[second[rows]], low, out=blended[rows])
        blended[rows] *= weight[rows]
        blended[rows] += low
    return blended


def make_bbox(mask: AnyArray, level: float = _SURE) -> BBox | None:
    """The smallest box around all that is selected; None where nothing is.

    >>> make_bbox(np.array([[0.0, 0.0, 0.0], [0.0, 0.5, 1.0]]))
    (1, 1, 3, 2)

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        level: From this value on a pixel counts as selected.

    Raises:
        ShapeError, RangeError: Not a mask.
    """
    selected = check_mask(mask) >= level
    columns, rows = (np.flatnonzero(selected.any(axis=axis)) for axis in (0, 1))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def touched_sides(bbox: BBox, size_hw: tuple[int, int]) -> tuple[bool, bool, bool, bool]:
    """Whether the box touches the frame's left, upper, right and lower side: there the frame may cut a subject off.

    Args:
        bbox: (x1, y1, x2, y2) in pixels, half-open.
        size_hw: Height and width of the frame.
    """
    x1, y1, x2, y2 = bbox
    return x1 <= 0, y1 <= 0, x2 >= size_hw[1], y2 >= size_hw[0]


def fit_crop_region(
    bbox: BBox,
    *,
    padding: int = 0,
    aspect: float | None = None,
    pinned: tuple[bool, bool, bool, bool] = (False, False, False, False),
) -> BBox:
    """The region to crop to: the box, the padding around it, and what the aspect asks for on top.

    The box stays in the middle, but for pinned sides: they stay where they are, and the other side gives way. The
    region may reach beyond the picture.

    >>> fit_crop_region((10, 10, 30, 50), padding=5, aspect=1.0)
    (-5, 5, 45, 55)
    >>> fit_crop_region((10, 10, 30, 50), padding=5, aspect=1.0, pinned=(False, False, False, True))
    (-2, 5, 43, 50)

    Args:
        bbox: (x1, y1, x2, y2) in pixels, half-open.
        padding: Pixels on every side that is not pinned.
        aspect: Width divided by height, met to the nearest pixel; None: as it comes.
        pinned: Left, upper, right, lower side: does not move.
    """
    left, top, right, bottom = (0 if side else padding for side in pinned)
    x1, y1, x2, y2 = bbox[0] - left, bbox[1] - top, bbox[2] + right, bbox[3] + bottom
    if aspect is not None:
        width, height = x2 - x1, y2 - y1
        x1, x2 = _lengthened(x1, x2, max(width, round(height * aspect)), pinned[0], pinned[2])
        y1, y2 = _lengthened(y1, y2, max(height, round(width / aspect)), pinned[1], pinned[3])
    return x1, y1, x2, y2


def _lengthened(start: int, stop: int, length: int, start_pinned: bool, stop_pinned: bool) -> tuple[int, int]:
    extra = length - (stop - start)
    before = extra // 2 if start_pinned == stop_pinned else 0 if start_pinned else extra
    return start - before, stop + extra - before


def crop(pixels: AnyArray, region: BBox, beyond: Literal["zero", "mirror"] = "zero") -> AnyArray:
    """A copy of what lies in a region.

    Args:
        pixels: (H, W) or (H, W, C) of any dtype.
        region: (x1, y1, x2, y2) in pixels, half-open; may reach beyond the array.
        beyond: What stands there: zeros, or the array once more, mirrored at its border.

    Raises:
        RangeError: The region is empty.
    """
    x1, y1, x2, y2 = region
    if x1 >= x2 or y1 >= y2:
        raise RangeError("region", expected="x1 < x2 and y1 < y2", got=str(region), hint="give (x1, y1, x2, y2)")
    height, width = pixels.shape[:2]
    if beyond == "mirror":
        rows, columns = (_mirrored(*span) for span in ((y1, y2, height), (x1, x2, width)))
        spread: AnyArray = pixels[np.ix_(rows, columns)]
        return spread
    cropped = np.zeros((y2 - y1, x2 - x1, *pixels.shape[2:]), pixels.dtype)
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    if left < right and top < bottom:
        cropped[top - y1 : bottom - y1, left - x1 : right - x1] = pixels[top:bottom, left:right]
    return cropped


def _mirrored(start: int, stop: int, length: int) -> AnyArray:
    """Indices from start to stop, those outside 0 to length folded back in."""
    folded = np.arange(start, stop) % (2 * length)
    return np.minimum(folded, 2 * length - 1 - folded)


def cover(image: AnyArray, size_hw: tuple[int, int]) -> AnyArray:
    """The middle of an image, resized so that it fills a frame: what the frame's aspect does not need is cut off.

    Args:
        image: (H, W, 3) uint8 or uint16.
        size_hw: Height and width of the frame in pixels.
    """
    height, width = image.shape[:2]
    scale = max(size_hw[0] / height, size_hw[1] / width)
    rows, columns = (
        max(1, min(side, round(goal / scale))) for side, goal in zip((height, width), size_hw, strict=True)
    )
    top, left = (height - rows) // 2, (width - columns) // 2
    middle = np.ascontiguousarray(image[top : top + rows, left : left + columns])
    if image.dtype == np.uint8:
        return resize(middle, size_hw, "lanczos")
    planes = [resize_map(middle[..., channel].astype(np.float32), size_hw, "lanczos") for channel in range(3)]
    covered: AnyArray = np.rint(np.dstack(planes)).clip(0, np.iinfo(image.dtype).max).astype(image.dtype)
    return covered


def parse_aspect(text: str) -> float:
    """Width divided by height, from text such as `4:5`.

    Raises:
        OptionError: It is not two positive numbers with a colon between.
    """
    width, colon, height = text.partition(":")
    try:
        aspect = float(width) / float(height)
    except (ValueError, ZeroDivisionError):
        aspect = 0.0
    if not (colon and 0.001 <= aspect <= 1000 and float(height) > 0):
        raise OptionError("an aspect", expected="WIDTH:HEIGHT", got=repr(text), hint="such as 1:1 or 4:5")
    return aspect


def parse_padding(padding: float | str, longer_side: int = 0) -> int:
    """Pixels of padding, rounded.

    >>> parse_padding("10%", 250)
    25

    Args:
        padding: A number of pixels, or text such as `20` or `10%`.
        longer_side: Pixels that 100 % are.

    Raises:
        OptionError: It is neither, or below 0.
    """
    text = str(padding).strip()
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1e6:
        raise OptionError("padding", expected="pixels or a percentage", got=repr(padding), hint="such as 20 or 10%")
    return round(value * longer_side / 100 if text.endswith("%") else value)


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
