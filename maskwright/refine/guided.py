"""Opacity as a local affine function of colour: the guided filter, for previews and for enlarging a small solution.

In a small window the opacity of an edge is nearly an affine function of the colours there. Fitted on a small picture,
the functions are enlarged and applied to the full one, whose detail they take up.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..geometry import resize, resize_map
from ..types import AnyArray, FloatArray, check_image, check_mask, check_same_size, to_8_bit
from .trimap import edge_weight

__all__ = [
    "apply_affine",
    "enlarge_tile",
    "fit_affine",
    "guided_alpha",
    "merge_edge",
    "scaled_hw",
    "shrink_pair",
    "tiles_where",
    "unit_colors",
]

_TILE = 64  # pixels; the side of what is worked on at a time
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
    """The affine functions' values, in [0, 1], at colours of the same or of a larger size.

    Args:
        affine: (4, h, w) from `fit_affine`.
        colors: (H, W, 3) in [0, 1].
    """
    size_hw = colors.shape[:2]
    if affine.shape[1:] != size_hw:
        affine = enlarge_tile(affine, size_hw, (slice(0, size_hw[0]), slice(0, size_hw[1])))
    value: FloatArray = affine[3].copy()
    for channel in range(3):
        value += affine[channel] * colors[..., channel]
    return value.clip(0, 1, out=value)


def merge_edge(image: AnyArray, mask: FloatArray, affine: FloatArray, weight: FloatArray) -> FloatArray:
    """The mask with its edge replaced by the affine functions' values, tile by tile where there is an edge.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1].
        mask: (H, W) float32 in [0, 1].
        affine: (4, h, w) from `fit_affine`.
        weight: (h, w) in [0, 1], how much of the value replaces the mask.
    """
    alpha = np.array(mask)
    maps = np.concatenate([affine, weight[np.newaxis]])  # (4, h, w), (h, w) -> (5, h, w)
    for tile in tiles_where(weight, mask.shape):
        *slopes, offset, share = enlarge_tile(maps, mask.shape, tile)
        colors = image[tile]
        scale = np.float32(1 / np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1)
        value = offset
        for channel, slope in enumerate(slopes):
            value += slope * (colors[..., channel].astype(np.float32) * scale)
        np.clip(value, 0, 1, out=value)
        value -= mask[tile]
        value *= share
        alpha[tile] += value
    return alpha.clip(0, 1, out=alpha)


def tiles_where(small: FloatArray, size_hw: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """The tiles of a picture in which a small map (h, w), enlarged to it, is not 0, as rows and columns."""
    near = [
        [(slice(start, min(start + _TILE, length)), *_span(start, length, count)) for start in range(0, length, _TILE)]
        for length, count in zip(size_hw, small.shape, strict=True)
    ]
    for rows, top, bottom in near[0]:
        for columns, left, right in near[1]:
            if small[top:bottom, left:right].any():
                yield rows, columns


def _span(start: int, length: int, count: int) -> tuple[int, int]:
    """The first and one past the last of `count` samples that a tile from `start` on is interpolated from."""
    end = min(start + _TILE, length)
    return max(0, start * count // length - 1), min(count, -(-end * count // length) + 1)


def enlarge_tile(maps: FloatArray, size_hw: tuple[int, ...], tile: tuple[slice, slice]) -> FloatArray:
    """A tile of the maps (N, h, w) enlarged to `size_hw`: bilinear, half-pixel centres, clamped at the frame."""
    for axis, part in ((1, tile[0]), (2, tile[1])):
        count, length = maps.shape[axis], size_hw[axis - 1]
        positions = np.clip((np.arange(part.start, part.stop) + 0.5) * (count / length) - 0.5, 0, count - 1)
        first = np.minimum(positions.astype(np.intp), max(count - 2, 0))
        share = (positions - first).astype(np.float32)
        low = maps.take(first, axis=axis)
        high = maps.take(np.minimum(first + 1, count - 1), axis=axis)
        high -= low
        high *= share[:, np.newaxis] if axis == 1 else share
        maps = low + high
    return maps
