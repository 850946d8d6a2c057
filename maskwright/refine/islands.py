"""Where the connected regions of a mask lie."""

from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ..types import AnyArray, BBox

__all__ = ["find_islands"]


def find_islands(selected: AnyArray, *, min_area: int = 1, most: int | None = None) -> list[BBox]:
    """The box around each connected region, the largest region first; corners connect.

    >>> find_islands(np.array([[1, 0, 0, 0], [0, 1, 0, 1]], bool))
    [(0, 0, 2, 2), (3, 1, 4, 2)]

    Args:
        selected: (H, W) bool.
        min_area: Square pixels; smaller regions are left out.
        most: Regions at most; None: all.

    Raises:
        ShapeError: Another array.
    """
    from scipy import ndimage

    if selected.ndim != 2 or selected.dtype != np.bool_:
        raise ShapeError("selected", expected="(H, W) bool", got=f"{selected.shape} {selected.dtype}")
    labels, count = ndimage.label(selected, np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    boxes = ndimage.find_objects(labels)
    order = [int(index) for index in np.argsort(-areas, kind="stable") if areas[index] >= min_area]
    chosen = (boxes[index] for index in order[:most])
    return [(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in chosen]
