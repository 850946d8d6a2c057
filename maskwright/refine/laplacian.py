"""The matting Laplacian of the unknown pixels, as equations that `elimination` solves.

Windows are worked on in square tiles that hold unknown pixels, a few tiles at a time: inside a tile the windows
around a pixel are reached by shifting, not by looking up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..types import AnyArray, FloatArray
from .elimination import Equations

__all__ = ["make_equations", "window_products", "window_products_compat"]

_Index: TypeAlias = NDArray[np.intp]
_Double: TypeAlias = NDArray[np.float64]
_Products: TypeAlias = Callable[[_Double], tuple[_Double, _Double]]

_TILE = 8  # pixels a side
_TILES = 64  # tiles at a time: what they need stays in the cache
_PIXELS = 1 << 12  # equations put in order at a time
_WINDOW = [(y, x) for y in range(3) for x in range(3)]
_STENCIL = [(y, x) for y in range(5) for x in range(5)]
_OWN, _RIGHT = 12, 25  # where the diagonal and the right side stand among the 26 numbers of an equation
_UPPER = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]


def make_equations(
    image: AnyArray, known: FloatArray, pixels: tuple[_Index, _Index], order: _Index, products: _Products
) -> Equations:
    """The matting Laplacian among the pixels, and the right side that their known neighbours give.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1]; both sides at least 3.
        known: (H, W), 0 at the pixels, 0 or 1 elsewhere.
        pixels: (N,) row and (N,) column of each unknown pixel.
        order: (N,) the pixels in the order of elimination.
        products: `window_products` or `window_products_compat`, its epsilon set.
    """
    rows, cols = pixels
    tiles_across = known.shape[1] // _TILE + 1
    tile = rows // _TILE * tiles_across + cols // _TILE
    by_tile = np.argsort(tile, kind="stable")
    tile = tile[by_tile]
    starts = np.flatnonzero(np.diff(tile, prepend=-1))
    ends = np.append(starts[_TILES::_TILES], tile.size)
    stencils = np.empty((tile.size, 26))
    for first, end in zip(starts[::_TILES], ends, strict=True):
        part = by_tile[first:end]
        tiles, which = np.unique(tile[first:end], return_inverse=True)
        corners = tiles // tiles_across * _TILE, tiles % tiles_across * _TILE
        place = (rows[part] % _TILE * _TILE + cols[part] % _TILE) * tiles.size + which
        stencils[part] = _tile_stencils(image, known, corners, products)[:, place].T
    return _lower_triangle(stencils, rows, cols, order)


def _tile_stencils(image: AnyArray, known: FloatArray, corners: tuple[_Index, _Index], products: _Products) -> _Double:
    """(26, pixels of a tile * T) the equation of each pixel of T tiles: its 5 x 5 neighbours, its right side."""
    around = np.arange(-2, _TILE + 2)[:, np.newaxis]
    y, x = around + corners[0], around + corners[1]  # (TILE + 4, T) each
    last_y, last_x = known.shape[0] - 1, known.shape[1] - 1
    at = y.clip(0, last_y)[:, np.newaxis], x.clip(0, last_x)[np.newaxis]
    colors = _unit(image[at]).transpose(3, 0, 1, 2)  # (TILE + 4, TILE + 4, T, 3) -> (3, TILE + 4, TILE + 4, T)
    windows = np.stack([_shifted(colors, place, _TILE + 2) for place in _WINDOW])  # (9, 3, TILE + 2, TILE + 2, T)
    left, right = (part.reshape(windows.shape) for part in products(windows.reshape(9, 3, -1)))
    # A window outside the frame says nothing.
    inside = ((y > 0) & (y < last_y))[1:-1, np.newaxis] & ((x > 0) & (x < last_x))[np.newaxis, 1:-1]
    stencils = _add_windows(left, right, inside)
    known_tiles = known[at]
    for neighbour, place in enumerate(_STENCIL):
        if neighbour != _OWN:
            stencils[_RIGHT] -= stencils[neighbour] * _shifted(known_tiles, place, _TILE)
    return stencils.reshape(26, -1)  # (26, TILE, TILE, T) -> (26, TILE * TILE * T)


def _shifted(values: AnyArray, place: tuple[int, int], size: int) -> AnyArray:
    """The part (..., size, size, T) that starts at `place`."""
    y, x = place
    return values[..., y : y + size, x : x + size, :]


def _add_windows(left: _Double, right: _Double, inside: NDArray[np.bool_]) -> _Double:
    """(26, TILE, TILE, T) what all windows give to the equations; the right sides are 0."""
    stencils = np.zeros((26, _TILE, _TILE, inside.shape[-1]))
    weight = inside / 9
    share = np.empty(weight.shape)
    complete = inside.all()
    for i, (row, column) in enumerate(_WINDOW):
        first = (2 - row, 2 - column)  # the windows in which a pixel is number i
        stencils[_OWN] += _shifted(inside, first, _TILE)
        for j in range(i, 9):
            np.einsum("cyxt,cyxt->yxt", left[i], right[j], out=share)
            if not complete:
                share *= inside
            share += weight
            other = (2 - _WINDOW[j][0], 2 - _WINDOW[j][1])
            offset = (first[0] - other[0]) * 5 + first[1] - other[1]
            stencils[_OWN + offset] -= _shifted(share, first, _TILE)
            if offset:
                stencils[_OWN - offset] -= _shifted(share, other, _TILE)
    return stencils


def _lower_triangle(stencils: _Double, rows: _Index, cols: _Index, order: _Index) -> Equations:
    """The stencils of all pixels as one symmetric system, in the order given."""
    count = order.size
    y, x = rows[order] - rows.min() + 2, cols[order] - cols.min() + 2
    width = x.max() + 3
    place = y * width + x
    number = np.full((y.max() + 3) * width, -1)  # of the pixel at a place, -1 where it is known
    number[place] = np.arange(count)
    shifts = [(dy - 2) * width + dx - 2 for dy, dx in _STENCIL]
    found, values, counts = [], [], []
    for first in range(0, count, _PIXELS):
        part = slice(first, first + _PIXELS)
        neighbours = np.full((order[part].size, 26), count)
        for neighbour, shift in enumerate(shifts):
            neighbours[:, neighbour] = number[place[part] + shift]
        below = neighbours >= np.arange(count)[part, np.newaxis]
        found.append(neighbours[below])
        values.append(stencils[order[part]][below])
        counts.append(np.count_nonzero(below, axis=1))
    starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return Equations(starts, np.concatenate(found), np.concatenate(values))


def _unit(colors: AnyArray) -> _Double:
    """Colours as float64 in [0, 1]."""
    scale = np.iinfo(colors.dtype).max if colors.dtype.kind == "u" else 1
    return colors.astype(np.float64) / scale


def window_products(colors: _Double, epsilon: float) -> tuple[_Double, _Double]:
    """Factors of the Mahalanobis products between the colours of each window, over 9.

    Both are the centred colours divided by the Cholesky factor of their regularised covariance, which keeps
    its digits where the colours lie on one line; the explicit inverse of the covariance loses them.

    Args:
        colors: (9, 3, N), the pixels of N windows; overwritten.
        epsilon: Added to the sum of squares of each channel.

    Returns:
        Two arrays (9, 3, N); `(left[i] * right[j]).sum(axis=0)` is a ninth of the product of pixels i and j.
    """
    colors -= colors.sum(axis=0) / 9
    # Sums of squares instead of the covariance leave out a 9, and the products come out divided by it.
    spread = {(a, b): np.einsum("in,in->n", colors[:, a], colors[:, b]) for a, b in _UPPER}
    term = np.empty_like(colors[:, 0])
    for a in range(3):
        spread[a, a] += epsilon
    for a in range(3):  # Gram-Schmidt in the order of a Cholesky factorisation
        scale = 1 / np.sqrt(spread[a, a])
        colors[:, a] *= scale
        for b in range(a + 1, 3):
            spread[a, b] *= scale
            np.multiply(colors[:, a], spread[a, b], out=term)
            colors[:, b] -= term
        for b in range(a + 1, 3):
            for c in range(b, 3):
                spread[b, c] -= spread[a, b] * spread[a, c]
    return colors, colors


def window_products_compat(colors: _Double, epsilon: float) -> tuple[_Double, _Double]:
    """The same factors by PyMatting's arithmetic, operation by operation: its rounding shows in alpha.

    Reference:
        PyMatting 1.1, `cf_laplacian`.
    """
    c = colors - reduce(np.add, colors) / 9
    a = np.zeros((3, 3, colors.shape[2]))
    for i, j in _UPPER:
        start = epsilon if i == j else 0.0
        a[i, j] = a[j, i] = reduce(lambda total, pixel: total + pixel[i] * pixel[j], c, start) / 9
    a00, a01, a02, a11, a12, a22 = (a[i, j] for i, j in _UPPER)
    inverse_determinant = 1 / (
        a00 * a12 * a12 + a01 * a01 * a22 + a02 * a02 * a11 - a00 * a11 * a22 - 2 * a01 * a02 * a12
    )
    m00, m01, m02 = a12 * a12 - a11 * a22, a01 * a22 - a02 * a12, a02 * a11 - a01 * a12
    m11, m12, m22 = a02 * a02 - a00 * a22, a00 * a12 - a01 * a02, a01 * a01 - a00 * a11
    rows = np.stack([m00, m01, m02, m01, m11, m12, m02, m12, m22]).reshape(3, 3, -1) * inverse_determinant
    return np.stack([rows[:, 0] * p[0] + rows[:, 1] * p[1] + rows[:, 2] * p[2] for p in c]), c / 9
