"""Work on masks: each function takes a mask and returns a new one of the same size.

Growing, shrinking and smoothing act on every level of a soft mask alike, so that a soft edge keeps its
profile and a mask of zeros and ones stays one. Beyond the frame a mask is taken to go on as it is at the
border.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError, RangeError
from ..types import AnyArray, FloatArray, check_mask, check_same_size

__all__ = [
    "Combination",
    "FeatherSide",
    "checked_pixels",
    "combine",
    "feather",
    "fill_holes",
    "grow",
    "invert",
    "keep_largest",
    "mask_to_bytes",
    "post_process",
    "remove_islands",
    "shrink",
    "smooth",
    "threshold",
]

Combination = Literal["union", "intersect", "subtract", "xor"]
FeatherSide = Literal["centered", "inside", "outside"]

_COMBINED: dict[str, Callable[[FloatArray, FloatArray], Any]] = {
    "union": np.maximum,
    "intersect": np.minimum,
    "subtract": lambda a, b: np.maximum(a - b, 0),
    "xor": lambda a, b: np.abs(a - b),
}

_Bits = NDArray[np.bool_]

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)
_EIGHT = np.ones((3, 3), dtype=bool)
_LEVEL = 0.5  # from here on a pixel counts as selected
_STEPS = (1 << 16) - 1  # between 0 and 1, to which values are rounded to be ranked
_MEDIAN_TILE = 320  # pixels; the side of what is compared at a time


def threshold(mask: AnyArray, level: float = 0.5, *, strict: bool = False) -> FloatArray:
    """A mask of zeros and ones.

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        level: In [0, 1]; from this value on a pixel becomes 1. So 0 selects everything, and 1 what is fully selected.
        strict: Select only what lies above the level, as some nodes do. So 0 selects all but zeros, and 1 nothing.

    Raises:
        ShapeError: Not a mask.
        RangeError: Values or level outside [0, 1].

    Example:
        >>> threshold(np.array([[0.2, 0.5, 0.7]]))
        array([[0., 1., 1.]], dtype=float32)
    """
    mask = check_mask(mask)
    if not 0 <= level <= 1:
        raise RangeError("level", expected="in [0, 1]", got=f"{level:g}", hint="divide by 255 first")
    return (mask > level if strict else mask >= level).astype(np.float32)


def invert(mask: AnyArray) -> FloatArray:
    """What is not selected: 1 - mask.

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.

    Raises:
        ShapeError: Not a mask.
        RangeError: Values outside [0, 1].

    Example:
        >>> invert(np.array([[0.25, 1.0]]))
        array([[0.75, 0.  ]], dtype=float32)
    """
    return 1 - check_mask(mask)


def combine(a: AnyArray, b: AnyArray, how: Combination) -> FloatArray:
    """What two masks make together, softness included.

    `union` is the larger value, `intersect` the smaller, `subtract` a - b but not below 0, `xor` |a - b|. A soft edge
    that both masks share leaves no rim behind when one is taken from the other.

    Args:
        a: (H, W) float in [0, 1] or bool; 1 = selected.
        b: The same, of the same size.
        how: What to make of them.

    Raises:
        ShapeError: Not masks, or of different sizes.
        RangeError: Values outside [0, 1].
        OptionError: No such combination.

    Example:
        >>> combine(np.array([[0.0, 0.5, 1.0]]), np.array([[1.0, 0.5, 0.25]]), "subtract")
        array([[0.  , 0.  , 0.75]], dtype=float32)
    """
    a, b = check_mask(a), check_mask(b)
    check_same_size(a, b, ("the first mask", "the second mask"))
    if how not in _COMBINED:
        raise OptionError("how", expected=" or ".join(_COMBINED), got=repr(how), hint="use union")
    combined: FloatArray = _COMBINED[how](a, b)
    return combined


def grow(mask: AnyArray, pixels: float) -> FloatArray:
    """The mask with its edge moved outwards: each pixel takes the largest value within a Euclidean distance.

    A soft edge moves without changing its profile; of zeros and ones it makes all within `pixels` of a one.

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        pixels: Distance in pixels, 0 or more.

    Raises:
        ShapeError: Not a mask.
        RangeError: Values outside [0, 1], or a negative distance.

    Example:
        >>> grow(np.array([[0.0, 0.0, 0.0, 0.5, 1.0]]), 2)
        array([[0. , 0.5, 1. , 1. , 1. ]], dtype=float32)
    """
    return _disc_extreme(check_mask(mask), checked_pixels(pixels), np.maximum)


def shrink(mask: AnyArray, pixels: float) -> FloatArray:
    """The mask with its edge moved inwards: each pixel takes the smallest value within a Euclidean distance.

    A subject that the frame cuts off is not eaten away from the frame.

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        pixels: Distance in pixels, 0 or more.

    Raises:
        ShapeError: Not a mask.
        RangeError: Values outside [0, 1], or a negative distance.

    Example:
        >>> shrink(np.array([[0.0, 0.5, 1.0, 1.0, 1.0]]), 2)
        array([[0. , 0. , 0. , 0.5, 1. ]], dtype=float32)
    """
    return _disc_extreme(check_mask(mask), checked_pixels(pixels), np.minimum)


def feather(mask: AnyArray, pixels: float, side: FeatherSide = "centered") -> FloatArray:
    """The mask with a softer edge: a Gaussian ramp over `pixels` to either side, rounded up.

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        pixels: Reach of the ramp in pixels, 0 or more.
        side: `centered` softens to both sides; `inside` selects nothing that was not selected; `outside`
            keeps all that was selected.

    Raises:
        ShapeError: Not a mask.
        RangeError: Values outside [0, 1], or a negative reach.
        OptionError: No such side.

    Example:
        >>> feather(np.array([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]]), 2).round(1)
        array([[0. , 0.1, 0.3, 0.7, 0.9, 1. ]], dtype=float32)
    """
    from scipy.ndimage import gaussian_filter

    mask = check_mask(mask)
    if side not in get_args(FeatherSide):
        raise OptionError("side", expected=" or ".join(get_args(FeatherSide)), got=repr(side), hint="use centered")
    reach = checked_pixels(pixels)
    if reach == 0:
        return np.array(mask)
    soft: FloatArray = gaussian_filter(mask, reach / 2, mode="nearest", radius=int(np.ceil(reach))).clip(0, 1)
    if side == "inside":
        np.minimum(mask, (2 * soft - 1).clip(0, 1), out=soft)
    elif side == "outside":
        np.maximum(mask, (2 * soft).clip(0, 1), out=soft)
    return soft


def smooth(mask: AnyArray, pixels: float) -> FloatArray:
    """The mask with a rounder outline: each pixel takes the median within a Euclidean distance.

    Straight edges stay where they are and as soft as they are; corners, bumps and notches smaller than the
    distance are rounded off. Values that are the same in 16 bits count as one. The time it takes rises with the
    number of pixels, the square of the distance, and the bits in which neighbouring values differ.

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        pixels: Distance in pixels, 0 or more.

    Raises:
        ShapeError: Not a mask.
        RangeError: Values outside [0, 1], or a negative distance.

    Example:
        >>> corner = np.array([[0.0, 0.0, 0.0], [0.0, 0.9, 0.9], [0.0, 0.9, 0.9]])
        >>> smooth(corner, 1.5)
        array([[0. , 0. , 0. ],
               [0. , 0. , 0.9],
               [0. , 0.9, 0.9]], dtype=float32)

    Reference:
        Guichard, Morel: Partial Differential Equations and Image Iterative Filtering. 1997 (a median filter
        moves an outline by its curvature).
    """
    mask = check_mask(mask)
    radius = min(checked_pixels(pixels), float(np.hypot(*mask.shape)))
    reach = int(radius)
    if reach == 0:
        return np.array(mask)
    values = np.rint(mask * np.float32(_STEPS)).astype(np.uint16)
    levels = np.flatnonzero(np.bincount(values.ravel()))
    rank = np.zeros(_STEPS + 1, dtype=np.uint8 if levels.size <= 256 else np.uint16)
    rank[levels] = np.arange(levels.size)
    ranks = rank[values]
    middle = _disc_median(ranks, radius)
    value = np.empty(levels.size, dtype=np.float32)
    value[ranks] = mask  # of those in one step, one stands for all
    return np.where(middle == ranks, mask, value[middle])


def fill_holes(mask: AnyArray, area: float) -> FloatArray:
    """The mask with its small holes set to 1.

    A hole is a region under 0.5, its pixels joined along their sides, that does not touch the frame. The
    pixels of 0.5 and above around it stay as they are.

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        area: Largest area that is filled, in square pixels, 0 or more.

    Raises:
        ShapeError: Not a mask.
        RangeError: Values outside [0, 1], or a negative area.

    Example:
        >>> fill_holes(np.array([[1.0, 1.0, 1.0], [1.0, 0.2, 1.0], [1.0, 1.0, 1.0]]), 1)[1]
        array([1., 1., 1.], dtype=float32)
    """
    mask = check_mask(mask)
    labels, areas = _regions(mask < _LEVEL, _CROSS)
    hole = areas <= checked_pixels(area, "area", "square pixels")
    for border in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        hole[border] = False
    hole[0] = False  # what is no region
    return np.where(hole[labels], np.float32(1), mask)


def remove_islands(mask: AnyArray, area: float) -> FloatArray:
    """The mask without its small islands.

    An island is a region of 0.5 and above, its pixels joined along their sides or corners. Pixels under 0.5
    go with the region nearest to them, so that the soft skirt of an island goes too.

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        area: Smallest area that stays, in square pixels, 0 or more.

    Raises:
        ShapeError: Not a mask.
        RangeError: Values outside [0, 1], or a negative area.

    Example:
        >>> remove_islands(np.array([[1.0, 1.0, 0.0, 0.0, 0.3, 0.6]]), 2)
        array([[1., 1., 0., 0., 0., 0.]], dtype=float32)
    """
    mask = check_mask(mask)
    labels, areas = _regions(mask >= _LEVEL, _EIGHT)
    kept = areas >= checked_pixels(area, "area", "square pixels")
    return _only(mask, labels, kept)


def keep_largest(mask: AnyArray) -> FloatArray:
    """The mask with only its largest region, the first in reading order where several are.

    Regions and soft skirts are those of `remove_islands`. A mask that stays under 0.5 has no region and
    stays as it is.

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.

    Raises:
        ShapeError: Not a mask.
        RangeError: Values outside [0, 1].

    Example:
        >>> keep_largest(np.array([[1.0, 0.0, 0.0, 0.7, 1.0]]))
        array([[0. , 0. , 0. , 0.7, 1. ]], dtype=float32)
    """
    mask = check_mask(mask)
    labels, areas = _regions(mask >= _LEVEL, _EIGHT)
    kept = np.zeros(areas.size, dtype=bool)
    if areas.size > 1:
        kept[1 + areas[1:].argmax()] = True
    return _only(mask, labels, kept)


def post_process(mask: AnyArray) -> FloatArray:
    """A mask of zeros and ones with specks and jags taken off, by the rule of rembg 2.0.86.

    In 8 bits: opening with the 3 x 3 cross, Gaussian blur with a standard deviation of 2 pixels, then 127
    and above to 255.

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.

    Raises:
        ShapeError: Not a mask.
        RangeError: Values outside [0, 1].

    Example:
        >>> speck = np.zeros((9, 9))
        >>> speck[4, 4] = 1
        >>> post_process(speck).max()
        np.float32(0.0)

    Reference:
        rembg 2.0.86, `post_process`.
    """
    from scipy import ndimage

    opened = ndimage.grey_opening(mask_to_bytes(check_mask(mask)), footprint=_CROSS)
    blurred = ndimage.gaussian_filter(opened.astype(np.float64), sigma=2)
    hard: FloatArray = (blurred >= 127).astype(np.float32)
    return hard


def checked_pixels(value: float, name: str = "pixels", unit: str = "pixels") -> float:
    """The number, if it is a distance, or an area, which may be infinite.

    Raises:
        RangeError: It is negative, no number, or an infinite distance.
    """
    if not (0 <= value < np.inf or (unit != "pixels" and value > 0)):
        raise RangeError(name, expected=f"0 or more {unit}", got=f"{value:g}", hint="use 0 to leave it out")
    return float(value)


def mask_to_bytes(mask: FloatArray) -> NDArray[np.uint8]:
    """The mask in 8 bits, 255 = selected, rounded to even."""
    values: NDArray[np.uint8] = np.rint(mask * np.float32(255)).astype(np.uint8)
    return values


def _disc_median(ranks: AnyArray, radius: float) -> AnyArray:
    """The median within `radius` of each pixel of unsigned integers, beyond the frame as at the border.

    Bit by bit: the median has a bit if with it more than half of the disc reaches as high. Tile by tile, so that what
    is compared fits into the processor's cache, and only the bits in which a tile's values differ.
    """
    reach = int(radius)
    height, width = ranks.shape
    padded = np.pad(ranks, reach, mode="edge")
    disc = np.argwhere(np.hypot(*np.ogrid[-reach : reach + 1, -reach : reach + 1]) <= radius).tolist()
    median = np.empty_like(ranks)
    for top, left in product(range(0, height, _MEDIAN_TILE), range(0, width, _MEDIAN_TILE)):
        answer = median[top : top + _MEDIAN_TILE, left : left + _MEDIAN_TILE]
        rows, columns = answer.shape
        around = padded[top : top + rows + 2 * reach, left : left + columns + 2 * reach]
        least = int(around.min())
        bits = (least ^ int(around.max())).bit_length()
        answer[...] = least >> bits << bits
        count = np.empty(answer.shape, dtype=np.uint8 if len(disc) < 256 else np.uint32)
        reached = np.empty(answer.shape, dtype=np.bool_)
        for bit in reversed(range(bits)):
            candidate = answer | ranks.dtype.type(1 << bit)
            count[...] = 0
            for down, right in disc:
                np.greater_equal(around[down : down + rows, right : right + columns], candidate, out=reached)
                count += reached.view(np.uint8)
            np.copyto(answer, candidate, where=count > len(disc) // 2)
    return median


def _disc_extreme(mask: FloatArray, radius: float, extreme: np.ufunc) -> FloatArray:
    """The largest or smallest value within `radius` of each pixel inside the frame."""
    result = np.array(mask)
    for dy, run in _runs(mask, min(radius, float(np.hypot(*mask.shape))), extreme):
        for here, there in (
            (slice(dy, None), slice(None, -dy or None)),
            (slice(None, -dy or None), slice(dy, None)),
        ):
            extreme(result[here], run[there], out=result[here])
    return result


def _runs(mask: FloatArray, radius: float, extreme: np.ufunc) -> Iterator[tuple[int, FloatArray]]:
    """Each row offset of a disc, and the extreme over the disc's chord there, which widens step by step."""
    height, width = mask.shape
    run, half = np.array(mask), 0
    for dy in range(int(radius), -1, -1):
        chord = int(np.sqrt(radius * radius - dy * dy) + 1e-9)  # a radius may itself be a rounded root
        for step in range(half + 1, min(chord, width - 1) + 1):
            extreme(run[:, step:], mask[:, :-step], out=run[:, step:])
            extreme(run[:, :-step], mask[:, step:], out=run[:, :-step])
            half = step
        if dy < height:
            yield dy, run


def _regions(selected: _Bits, joined: _Bits) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """A label for each pixel, 0 = not selected, and the area of each label in pixels."""
    from scipy.ndimage import label

    labels, count = label(selected, joined)
    return labels, np.bincount(labels.ravel(), minlength=count + 1)


def _only(mask: FloatArray, labels: NDArray[np.int32], kept: _Bits) -> FloatArray:
    """The mask where the nearest region is one of those kept."""
    from scipy.ndimage import distance_transform_edt

    if kept[1:].all():  # none to remove, or none at all
        return np.array(mask)
    if kept[1:].any() and ((mask > 0) & (labels == 0)).any():
        nearest = distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
        labels = labels[nearest[0], nearest[1]]
    kept = kept & (np.arange(kept.size) > 0)
    return np.where(kept[labels], mask, np.float32(0))
