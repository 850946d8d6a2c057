"""What small maps decide at each pixel of a large picture, without the maps being made that large.

Between four samples a bilinear map takes no value outside theirs. Where all four say the same, every pixel between
them does; of several maps, only the others, near the edges of things, are looked at one by one. One map is compared
while it is made, some rows at a time. The results are those of the large maps, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .geometry import enlarge_rows, find_neighbors
from .types import AnyArray, FloatArray

__all__ = ["exceeds", "largest"]

_ROUNDING = 1e-6  # of the largest value: as near as this to a tie, four samples settle nothing
_MOST = 0.25  # of all cells; where more are open, large maps are quicker
_ROWS = 256  # rows looked at together, so that indices stay small

_Blend = Callable[[AnyArray], FloatArray]


def largest(maps: FloatArray, size_hw: tuple[int, int]) -> AnyArray | None:
    """(H, W) uint8: which map is the largest at each pixel, the first of equals. None: making large maps is quicker.

    >>> largest(np.array([[[1.0, 0.0]], [[0.0, 1.0]]], np.float32), (1, 2)).tolist()
    [[0, 1]]

    Args:
        maps: (K, h, w) float32, at most 256 maps.
        size_hw: Height and width of the picture.
    """
    best = np.array(maps[0])  # (h, w)
    second = np.full_like(best, -np.inf)
    winner = np.zeros(best.shape, np.uint8)
    for index, plane in enumerate(maps[1:], 1):
        np.copyto(winner, index, where=plane > best)
        np.maximum(second, np.minimum(best, plane), out=second)
        np.maximum(best, plane, out=best)
    sure = best - second > _ROUNDING * max(1.0, float(np.abs(best).max()))

    def compare(blend: _Blend) -> AnyArray:
        top = blend(maps[0])
        chosen = np.zeros(top.shape, np.uint8)
        for index, plane in enumerate(maps[1:], 1):
            values = blend(plane)
            np.copyto(chosen, index, where=values > top)
            np.maximum(top, values, out=top)
        return chosen

    return _decide(winner, sure, size_hw, compare)


def exceeds(values: FloatArray, size_hw: tuple[int, int], level: float) -> AnyArray | None:
    """(H, W) bool: where a map is above a level. None where the map is to be made smaller.

    Args:
        values: (h, w) float32.
        size_hw: Height and width of the picture.
        level: Pixels of exactly this value are not above it.
    """
    if size_hw[0] < values.shape[0] or size_hw[1] < values.shape[1]:
        return None
    bound = np.float32(level)
    selected = np.empty(size_hw, bool)
    blocks = [(slice(None), values)] if values.shape == size_hw else enlarge_rows(values, size_hw)
    for rows, block in blocks:  # no slower than to look at edges alone
        np.greater(block, bound, out=selected[rows])
    return selected


def _decide(
    decided: AnyArray, sure: AnyArray, size_hw: tuple[int, int], look: Callable[[_Blend], AnyArray]
) -> AnyArray | None:
    """Each pixel's decision: that of its four samples where they agree, else what `look` finds."""
    height, width = decided.shape
    if decided.shape == size_hw:
        return decided
    if size_hw[0] < height or size_hw[1] < width:  # few pixels; and rows and columns are blended in another order
        return None
    lower, right = (slice(1, None) if side > 1 else slice(None) for side in (height, width))
    upper, left = (slice(0, max(side - 1, 1)) for side in (height, width))
    corner = decided[upper, left]
    settled = sure[upper, left].copy()
    for other in ((upper, right), (lower, left), (lower, right)):
        settled &= sure[other] & (decided[other] == corner)
    if settled.size - np.count_nonzero(settled) > _MOST * settled.size:
        return None
    rows, columns = find_neighbors(height, size_hw[0]), find_neighbors(width, size_hw[1])
    result = decided.take(columns[0], axis=1).take(rows[0], axis=0)  # (H, W)
    unsettled = ~settled.take(columns[0], axis=1)  # (h, W)
    starts = rows[0] * width  # of each row's upper samples, in the flat map
    steps = (width if height > 1 else 0, 1 if width > 1 else 0)  # to the sample below, and to the one at the right
    for start in range(0, size_hw[0], _ROWS):
        block = slice(start, start + _ROWS)
        at = np.flatnonzero(unsettled.take(rows[0][block], axis=0))
        if at.size:
            y = at // size_hw[1]
            x = at - y * size_hw[1]
            corner = starts[block].take(y) + columns[0].take(x)
            found = look(_blend_at(corner, steps, rows[2][block].take(y), columns[2].take(x)))
            result[block].put(at, found)
    return result


def _blend_at(corner: AnyArray, steps: tuple[int, int], down: FloatArray, across: FloatArray) -> _Blend:
    """Bilinear values of a map at some pixels, in the arithmetic and the order of `geometry.resize_map`.

    Args:
        corner: (n) where the sample above and left of each pixel stands in the flat map.
        steps: From there to the sample below, and to the one at the right.
        down: (n) how near each pixel is to the sample below, 0 to 1.
        across: (n) the same to the right.
    """

    def blend(values: FloatArray) -> FloatArray:
        flat = values.ravel()
        ends = []
        for step in (0, steps[0]):
            low = flat[step:].take(corner)
            end = flat[step + steps[1] :].take(corner)
            end -= low
            end *= across
            end += low
            ends.append(end)
        upper, blended = ends
        blended -= upper
        blended *= down
        blended += upper
        return blended

    return blend
