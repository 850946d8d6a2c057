"""Squares that cover a large picture, and crops of it: where they lie, and how much each counts at each pixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .errors import OptionError
from .types import BBox, FloatArray

__all__ = ["Patch", "merge_boxes", "pad_box", "plan_crops", "plan_tiles"]

_OVERLAP = 0.25  # of a tile's side
_MOST = 256  # tiles of one picture
_RAMP = 1 / 7  # of a crop's side: as wide as the padding around what it was cut for


@dataclass(frozen=True, eq=False)
class Patch:
    """A part of a picture that is looked at by itself.

    Attributes:
        bbox: (x1, y1, x2, y2) in pixels, half-open, inside the picture.
        rows: (y2 - y1) float32 in [0, 1]; what it counts at a pixel is the product of row and column.
        columns: (x2 - x1) float32 in [0, 1].
    """

    bbox: BBox
    rows: FloatArray
    columns: FloatArray

    @property
    def weight(self) -> FloatArray:
        """(h, w) float32: how much it counts at each pixel."""
        return self.rows[:, np.newaxis] * self.columns


def plan_tiles(size_hw: tuple[int, int], side: int) -> list[Patch]:
    """Squares that cover the picture and overlap by a quarter; their weights add up to 1 at every pixel.

    A picture that is no larger than one square gets none.

    >>> [patch.bbox for patch in plan_tiles((100, 150), 100)]
    [(0, 0, 100, 100), (50, 0, 150, 100)]

    Args:
        size_hw: Height and width of the picture in pixels.
        side: Of a square, in pixels.

    Raises:
        OptionError: The picture would fall into too many.
    """
    rows, columns = (_cover(length, side) for length in size_hw)
    if len(rows) * len(columns) > _MOST:
        least = next(more for more in range(side, max(size_hw) + 1) if _count(size_hw, more) <= _MOST)
        raise OptionError(
            "tiles", expected=f"{least} pixels or more for a picture of this size", got=str(side), hint="or 0 for none"
        )
    if len(rows) * len(columns) == 1:
        return []
    return [
        Patch((x, y, x + across.size, y + down.size), down, across) for (y, down) in rows for (x, across) in columns
    ]


def _starts(length: int, side: int) -> list[int]:
    """Evenly spaced starts of the fewest pieces that cover a length and overlap as they should."""
    if length <= side:
        return [0]
    step = max(side - round(side * _OVERLAP), 1)
    count = -(-(length - side) // step) + 1
    return [round(index * (length - side) / (count - 1)) for index in range(count)]


def _count(size_hw: tuple[int, int], side: int) -> int:
    return len(_starts(size_hw[0], side)) * len(_starts(size_hw[1], side))


def _cover(length: int, side: int) -> list[tuple[int, FloatArray]]:
    """Start and weights of each piece; at every place the weights of all pieces add up to 1."""
    starts = _starts(length, side)
    side = min(side, length)
    peaks = np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)).astype(np.float64)
    total = np.zeros(length)
    for start in starts:
        total[start : start + side] += peaks
    return [(start, (peaks / total[start : start + side]).astype(np.float32)) for start in starts]


def plan_crops(boxes: Iterable[BBox], size_hw: tuple[int, int]) -> list[Patch]:
    """Crops around these boxes; what lies near is taken together, so that no two overlap.

    Inside they count fully, and less and less towards those of their edges that are not the picture's.

    Args:
        boxes: (x1, y1, x2, y2) in pixels, half-open, inside the picture.
        size_hw: Height and width of the picture in pixels.
    """
    crops = []
    for x1, y1, x2, y2 in merge_boxes(pad_box(box, size_hw) for box in boxes):
        rows = _ramp(y2 - y1, y1 > 0, y2 < size_hw[0])
        columns = _ramp(x2 - x1, x1 > 0, x2 < size_hw[1])
        crops.append(Patch((x1, y1, x2, y2), rows, columns))
    return crops


def _ramp(length: int, at_start: bool, at_end: bool) -> FloatArray:
    rising = np.minimum((np.arange(length) + 0.5) / max(length * _RAMP, 1), 1)
    weights = (rising if at_start else 1) * (rising[::-1] if at_end else np.ones(length))
    return weights.astype(np.float32)


def pad_box(bbox: BBox, size_hw: tuple[int, int]) -> BBox:
    """The box with a fifth of its size on every side; where there is less room, up to the frame.

    >>> pad_box((10, 40, 30, 60), (100, 100))
    (6, 36, 34, 64)

    Args:
        bbox: (x1, y1, x2, y2) in pixels, half-open, inside the picture.
        size_hw: Height and width of the picture in pixels.
    """
    x1, y1, x2, y2 = bbox
    across, down = round(0.2 * (x2 - x1)), round(0.2 * (y2 - y1))
    return max(x1 - across, 0), max(y1 - down, 0), min(x2 + across, size_hw[1]), min(y2 + down, size_hw[0])


def merge_boxes(boxes: Iterable[BBox]) -> list[BBox]:
    """Boxes of which no two overlap: those that did are taken together.

    >>> merge_boxes([(0, 0, 4, 4), (10, 10, 12, 12), (3, 3, 6, 6)])
    [(10, 10, 12, 12), (0, 0, 6, 6)]

    Args:
        boxes: (x1, y1, x2, y2) in pixels, half-open.
    """
    merged: list[BBox] = []
    for box in boxes:
        grown = box
        while near := [other for other in merged if _overlap(grown, other)]:
            merged = [other for other in merged if other not in near]
            x1, y1, x2, y2 = zip(grown, *near, strict=True)
            grown = (min(x1), min(y1), max(x2), max(y2))
        merged.append(grown)
    return merged


def _overlap(one: BBox, other: BBox) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
