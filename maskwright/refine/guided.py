"""Opacity as a local affine function of colour: the guided filter, for previews and for enlarging a small solution.

In a small window the opacity of an edge is nearly an affine function of the colours there. Fitted on a small picture,
the functions are enlarged and applied to the full one, whose detail they take up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..geometry import resize, resize_map
from ..types import AnyArray, FloatArray, check_image, check_mask, check_same_size, to_8_bit
from .trimap import edge_weight

__all__ = [
    "Enlargement",
    "affine_values",
    "apply_affine",
    "fit_affine",
    "fit_affine_at",
    "guided_alpha",
    "merge_edge",
    "scaled_hw",
    "shrink_pair",
    "unit_colors",
]

Bits: TypeAlias = NDArray[np.bool_]
Index: TypeAlias = NDArray[np.intp]
Pixels: TypeAlias = tuple[Index, Index]  # rows and columns

_PIXELS = 1 << 18  # of the picture, looked at together: what they need stays in the cache
_WINDOWS = 4000  # fitted together: what they need stays in the cache
_SIDE = 256  # pixels; the longer side on which the guided filter works
_RADIUS = 2
_ROUNDS = 3
_EPSILON = 1e-4
_LEAST_WEIGHT = np.float32(1e-2)
_PAIRS = ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2))


def guided_alpha(image: AnyArray, mask: AnyArray) -> FloatArray:
    """An approximate opacity in linear time without solving anything, for previews and video.

    A guided filter on a picture of at most 256 pixels, three rounds, in which what is sure counts more; its affine
    functions are then applied to the full picture. Outside the mask's soft edge the mask stays as it is.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1]; RGB.
        mask: (H, W) float in [0, 1] or bool; 1 = selected.

    Returns:
        (H, W) float32 in [0, 1], 0 = transparent, 1 = opaque.

    Raises:
        ShapeError: The arrays are no image and mask of one size.
        RangeError: Values outside their range or not finite.

    Example:
        >>> image = np.zeros((8, 8, 3))
        >>> image[:, 4:] = 1
        >>> mask = np.tile(np.linspace(0, 1, 8), (8, 1))
        >>> bool(np.abs(guided_alpha(image, mask)[:, 3:5] - [0, 1]).max() < np.abs(mask[:, 3:5] - [0, 1]).max())
        True

    References:
        He, Sun, Tang: Guided Image Filtering. ECCV 2010. He, Sun: Fast Guided Filter. arXiv:1505.00996, 2015.
    """
    check_image(image)
    mask = check_mask(mask)
    check_same_size(image, mask, ("image", "mask"))
    colors, small = shrink_pair(image, mask, scaled_hw(mask.shape, _SIDE))
    alpha = small
    for round_ in range(_ROUNDS):
        affine = fit_affine(colors, alpha, (2 * alpha - 1) ** 2 + _LEAST_WEIGHT, _RADIUS, _EPSILON)
        if round_ < _ROUNDS - 1:
            alpha = apply_affine(affine, colors)
    return merge_edge(image, mask, affine, edge_weight(small))


def scaled_hw(size_hw: tuple[int, ...], side: int) -> tuple[int, int]:
    """Height and width with the longer side reduced to `side` pixels; never enlarged.

    >>> scaled_hw((1000, 500), 256)
    (256, 128)
    """
    factor = min(1.0, side / max(size_hw))
    height, width = (max(1, round(length * factor)) for length in size_hw)
    return height, width


def shrink_pair(image: AnyArray, mask: FloatArray, size_hw: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Image and mask at a smaller size, by the mean over areas.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1].
        mask: (H, W) float32 in [0, 1].
        size_hw: Height and width wanted, none larger than now.

    Returns:
        (h, w, 3) float32 in [0, 1], of 8 bits where it was reduced, and (h, w) float32 in [0, 1].
    """
    if mask.shape == size_hw:
        return unit_colors(image), mask
    picture = to_8_bit(image) if image.dtype.kind == "u" else np.rint(image * np.float32(255)).astype(np.uint8)
    return unit_colors(resize(picture, size_hw, "area")), resize_map(mask, size_hw, "area").clip(0, 1)


def unit_colors(image: AnyArray) -> FloatArray:
    """Colours as float32 in [0, 1]."""
    scale = np.float32(np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1)
    colors: FloatArray = image.astype(np.float32) / scale
    return colors


def fit_affine(
    colors: FloatArray, values: FloatArray, weights: FloatArray | None, radius: int, epsilon: float
) -> FloatArray:
    """The affine function of colour that gives each pixel's value best in the windows around it.

    Args:
        colors: (h, w, 3) in [0, 1].
        values: (h, w), what is to be explained.
        weights: (h, w) above 0, how much each pixel counts; None: all the same.
        radius: Of the square windows, pixels.
        epsilon: Resists steep functions; squared colour units of [0, 1].

    Returns:
        (4, h, w) float32: three slopes and an offset, averaged over the windows that hold a pixel.
    """
    weights = np.ones(values.shape, dtype=np.float32) if weights is None else weights
    parts = np.concatenate([np.moveaxis(colors, 2, 0), values[np.newaxis]])  # (4, h, w)
    weighted = weights * parts
    products = [weighted[a] * parts[b] for a, b in _PAIRS]
    total, *sums = _box_sum(np.stack([weights, *weighted, *products]), radius)
    means = [each / total for each in sums[:4]]
    moments = {pair: each / total for pair, each in zip(_PAIRS, sums[4:], strict=True)}
    covariance = {(a, b): moment - means[a] * means[b] for (a, b), moment in moments.items()}
    for a in range(3):
        covariance[a, a] += np.float32(epsilon)
    slopes = _solve3(covariance, [covariance[3, a] for a in range(3)])
    offset = means[3] - sum(slope * center for slope, center in zip(slopes, means[:3], strict=True))
    *smoothed, norm = _box_sum(np.stack([*(total * part for part in (*slopes, offset)), total]), radius)
    affine: FloatArray = np.stack(smoothed) / norm
    return affine


def _box_sum(planes: FloatArray, radius: int) -> FloatArray:
    """(K, h, w) sums over square windows; beyond the frame values go on as at the border."""
    for axis in (1, 2):
        margin = [(radius, radius) if each == axis else (0, 0) for each in range(3)]
        padded = np.swapaxes(np.pad(planes, margin, mode="edge"), 0, axis)
        size = planes.shape[axis]
        total = padded[:size] + padded[1 : size + 1]
        for step in range(2, 2 * radius + 1):
            total += padded[step : size + step]
        planes = np.swapaxes(total, 0, axis)
    return planes


def _solve3(matrix: dict[tuple[int, int], AnyArray], right: list[AnyArray]) -> list[AnyArray]:
    """Solutions of symmetric positive definite 3 x 3 systems, by Cholesky; the lower triangle is given."""
    factor: dict[tuple[int, int], AnyArray] = {}
    forward: list[AnyArray] = []
    for a in range(3):
        for b in range(a + 1):
            rest = matrix[a, b] - sum(factor[a, k] * factor[b, k] for k in range(b))
            factor[a, b] = np.sqrt(rest) if a == b else rest / factor[b, b]
        forward.append((right[a] - sum(factor[a, k] * forward[k] for k in range(a))) / factor[a, a])
    solution = forward
    for a in (2, 1, 0):
        solution[a] = (forward[a] - sum(factor[k, a] * solution[k] for k in range(a + 1, 3))) / factor[a, a]
    return solution


def apply_affine(affine: FloatArray, colors: FloatArray) -> FloatArray:
    """The affine functions' values, in [0, 1], at the colours of each pixel.

    Args:
        affine: (4, h, w) from `fit_affine`.
        colors: (h, w, 3) in [0, 1].
    """
    return affine_values(affine, np.moveaxis(colors, 2, 0))


def affine_values(affine: Iterable[FloatArray], colors: Iterable[FloatArray]) -> FloatArray:
    """Values in [0, 1] of affine functions, three slopes and an offset, at three channels of colours."""
    *slopes, offset = affine
    value: FloatArray = offset.copy()
    for slope, channel in zip(slopes, colors, strict=True):
        value += slope * channel
    value.clip(0, 1, out=value)
    return value


def merge_edge(image: AnyArray, mask: FloatArray, affine: FloatArray, weight: FloatArray) -> FloatArray:
    """The mask with its edge replaced by the affine functions' values.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1].
        mask: (H, W) float32 in [0, 1].
        affine: (4, h, w) from `fit_affine` or `fit_affine_at`.
        weight: (h, w) in [0, 1], how much of the value replaces the mask.
    """
    alpha = np.array(mask)
    maps = np.concatenate([affine, weight[np.newaxis]])  # (4, h, w), (h, w) -> (5, h, w)
    scale = np.float32(1 / np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1)
    enlargement = Enlargement(weight.shape, mask.shape)
    for pixels in enlargement.pixels_where(weight):
        *functions, share = enlargement.values_at(maps, pixels)
        channels = (image[..., channel][pixels].astype(np.float32) * scale for channel in range(3))
        value = affine_values(functions, channels)
        value -= mask[pixels]
        value *= share
        alpha[pixels] += value
    return alpha.clip(0, 1, out=alpha)


class Enlargement:
    """Small maps enlarged to a picture's size, at some of its pixels: bilinear, half-pixel centres.

    Args:
        small_hw: Height and width of the maps.
        size_hw: Height and width of the picture.
    """

    def __init__(self, small_hw: tuple[int, ...], size_hw: tuple[int, ...]) -> None:
        self._small_hw, self._size_hw = small_hw, size_hw
        self._first, self._share = zip(*map(_samples, size_hw, small_hw), strict=True)

    def pixels_where(self, small: FloatArray) -> Iterator[Pixels]:
        """Rows and columns of the pixels where a map (h, w), enlarged, is not 0, a few at a time."""
        near = small != 0
        near[:-1] |= near[1:].copy()
        near[:, :-1] |= near[:, 1:].copy()
        height, width = self._size_hw
        lengths = np.bincount(self._first[1], minlength=near.shape[1])  # how many columns lie right of each sample
        begins = np.cumsum(lengths) - lengths
        step = max(1, _PIXELS // width)
        for start in range(0, height, step):
            rows, samples = np.nonzero(near.take(self._first[0][start : start + step], axis=0))
            if rows.size:
                many = lengths[samples]
                columns = np.repeat(begins[samples] - (np.cumsum(many) - many), many)
                columns += np.arange(columns.size)
                yield np.repeat(rows + start, many), columns

    def values_at(self, maps: FloatArray, pixels: Pixels) -> FloatArray:
        """(N, P) what maps (N, h, w), enlarged, are at the pixels."""
        height, width = self._small_hw
        (top, down), (left, right) = (
            (first.take(places), share.take(places))
            for first, share, places in zip(self._first, self._share, pixels, strict=True)
        )
        planes = maps.reshape(maps.shape[0], -1)  # (N, h, w) -> (N, h * w)
        corner, below = top * width + left, width * (height > 1)
        sides: list[FloatArray] = []
        for beside in (0, int(width > 1)):
            upper = planes.take(corner + beside, axis=1)
            lower = planes.take(corner + (beside + below), axis=1)
            lower -= upper
            lower *= down
            upper += lower
            sides.append(upper)
        enlarged, far = sides
        far -= enlarged
        far *= right
        enlarged += far
        return enlarged


def _samples(length: int, count: int) -> tuple[Index, FloatArray]:
    """The first of the two of `count` samples that each of `length` places lies between; the share of the second."""
    positions = np.clip((np.arange(length) + 0.5) * (count / length) - 0.5, 0, count - 1)
    first = np.minimum(positions.astype(np.intp), max(count - 2, 0))
    return first, (positions - first).astype(np.float32)


def fit_affine_at(colors: FloatArray, values: FloatArray, band: Bits, epsilon: float) -> FloatArray:
    """As `fit_affine` with windows of 3 x 3 and no weights, right in and beside the band; elsewhere the value itself.

    Args:
        colors: (h, w, 3) in [0, 1].
        values: (h, w), what is to be explained.
        band: (h, w), where the functions are wanted.
        epsilon: Resists steep functions; squared colour units of [0, 1].
    """
    affine = np.zeros((4, *values.shape), dtype=np.float32)
    affine[3] = values
    wanted = _widened(band)
    rows, columns = np.nonzero(_widened(wanted))
    # One pixel more on each side, as at the border, so that every pixel has eight others around it.
    padded = np.pad(np.dstack([colors, values]), ((1, 1), (1, 1), (0, 0)), mode="edge")
    width = padded.shape[1]
    parts = np.ascontiguousarray(padded.reshape(-1, 4).T)  # (h + 2, w + 2, 4) -> (4, (h + 2) * (w + 2))
    steps = [(down + 1) * width + right + 1 for down in (-1, 0, 1) for right in (-1, 0, 1)]
    centers = rows * width + columns
    fits = np.empty((4, centers.size), dtype=np.float32)
    for first in range(0, centers.size, _WINDOWS):
        some = slice(first, first + _WINDOWS)
        inside = np.stack([parts.take(centers[some] + step, axis=1) for step in steps])
        fits[:, some] = _fit_windows(inside, epsilon)
    number = np.zeros(values.shape, dtype=np.intp)
    number[rows, columns] = np.arange(rows.size)
    number = np.pad(number, 1, mode="edge")
    rows, columns = np.nonzero(wanted)
    total = np.zeros((4, rows.size), dtype=np.float32)
    for step in steps:
        total += fits.take(number.take(rows * width + columns + step), axis=1)
    affine[:, rows, columns] = total / np.float32(9)
    return affine


def _fit_windows(inside: FloatArray, epsilon: float) -> FloatArray:
    """(4, N) the affine functions of N windows, of whose nine pixels (9, 4, N) has colours and values; overwritten."""
    center = inside.sum(axis=0) / np.float32(9)  # (9, 4, N) -> (4, N)
    inside -= center
    covariance = {(a, b): np.einsum("in,in->n", inside[:, a], inside[:, b]) / np.float32(9) for a, b in _PAIRS}
    for a in range(3):
        covariance[a, a] += np.float32(epsilon)
    slopes = _solve3(covariance, [covariance[3, a] for a in range(3)])
    offset = center[3] - sum(slope * middle for slope, middle in zip(slopes, center[:3], strict=True))
    return np.stack([*slopes, offset])


def _widened(band: Bits) -> Bits:
    """The band and the pixels that touch it, corners included."""
    wide: Bits = band.copy()
    wide[1:] |= band[:-1]
    wide[:-1] |= band[1:]
    tall = wide.copy()
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    return wide
