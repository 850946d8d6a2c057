"""Masks in the forms that annotation tools exchange: polygons, and COCO's run lengths.

Both describe the mask cut at a level: they know no softness. Corners of polygons lie between pixels: the first pixel
reaches from (0, 0) to (1, 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError, RangeError
from ..geometry import make_bbox
from ..types import AnyArray, FloatArray, check_mask

__all__ = [
    "Polygon",
    "make_annotation",
    "make_polygons_record",
    "mask_to_polygons",
    "mask_to_rle",
    "pack_counts",
    "rle_to_mask",
    "unpack_counts",
]

_LEVEL = 0.5
_TURNS = ((-1, 0), (0, 1), (1, 0), (0, -1))  # (dy, dx) of the directions up, right, down, left


@dataclass(frozen=True)
class Polygon:
    """One region of a mask.

    Attributes:
        outer: (N, 2) corners x, y in pixels, clockwise as seen on a screen; the last one joins the first.
        holes: The same for each hole, counter-clockwise.
    """

    outer: NDArray[np.float64]
    holes: tuple[NDArray[np.float64], ...] = ()


# Run lengths: how many pixels are not selected, then how many are, and so on, column after column.


def mask_to_rle(mask: AnyArray, level: float = _LEVEL) -> dict[str, Any]:
    """COCO's run lengths: `size` is height and width, `counts` the lengths, of zeros first, down the columns.

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        level: From this value on a pixel is selected.

    Raises:
        ShapeError, RangeError: Not a mask.

    Example:
        >>> mask_to_rle(np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]))
        {'size': [3, 2], 'counts': [2, 3, 1]}
    """
    bits = (check_mask(mask) >= level).T.ravel()
    edges = np.flatnonzero(np.diff(bits)) + 1
    edges = np.concatenate([[0] if bits[0] else [], [0], edges, [bits.size]]).astype(np.intp)
    return {"size": list(mask.shape), "counts": np.diff(edges).tolist()}


def rle_to_mask(rle: Mapping[str, Any]) -> FloatArray:
    """The mask of zeros and ones that run lengths describe.

    Args:
        rle: `size` and `counts`; counts as numbers, or packed as text or bytes.

    Raises:
        RangeError: The lengths do not add up to the size.
        OptionError: Packed counts that are none.

    Example:
        >>> rle_to_mask({"size": [3, 2], "counts": [2, 3, 1]})
        array([[0., 1.],
               [0., 1.],
               [1., 0.]], dtype=float32)
    """
    height, width = rle["size"]
    counts = rle["counts"]
    counts = np.asarray(unpack_counts(counts) if isinstance(counts, (str, bytes)) else counts, np.int64)
    if height < 1 or width < 1 or (counts < 0).any() or counts.sum() != height * width:
        raise RangeError(
            "counts", expected=f"0 or more and {height * width} in all", got=str(int(counts.sum())), hint="check size"
        )
    values = (np.arange(counts.size) % 2).astype(np.float32)
    return np.ascontiguousarray(np.repeat(values, counts).reshape(width, height).T)


def pack_counts(counts: Sequence[int]) -> str:
    """COCO's compressed counts: from the third on the difference to the last but one, 5 bits to a character.

    Args:
        counts: From `mask_to_rle`.

    Example:
        >>> pack_counts([6, 1, 40, 4, 5, 4, 5, 4, 21])
        '61X13mN000`0'

    Reference:
        cocoapi, `maskApi.c`, `rleToString`.
    """
    letters = []
    for index, count in enumerate(counts):
        rest, more = count - (counts[index - 2] if index > 2 else 0), True
        while more:
            bits, rest = rest & 31, rest >> 5
            more = rest != (-1 if bits & 16 else 0)
            letters.append(chr(48 + (bits | 32 * more)))
    return "".join(letters)


def unpack_counts(packed: str | bytes) -> list[int]:
    """The counts in a compressed string.

    Args:
        packed: From `pack_counts`, or COCO's own.

    Raises:
        OptionError: It holds other characters, or ends in the middle of a number.

    Example:
        >>> unpack_counts("61X13mN000`0")
        [6, 1, 40, 4, 5, 4, 5, 4, 21]
    """
    codes = packed if isinstance(packed, bytes) else packed.encode("latin-1", "replace")
    counts: list[int] = []
    value = shift = 0
    for code in codes:
        bits = code - 48
        if not 0 <= bits < 64:
            raise _no_counts(packed)
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)  # the highest bit is the sign
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise _no_counts(packed)
    return counts


def _no_counts(packed: str | bytes) -> OptionError:
    return OptionError("counts", expected="COCO's compressed text", got=repr(packed[:20]), hint="or give numbers")


def make_annotation(mask: AnyArray, level: float = _LEVEL) -> dict[str, Any]:
    """A COCO annotation of a mask: compressed run lengths, area in pixels, and the box as x, y, width, height.

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        level: From this value on a pixel is selected.

    Returns:
        `segmentation`, `area`, `bbox`, `iscrowd` and `category_id` 1; the numbers of image and annotation are yours.

    Raises:
        ShapeError, RangeError: Not a mask.

    Example:
        >>> make_annotation(np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]))["bbox"]
        [0, 0, 2, 3]
    """
    rle = mask_to_rle(mask, level)
    x1, y1, x2, y2 = make_bbox(mask, level) or (0, 0, 0, 0)
    return {
        "segmentation": {"size": rle["size"], "counts": pack_counts(rle["counts"])},
        "area": sum(rle["counts"][1::2]),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "iscrowd": 0,
        "category_id": 1,
    }


def make_polygons_record(mask: AnyArray, tolerance: float = 1.0, level: float = _LEVEL) -> dict[str, Any]:
    """A mask as polygons, ready for JSON: `size` (height, width) and `polygons` with `outer` and `holes` of [x, y].

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        tolerance: As for `mask_to_polygons`.
        level: From this value on a pixel is selected.

    Raises:
        ShapeError, RangeError: Not a mask, or a negative tolerance.

    Example:
        >>> make_polygons_record(np.ones((1, 2)), tolerance=0)["polygons"]
        [{'outer': [[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]], 'holes': []}]
    """
    polygons = mask_to_polygons(mask, tolerance, level)
    return {
        "size": list(mask.shape),
        "polygons": [
            {"outer": polygon.outer.tolist(), "holes": [hole.tolist() for hole in polygon.holes]}
            for polygon in polygons
        ],
    }


# Polygons: the edges between selected and other pixels, followed around each region.


def mask_to_polygons(mask: AnyArray, tolerance: float = 1.0, level: float = _LEVEL) -> list[Polygon]:
    """The outlines of a mask's regions with their holes, in reading order. Pixels are joined along their sides.

    Args:
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        tolerance: Pixels by which an outline may be off to have fewer corners; 0: every pixel exactly. What is
            smaller than the tolerance may vanish.
        level: From this value on a pixel is selected.

    Raises:
        ShapeError, RangeError: Not a mask, or a negative tolerance.

    Example:
        >>> (polygon,) = mask_to_polygons(np.ones((2, 3)), tolerance=0)
        >>> polygon.outer
        array([[0., 0.],
               [3., 0.],
               [3., 2.],
               [0., 2.]])

    Reference:
        Douglas, Peucker: Algorithms for the reduction of the number of points required to represent a digitized
        line or its caricature. Cartographica 10(2), 1973.
    """
    from scipy.ndimage import label

    if not 0 <= tolerance < np.inf:
        raise RangeError("tolerance", expected="0 or more pixels", got=f"{tolerance:g}", hint="1 is usual")
    bits = check_mask(mask) >= level
    regions, count = label(bits)
    outers: list[NDArray[np.float64] | None] = [None] * (count + 1)
    holes: list[list[NDArray[np.float64]]] = [[] for _ in range(count + 1)]
    for ring, pixel in _rings(bits):
        simple = _simplify(ring, tolerance)
        if len(simple) < 3:
            continue
        if _signed_area(ring) > 0:
            outers[regions[pixel]] = simple
        else:
            holes[regions[pixel]].append(simple)
    return [Polygon(outer, tuple(inner)) for outer, inner in zip(outers, holes, strict=True) if outer is not None]


def _signed_area(ring: NDArray[np.float64]) -> float:
    """Positive where the ring goes clockwise on a screen."""
    x, y = ring[:, 0], ring[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _rings(bits: NDArray[np.bool_]) -> list[tuple[NDArray[np.float64], tuple[int, int]]]:
    """Closed outlines without straight corners, selected pixels on their right, and one such pixel of each."""
    starts, directions, pixels = _edges(bits)
    following = _follow(starts, directions, bits.shape[1] + 1)
    order = following.tolist()
    seen = bytearray(len(order))
    rings = []
    for first in range(len(order)):
        if seen[first]:
            continue
        path, edge = [], first
        while not seen[edge]:
            seen[edge] = 1
            path.append(edge)
            edge = order[edge]
        taken = np.array(path)
        turning = directions[taken] != np.roll(directions[taken], 1)
        corners = starts[taken[turning]]
        ring = np.column_stack([corners % (bits.shape[1] + 1), corners // (bits.shape[1] + 1)]).astype(np.float64)
        ring = np.roll(ring, -int(np.lexsort(ring.T)[0]), axis=0)  # from its first corner in reading order
        row, column = divmod(int(pixels[first]), bits.shape[1])
        rings.append((ring, (row, column)))
    return rings


def _edges(bits: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.int8], NDArray[np.intp]]:
    """Every pixel side between selected and other, with the selected pixel on its right as one walks along it.

    Returns:
        The corner each one starts at, as row * (W + 1) + column; its direction, an index of `_TURNS`; its pixel.
    """
    height, width = bits.shape
    padded = np.pad(bits, 1)
    starts, directions, pixels = [], [], []
    for direction, (dy, dx) in enumerate(_TURNS):
        ahead_y, ahead_x = -dx, dy  # from the pixel to the side on the left of the direction
        beyond = padded[1 + ahead_y : 1 + ahead_y + height, 1 + ahead_x : 1 + ahead_x + width]
        y, x = np.nonzero(bits & ~beyond)
        corner_y, corner_x = y + (direction in (0, 3)), x + (direction in (2, 3))
        starts.append(corner_y * (width + 1) + corner_x)
        directions.append(np.full(y.size, direction, np.int8))
        pixels.append(y * width + x)
    order = np.argsort(np.concatenate(pixels), kind="stable")
    return tuple(np.concatenate(parts)[order] for parts in (starts, directions, pixels))  # type: ignore[return-value]


def _follow(starts: NDArray[np.intp], directions: NDArray[np.int8], stride: int) -> NDArray[np.intp]:
    """The edge that comes after each edge; where two do, the one that turns right, around its own pixel."""
    steps = np.array([dy * stride + dx for dy, dx in _TURNS])
    keys = starts * 4 + directions
    order = np.argsort(keys)
    ends = starts + steps[directions]
    following = np.full(starts.size, -1, np.intp)
    for turn in (1, 0, 3):  # right, straight on, left
        wanted = ends * 4 + (directions + turn) % 4
        place = np.searchsorted(keys[order], wanted).clip(max=max(starts.size - 1, 0))
        found = (following < 0) & (keys[order][place] == wanted) if starts.size else following < 0
        following[found] = order[place[found]]
    return following


def _simplify(ring: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """The ring with the corners taken out that lie within the tolerance of the line without them."""
    if tolerance == 0 or len(ring) < 4:
        return ring
    far = int(np.hypot(*(ring - ring[0]).T).argmax())
    closed = np.vstack([ring, ring[:1]])
    kept = np.zeros(len(closed), bool)
    kept[[0, far, -1]] = True
    stack = [(0, far), (far, len(ring))]
    while stack:
        start, stop = stack.pop()
        if stop - start < 2:
            continue
        away = _distances(closed[start + 1 : stop], closed[start], closed[stop])
        worst = int(away.argmax())
        if away[worst] > tolerance:
            middle = start + 1 + worst
            kept[middle] = True
            stack += [(start, middle), (middle, stop)]
    return ring[kept[:-1]]


def _distances(points: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far points are from the line between a and b, both ends included."""
    along = b - a
    length = float(along @ along)
    share = ((points - a) @ along / length).clip(0, 1) if length else np.zeros(len(points))
    nearest = a + share[:, np.newaxis] * along
    away: NDArray[np.float64] = np.hypot(*(points - nearest).T)
    return away
