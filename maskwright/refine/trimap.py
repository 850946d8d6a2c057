"""Trimaps: where a mask is to be trusted, and where its opacity has to be found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError, RangeError
from ..types import AnyArray, FloatArray, check_mask
from .masks import checked_pixels, mask_to_bytes

__all__ = ["SURE", "edge_weight", "make_trimap"]

_Bits = NDArray[np.bool_]

_NUMBERS = (240.0, 10.0, 10)  # foreground, background, erosion: rembg's
SURE = 0.02  # this close to 0 or 1 a mask has no doubt
_REACH = 1 / 320  # of the longer side: one cell of the networks' usual input, within which an edge may be misplaced


def make_trimap(
    mask: AnyArray,
    *,
    foreground_threshold: float | None = None,
    background_threshold: float | None = None,
    erode_size: int | None = None,
    compat: bool = False,
) -> FloatArray:
    """The trimap that says where a mask is to be trusted.

    Without any number it is automatic: unknown is all that the mask itself leaves open, more than 2 % away from 0 and
    1, its edge, and about 1/320 of the longer side around both. The softer a mask, the wider the band. With one of the
    numbers given, or `compat`, the trimap goes by the numbers, and those left out are 240, 10 and 10.

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

    Examples:
        >>> make_trimap(np.array([[0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0]]))
        array([[0. , 0. , 0.5, 0.5, 0.5, 1. , 1. ]], dtype=float32)
        >>> make_trimap(np.array([[0.0, 0.02, 0.5, 0.97, 1.0]]), erode_size=0)
        array([[0. , 0. , 0.5, 1. , 1. ]], dtype=float32)

    Reference:
        By the numbers: rembg 2.0.86, `alpha_matting_cutout`.
    """
    mask = check_mask(mask)
    given = (foreground_threshold, background_threshold, erode_size)
    if not compat and all(number is None for number in given):
        return np.where(edge_weight(mask) > 0, np.float32(0.5), (mask >= 0.5).astype(np.float32))
    high, low, size = (usual if number is None else number for number, usual in zip(given, _NUMBERS, strict=True))
    size = int(checked_pixels(size, "erode_size"))
    if not compat:
        _check_thresholds(high, low)
    values = mask_to_bytes(mask) if compat else mask * np.float32(255)
    foreground, background = values > high, values < low
    trimap = np.full(mask.shape, 0.5, dtype=np.float32)
    trimap[_eroded_compat(foreground, size, 0) if compat else _eroded(foreground, size)] = 1
    trimap[_eroded_compat(background, size, 1) if compat else _eroded(background, size)] = 0
    return trimap


def edge_weight(mask: FloatArray) -> FloatArray:
    """How far a pixel's opacity is open: 1 where the mask is soft or has its edge, falling to 0 around that.

    Args:
        mask: (H, W) float32 in [0, 1]; 1 = selected.

    Returns:
        (H, W) float32 in [0, 1]. It falls to 0 over a pixel and 1/320 of the longer side, at least two pixels.
    """
    low, high = mask <= SURE, mask >= 1 - SURE
    open_ = ~(low | high) | _edge(low, high)
    if not open_.any():
        return np.zeros(mask.shape, dtype=np.float32)
    reach = 0.4 + max(1.0, max(mask.shape) * _REACH)
    weight: FloatArray = np.clip(1 - np.sqrt(_squared_distance(open_, reach)) / reach, 0, 1).astype(np.float32)
    return weight


def _squared_distance(zone: _Bits, reach: float) -> NDArray[np.int32]:
    """The squared distance of each pixel from the zone, in pixels; at least the squared reach where it is farther."""
    far = int(np.ceil(reach))
    across = np.where(zone, 0, far).astype(np.int32)  # along the row
    for _ in range(far - 1):
        np.minimum(across[:, 1:], across[:, :-1] + 1, out=across[:, 1:])
        np.minimum(across[:, :-1], across[:, 1:] + 1, out=across[:, :-1])
    across *= across
    squared: NDArray[np.int32] = across.copy()
    for down in range(1, min(far, len(zone))):
        np.minimum(squared[down:], across[:-down] + down * down, out=squared[down:])
        np.minimum(squared[:-down], across[down:] + down * down, out=squared[:-down])
    return squared


def _edge(low: _Bits, high: _Bits) -> _Bits:
    """Pixels where the two zones touch, side by side."""
    edge = np.zeros_like(low)
    for axis in (0, 1):
        zones = [np.swapaxes(zone, 0, axis) for zone in (low, high, edge)]
        touch = (zones[0][:-1] & zones[1][1:]) | (zones[1][:-1] & zones[0][1:])
        zones[2][:-1] |= touch
        zones[2][1:] |= touch
    return edge


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


def _eroded(zone: _Bits, size: int) -> _Bits:
    """The zone less what is within half of `size` of its edge, along either axis; the same on all sides."""
    return _eroded_compat(zone, size // 2 * 2 + 1, 1)


def _eroded_compat(zone: _Bits, size: int, beyond: int) -> _Bits:
    """Erosion by a square, one axis after the other, or by the 3 x 3 cross where the size is 0."""
    from scipy.ndimage import binary_erosion, minimum_filter1d

    if size == 0:
        cross: _Bits = binary_erosion(zone, border_value=beyond)
        return cross
    kept = zone.view(np.uint8)
    for axis in (0, 1):
        kept = minimum_filter1d(kept, size, axis=axis, mode="constant", cval=beyond)
    return kept.view(np.bool_)
