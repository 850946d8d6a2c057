"""Work on masks: each function takes a mask and returns a new one of the same size.

Growing, shrinking and smoothing act on every level of a soft mask alike, so that a soft edge keeps its
profile and a mask of zeros and ones stays one. Beyond the frame a mask is taken to go on as it is at the
border.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError, RangeError
from ..types import AnyArray, FloatArray, check_mask

__all__ = [
    "FeatherSide",
    "feather",
    "fill_holes",
    "grow",
    "invert",
    "keep_largest",
    "make_trimap",
    "post_process",
    "remove_islands",
    "shrink",
    "smooth",
    "threshold",
]

FeatherSide = Literal["centered", "inside", "outside"]

_Bits = NDArray[np.bool_]

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)
_EIGHT = np.ones((3, 3), dtype=bool)
_LEVEL = 0.5  # from here on a pixel counts as selected
_MEDIAN_VALUES = 1 << 23  # values gathered at a time


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
    return _disc_extreme(check_mask(mask), _checked_pixels(pixels), np.maximum)


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
    return _disc_extreme(check_mask(mask), _checked_pixels(pixels), np.minimum)


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
    reach = _checked_pixels(pixels)
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
    distance are rounded off. The time it takes rises with the square of the distance.

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
    radius = min(_checked_pixels(pixels), float(np.hypot(*mask.shape)))
    reach = int(radius)
    padded = np.pad(mask, reach, mode="edge")
    dy, dx = np.nonzero(np.hypot(*np.ogrid[-reach : reach + 1, -reach : reach + 1]) <= radius)
    offsets = dy * padded.shape[1] + dx
    # Away from every edge the median is the pixel itself.
    busy = _disc_extreme(mask, radius, np.maximum) > _disc_extreme(mask, radius, np.minimum)
    rows, cols = np.nonzero(busy)
    smoothed = np.array(mask)
    step = max(1, _MEDIAN_VALUES // offsets.size)
    for start in range(0, rows.size, step):
        y, x = rows[start : start + step], cols[start : start + step]
        around = padded.ravel()[(y * padded.shape[1] + x)[:, np.newaxis] + offsets]  # (N, offsets)
        middle = offsets.size // 2
        smoothed[y, x] = np.partition(around, middle, axis=1)[:, middle]
    return smoothed


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
    hole = areas <= _checked_area(area)
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
    kept = areas >= _checked_area(area)
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

    opened = ndimage.grey_opening(_to_bytes(check_mask(mask)), footprint=_CROSS)
    blurred = ndimage.gaussian_filter(opened.astype(np.float64), sigma=2)
    hard: FloatArray = (blurred >= 127).astype(np.float32)
    return hard


def make_trimap(
    mask: AnyArray,
    *,
    foreground_threshold: float = 240,
    background_threshold: float = 10,
    erode_size: int = 10,
    compat: bool = False,
) -> FloatArray:
    """The trimap that says where a mask is to be trusted.

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        foreground_threshold: Above this, in units of 1/255, the mask is surely foreground.
        background_threshold: Below this, in units of 1/255, 1 or more, the mask is surely background.
        erode_size: By half of this many pixels, rounded down, both sure zones step back from their edges, to
            all eight sides.
        compat: Erode as rembg does: by a square of this many pixels, off centre where the number is even, by
            the 3 x 3 cross where it is 0, the foreground also away from the frame. Thresholds are not
            checked.

    Returns:
        (H, W) float32: 0 = background, 0.5 = unknown, 1 = foreground.

    Raises:
        ShapeError: Not a mask.
        RangeError: Values outside [0, 1], a background threshold under 1, or a negative size.
        OptionError: The foreground threshold is not above the background threshold.

    Example:
        >>> make_trimap(np.array([[0.0, 0.02, 0.5, 0.97, 1.0]]), erode_size=0)
        array([[0. , 0. , 0.5, 1. , 1. ]], dtype=float32)

    Reference:
        rembg 2.0.86, `alpha_matting_cutout`.
    """
    mask = check_mask(mask)
    size = int(_checked_pixels(erode_size, "erode_size"))
    if not compat:
        _check_thresholds(foreground_threshold, background_threshold)
    values = _to_bytes(mask) if compat else mask * np.float32(255)
    foreground, background = values > foreground_threshold, values < background_threshold
    trimap = np.full(mask.shape, 0.5, dtype=np.float32)
    trimap[_eroded_compat(foreground, size, 0) if compat else _eroded(foreground, size)] = 1
    trimap[_eroded_compat(background, size, 1) if compat else _eroded(background, size)] = 0
    return trimap


def _checked_pixels(pixels: float, name: str = "pixels") -> float:
    if not 0 <= pixels < np.inf:
        raise RangeError(name, expected="0 or more pixels", got=f"{pixels:g}", hint="use 0 to leave it out")
    return float(pixels)


def _checked_area(area: float) -> float:
    if not area >= 0:
        raise RangeError("area", expected="0 or more square pixels", got=f"{area:g}", hint="use 0 to leave it out")
    return float(area)


def _check_thresholds(foreground: float, background: float) -> None:
    if not background >= 1:
        raise RangeError(
            "background_threshold",
            expected="1 or more",
            got=f"{background:g}",
            hint="below 1 nothing is background",
        )
    if not foreground > background:
        raise OptionError(
            "foreground_threshold",
            expected=f"above background_threshold, {background:g}",
            got=f"{foreground:g}",
            hint="use 240 and 10",
        )


def _to_bytes(mask: FloatArray) -> NDArray[np.uint8]:
    values: NDArray[np.uint8] = np.rint(mask * np.float32(255)).astype(np.uint8)
    return values


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


def _eroded(zone: _Bits, size: int) -> _Bits:
    """The zone less what is within half of `size` of its edge, along either axis; the same on all sides."""
    return _eroded_compat(zone, size // 2 * 2 + 1, 1)


def _eroded_compat(zone: _Bits, size: int, beyond: int) -> _Bits:
    """Erosion by a square, one axis after the other, or by the 3 x 3 cross where the size is 0."""
    from scipy.ndimage import binary_erosion, minimum_filter1d

    if size == 0:
        cross: _Bits = binary_erosion(zone, _CROSS, border_value=beyond)
        return cross
    kept = zone.view(np.uint8)
    for axis in (0, 1):
        kept = minimum_filter1d(kept, size, axis=axis, mode="constant", cval=beyond)
    return kept.view(np.bool_)
