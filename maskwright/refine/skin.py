"""Face or body: one class of skin, divided by where the hair is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..types import AnyArray, FloatArray, check_mask

__all__ = ["split_skin"]

_Bits = NDArray[np.bool_]

_LEVEL = 0.5  # from here on a pixel counts as selected
_GRID = 512  # the rule looks at no more pixels than this along the longer side
_REACH = 0.015  # of the longer side: a gap this wide between hair and skin still counts as touching
_CRUMB = 0.02  # of the largest piece: smaller pieces of hair or skin start no face
_LENGTH = 1.4  # a face with its chin is this many times as high as wide
_LEAST = 0.3  # of the hair's width: a face is at least this high, however narrow it begins below a parting


def split_skin(skin: AnyArray, hair: AnyArray) -> tuple[FloatArray, FloatArray]:
    """Face and body: two masks that add up to the skin.

    For each piece of hair, a face begins with the highest piece of skin that touches it, or lies straight below it
    and no further away than the hair is high. It reaches down 1.4 times its width, and takes in the other skin of
    these rows in the hair's columns, since a fringe or glasses part a face. All other skin is body: neck, arms, legs,
    and whatever has no hair near. A soft pixel goes where the nearest selected one goes.

    Args:
        skin: (H, W) float in [0, 1] or bool; 1 = skin, of face and body alike.
        hair: The same for hair.

    Raises:
        ShapeError: Not masks, or of different sizes.
        RangeError: Values outside [0, 1].

    Example:
        >>> hair, skin = np.zeros((2, 8, 3), bool)
        >>> hair[0], skin[1:4], skin[7] = True, True, True
        >>> face, body = split_skin(skin, hair)
        >>> face[:, 0]
        array([0., 1., 1., 1., 0., 0., 0., 0.], dtype=float32)
        >>> body[:, 0]
        array([0., 0., 0., 0., 0., 0., 0., 1.], dtype=float32)
    """
    skin, hair = check_mask(skin), check_mask(hair)
    if skin.shape != hair.shape:
        raise ShapeError("skin and hair", expected="of one size", got=f"{skin.shape} and {hair.shape}")
    step = -(-max(skin.shape) // _GRID)
    rows, columns = (np.arange(length) // step for length in skin.shape)
    near_face = _near_face(skin[::step, ::step] >= _LEVEL, hair[::step, ::step] >= _LEVEL)
    is_face = near_face[rows[:, np.newaxis], columns]  # (H, W)
    return np.where(is_face, skin, np.float32(0)), np.where(is_face, np.float32(0), skin)


def _near_face(skin: _Bits, hair: _Bits) -> _Bits:
    """(h, w): whether the nearest pixel of skin is one of a face."""
    from scipy import ndimage

    reach = max(1, round(_REACH * max(skin.shape)))
    pieces = _pieces(skin)
    face = np.zeros_like(skin)
    for lock in _pieces(hair):
        begins = next((piece for piece in pieces if _is_below(piece, lock, reach)), None)
        if begins is not None:
            bits = begins.bits.copy()
            bits[:, lock.columns] |= skin[:, lock.columns]
            rows = _face_rows(bits[begins.rows.start :], lock, begins.rows.start)
            face[rows] |= bits[rows]
    if not face.any():
        return face
    nearest = ndimage.distance_transform_edt(~skin, return_distances=False, return_indices=True)
    near: _Bits = face[tuple(nearest)]
    return near


@dataclass(frozen=True, eq=False)
class _Piece:
    """A connected region: its pixels in the whole plane, and its box."""

    bits: _Bits
    rows: slice
    columns: slice


def _pieces(bits: _Bits) -> list[_Piece]:
    """The connected regions that are more than crumbs, from the top down; corners connect."""
    from scipy import ndimage

    numbers, count = ndimage.label(bits, np.ones((3, 3)))
    areas = np.bincount(numbers.ravel(), minlength=2)[1:]
    least = _CRUMB * areas.max()
    boxes = ndimage.find_objects(numbers)
    pieces = [_Piece(numbers == n + 1, *boxes[n]) for n in range(count) if areas[n] >= least]
    return sorted(pieces, key=lambda piece: piece.rows.start)


def _is_below(piece: _Piece, lock: _Piece, reach: int) -> bool:
    """Whether skin touches the hair, or begins straight below it, no further away than the hair is high."""
    from scipy import ndimage

    height = lock.rows.stop - lock.rows.start
    straight = piece.bits[lock.rows.start : lock.rows.stop + height, lock.columns].any(axis=1)
    if straight.any() and lock.rows.start + int(straight.argmax()) >= lock.rows.stop:
        return True
    around = ndimage.binary_dilation(lock.bits, np.ones((3, 3)), iterations=reach)
    return bool((around & piece.bits).any())


def _face_rows(bits: _Bits, lock: _Piece, top: int) -> slice:
    """From the first row of these bits, which is `top`, to the first one too far down for their width so far."""
    widest = np.maximum.accumulate(bits.sum(axis=1))
    least = _LEAST * (lock.columns.stop - lock.columns.start)
    beyond = np.arange(len(widest)) >= np.maximum(least, _LENGTH * widest)
    return slice(top, top + int(beyond.argmax()) if beyond.any() else None)
