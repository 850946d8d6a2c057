"""Pure foreground colours as PyMatting estimates them, without compiled code.

Each level is swept pixel by pixel in reading order, every pixel using what its left and upper neighbours
have just become. Pixels of one anti-diagonal do not see each other, so a sweep by anti-diagonals gives the
same numbers. Bands of rows are laid out for that: one anti-diagonal after the other, each contiguous, so
that the pixel at row y and column x of a band stands at [x + y, y], and the steps to its neighbours are the
same everywhere.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..types import AnyArray, FloatArray

__all__ = ["estimate_foreground_compat", "to_unit"]

_Index: TypeAlias = NDArray[np.intp]
_Double: TypeAlias = NDArray[np.float64]
_Weights: TypeAlias = tuple[np.float32, np.float32]  # regularization, gradient_weight

_SURELY_FOREGROUND = 0.9
_SURELY_BACKGROUND = 0.1
_SMALL = 32  # pixels a side up to which a level counts as small
_SMALL_SWEEPS, _SWEEPS = 10, 2
_BAND = 1024  # rows laid out at a time: more need memory, fewer make short diagonals
_CHUNK = 1 << 14  # pixels whose coefficients are held at a time


def estimate_foreground_compat(
    image: AnyArray, alpha: FloatArray, regularization: np.float32, gradient_weight: np.float32
) -> FloatArray:
    """(H, W, 3) float32, the numbers of PyMatting's `estimate_foreground_ml`, to the last bit.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1]; RGB.
        alpha: (H, W) float32 in [0, 1], 0 = transparent, 1 = opaque.
        regularization: How strongly neighbours pull each other's colours together everywhere, above 0.
        gradient_weight: How strongly neighbours pull across a change of alpha, 0 or more.

    Reference:
        PyMatting 1.1, `estimate_foreground_ml`.
    """
    weights = regularization, gradient_weight
    both = _start(image, alpha)
    for size_hw in _levels(alpha.shape):
        both = _level(image, alpha, both, size_hw, _SMALL_SWEEPS if max(size_hw) <= _SMALL else _SWEEPS, weights)
    return np.ascontiguousarray(both[0].transpose(1, 2, 0))  # (2, 3, H, W) -> (H, W, 3)


def _levels(size_hw: tuple[int, ...]) -> list[tuple[int, int]]:
    """Height and width of each level, from 1 x 1 to the full size, about doubling."""
    height, width = size_hw
    count = int(np.ceil(np.log2(max(height, width))))
    if count == 0:
        return [(1, 1)]
    return [(round(height ** (i / count)), round(width ** (i / count))) for i in range(count + 1)]


def _start(image: AnyArray, alpha: FloatArray) -> FloatArray:
    """(2, 3, 1, 1) mean colour of what is surely foreground, and of what is surely background."""
    means = [_mean(image[alpha > _SURELY_FOREGROUND]), _mean(image[alpha < _SURELY_BACKGROUND])]
    return np.stack(means).reshape(2, 3, 1, 1)  # (2, 3) -> (2, 3, 1, 1)


def _mean(colors: AnyArray) -> FloatArray:
    """(N, 3) -> (3,) mean, 0 of none; summed in order in float32, which is how the original rounds."""
    total = np.zeros(3, dtype=np.float32)
    for start in range(0, len(colors), _CHUNK):
        part = np.concatenate([total[np.newaxis], to_unit(colors[start : start + _CHUNK])])
        total = np.cumsum(part, axis=0, dtype=np.float32)[-1]
    return (total / (len(colors) + 1e-5)).astype(np.float32)


def to_unit(colors: AnyArray) -> FloatArray:
    """Colours as new float32 in [0, 1]; integers are divided in float64 first, as PyMatting's users do."""
    if colors.dtype.kind == "f":
        return colors.astype(np.float32)
    top = np.iinfo(colors.dtype).max
    return (np.arange(top + 1) / top).astype(np.float32)[colors]


def _level(
    image: AnyArray,
    alpha: FloatArray,
    before: FloatArray,
    size_hw: tuple[int, int],
    iterations: int,
    weights: _Weights,
) -> FloatArray:
    """(2, 3, h, w) foreground and background of one level from those of the level before."""
    rows, cols = _nearest(before.shape[2:], size_hw)
    both = before.take(cols, axis=3).take(rows, axis=2)  # (2, 3, h', w') -> (2, 3, h + 2, w + 2)
    rows, cols = _nearest(alpha.shape, size_hw)
    for _ in range(iterations):
        _renew_rim(both)
        for top in range(0, size_hw[0], _BAND):
            band = np.ix_(rows[top : top + _BAND + 2], cols)
            _sweep(both[:, :, top : top + _BAND + 2], to_unit(image[band]), alpha[band], weights)
    return both[:, :, 1:-1, 1:-1]


def _nearest(from_hw: tuple[int, ...], to_hw: tuple[int, int]) -> tuple[_Index, _Index]:
    """Source row of each row and source column of each column, each end once more."""
    rows, cols = (
        np.pad(np.arange(to) * source // to, 1, mode="edge") for source, to in zip(from_hw, to_hw, strict=True)
    )
    return rows, cols


def _renew_rim(both: FloatArray) -> None:
    """Copy the outermost pixels outwards: beyond the frame a pixel neighbours itself, with its old value."""
    both[:, :, 0], both[:, :, -1] = both[:, :, 1], both[:, :, -2]
    both[..., 0], both[..., -1] = both[..., 1], both[..., -2]


def _sweep(both: FloatArray, colors: FloatArray, alpha: FloatArray, weights: _Weights) -> None:
    """One sweep in place over a band (2, 3, rows + 2, width + 2): all but its outermost rows and columns."""
    rows, width = alpha.shape[0] - 2, alpha.shape[1] - 2
    state, state_view = _diagonals(both)
    colors, _ = _diagonals(colors.transpose(2, 0, 1))  # (rows + 2, width + 2, 3) -> (D, 3, rows + 2)
    opacity, _ = _diagonals(alpha)  # (rows + 2, width + 2) -> (D, rows + 2)
    buffers = np.empty((2, 2, 3, rows), dtype=np.float32), np.empty((2, 2, 3, rows))
    step = max(1, _CHUNK // rows)
    for first in range(2, width + rows + 1, step):  # the diagonals 0, 1 and the last two lie on the rim
        last = min(first + step, width + rows + 1)
        coefficients = _coefficients(colors[first:last], opacity[first - 1 : last + 1], weights)
        for d in range(first, last):
            low, high = max(1, d - width), min(rows, d - 1) + 1
            neighbours = (
                state[d - 1, ..., low:high],  # left
                state[d + 1, ..., low:high],  # right
                state[d - 1, ..., low - 1 : high - 1],  # above
                state[d + 1, ..., low + 1 : high + 1],  # below
            )
            own = [part[d - first, ..., low - 1 : high - 1] for part in coefficients]
            _update(state[d, ..., low:high], neighbours, own, buffers)
    both[:, :, 1:-1, 1:-1] = state_view[:, :, 1:-1, 1:-1]


def _diagonals(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A copy of (..., H, W) as (H + W - 1, ..., H), 0 in the corners; and its view as (..., H, W)."""
    *planes, height, width = values.shape
    skewed = np.zeros((height + width - 1, *planes, height), dtype=np.float32)
    diagonal, *steps, row = skewed.strides
    view = np.lib.stride_tricks.as_strided(skewed, values.shape, (*steps, diagonal + row, diagonal))
    view[...] = values
    return skewed, view


def _coefficients(colors: FloatArray, opacity: FloatArray, weights: _Weights) -> tuple[AnyArray, ...]:
    """What a sweep needs of some diagonals besides their neighbours' colours.

    The widths of the floats are the original's.

    Args:
        colors: (D, 3, rows + 2), the diagonals.
        opacity: (D + 2, rows + 2), the diagonals with the one before and the one after.
        weights: Regularization and gradient weight.

    Returns:
        (D, 4, rows) float32, the weights of the neighbours to the left, right, above, below; (D, 2, 3, rows)
        float32, the picture's share of the right side; and (D, 2, 1, rows) and (D, rows) float64, the
        diagonal and the other entry of the inverse of each pixel's 2 x 2 system.
    """
    regularization, gradient_weight = weights
    alpha = opacity[1:-1, 1:-1]  # (D + 2, rows + 2) -> (D, rows)
    beside = [opacity[:-2, 1:-1], opacity[2:, 1:-1], opacity[:-2, :-2], opacity[2:, 2:]]
    pulls = [regularization + gradient_weight * np.abs(alpha - neighbour) for neighbour in beside]
    clear = 1 - alpha.astype(np.float64)
    colors = colors[..., 1:-1]  # (D, 3, rows + 2) -> (D, 3, rows)
    fixed = np.empty((len(alpha), 2, *colors.shape[1:]), dtype=np.float32)
    np.multiply(alpha[:, np.newaxis], colors, out=fixed[:, 0])
    np.multiply(clear[:, np.newaxis], colors, out=fixed[:, 1], casting="same_kind")
    a00, a01, a11 = alpha * alpha, alpha * clear, clear * clear
    for pull in pulls:
        a00 += pull
        a11 += pull
    inverse_determinant = 1 / (a00 * a11 - a01 * a01)
    direct = np.stack([a11 * inverse_determinant, a00 * inverse_determinant], axis=1)  # (D, 2, rows)
    return np.stack(pulls, axis=1), fixed, direct[:, :, np.newaxis], inverse_determinant * -a01


def _update(
    solved: FloatArray,
    neighbours: tuple[FloatArray, ...],
    coefficients: list[AnyArray],
    buffers: tuple[FloatArray, _Double],
) -> None:
    """Solve the 2 x 2 systems of one diagonal and write the colours to `solved`, (2, 3, N)."""
    pulls, fixed, direct, cross = coefficients
    count = cross.size
    right, pulled = buffers[0][..., :count]
    wide, mixed = buffers[1][..., :count]
    np.multiply(pulls[0], neighbours[0], out=pulled)
    np.add(fixed, pulled, out=right)
    for pull, neighbour in zip(pulls[1:], neighbours[1:], strict=True):
        np.multiply(pull, neighbour, out=pulled)
        np.add(right, pulled, out=right)
    wide[...] = right
    np.multiply(cross, wide[::-1], out=mixed)
    np.multiply(direct, wide, out=wide)
    np.add(wide, mixed, out=wide)
    np.minimum(wide, 1, out=wide)
    np.maximum(wide, 0, out=solved, casting="same_kind")
