"""Pure foreground colours of a picture whose opacity is known: multi-level estimation of the soft pixels.

Where a pixel is opaque its colour is known, where it is transparent it is not seen. Only what lies between is
estimated, on a pyramid that holds the soft pixels and what they shrink to, and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import RangeError
from ..types import AnyArray, FloatArray, check_image, check_mask, check_same_size
from .foreground_compat import estimate_foreground_compat, to_unit

__all__ = ["estimate_foreground", "estimate_layers"]

_Index: TypeAlias = NDArray[np.intp]

_TRANSPARENT_TO = 1 / 510  # half a step of 8 bits; what opacity is farther from 0 and 1 is soft
_OPAQUE_FROM = 1 - _TRANSPARENT_TO
_REGULARIZATION = 1e-3
_SMALL = 32  # pixels a side up to which a level counts as small
_SMALL_SWEEPS, _SWEEPS = 10, 4
_BLOCK = 1 << 14  # pixels worked on together: what they need stays in the cache
_FOREGROUND, _BACKGROUND = slice(3), slice(3, 6)  # among the six numbers of a pixel
_BESIDE = ((0, -1), (0, 1), (-1, 0), (1, 0))
_SAMPLES = 256  # a side, for the mean colours that everything starts from


class _Picture(NamedTuple):
    """The full picture, from which every level takes its pixels."""

    colors: AnyArray  # (H, W, 3)
    alpha: FloatArray  # (H, W)
    regularization: np.float32
    gradient_weight: np.float32


class _Level(NamedTuple):
    """The soft pixels of one level: side by side, `2 ** step` pixels of the picture are one."""

    step: int
    size_hw: tuple[int, int]
    places: _Index  # (N,) row * width + column, ascending


class _Block(NamedTuple):
    """Some pixels of a level that do not touch, as on a chessboard, and what a sweep needs of them."""

    pixels: _Index  # (N,) which of the level
    neighbours: _Index  # (4, N) where they stand in the state
    weights: FloatArray  # (2, 4, N) of the neighbours' foreground and background, each four 1 together
    gains: FloatArray  # (2, N) how far foreground and background follow what the mixture misses
    alpha: FloatArray  # (N,)
    colors: FloatArray  # (3, N)


def estimate_foreground(
    image: AnyArray,
    alpha: AnyArray,
    *,
    regularization: float | None = None,
    gradient_weight: float = 1.0,
    compat: bool = False,
) -> FloatArray:
    """The colours the foreground has by itself, without the background that shines through.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1]; RGB.
        alpha: (H, W) float in [0, 1], 0 = transparent, 1 = opaque.
        regularization: How strongly neighbours pull each other's colours together everywhere, above 0. None:
            1e-3, which keeps noise out of the colours of nearly transparent pixels; 1e-5 with `compat`.
        gradient_weight: How strongly neighbours pull across a change of alpha, 0 or more.
        compat: The numbers of PyMatting's `estimate_foreground_ml`, to the last bit; slower, and on pictures
            composited from known colours less exact.

    Returns:
        (H, W, 3) float32 in [0, 1]; RGB. The image's own colours where alpha is within 1/510 of 0 or 1, unless
        `compat`.

    Raises:
        ShapeError: The arrays are no image and alpha of one size.
        RangeError: Values outside their range or not finite, or a parameter outside its own.

    Example:
        >>> image = np.array([[[0.0, 0.0, 1.0], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]]])
        >>> alpha = np.array([[0.0, 0.5, 1.0]])
        >>> estimate_foreground(image, alpha)[0, 1].round(2)
        array([1., 0., 0.], dtype=float32)

    Reference:
        Germer, Uelwer, Conrad, Harmeling: Fast Multi-Level Foreground Estimation. ICPR 2020,
        arXiv:2006.14970.
    """
    check_image(image)
    alpha = check_mask(alpha, "alpha")
    check_same_size(image, alpha, ("image", "alpha"))
    if regularization is None:
        regularization = 1e-5 if compat else _REGULARIZATION
    if not 0 < np.float32(regularization) < np.inf:
        raise RangeError("regularization", expected="above 0", got=f"{regularization:g}", hint="leave it out")
    if not 0 <= gradient_weight < np.inf:
        raise RangeError("gradient_weight", expected="0 or more", got=f"{gradient_weight:g}", hint="leave it at 1.0")
    picture = _Picture(image, alpha, np.float32(regularization), np.float32(gradient_weight))
    if compat:
        return estimate_foreground_compat(*picture)
    return _separate(picture, (_FOREGROUND,))[0]


def estimate_layers(image: AnyArray, alpha: FloatArray) -> tuple[FloatArray, ...]:
    """The foreground as by `estimate_foreground`, and the background as by it from 1 - alpha, both (H, W, 3).

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1]; RGB.
        alpha: (H, W) float32 in [0, 1], 0 = transparent, 1 = opaque.
    """
    return _separate(_Picture(image, alpha, np.float32(_REGULARIZATION), np.float32(1)), (_FOREGROUND, _BACKGROUND))


def _separate(picture: _Picture, layers: tuple[slice, ...]) -> tuple[FloatArray, ...]:
    """(H, W, 3) the colours of each of these layers; the picture's own where it is not soft."""
    levels = _levels(picture.alpha)
    places = levels[0].places
    separated = tuple(to_unit(picture.colors) for _ in layers)
    if places.size:
        estimates = _estimate(picture, levels)
        for colors, layer in zip(separated, layers, strict=True):
            colors.reshape(-1, 3)[places] = estimates[layer].T
    return separated


def _levels(alpha: FloatArray) -> list[_Level]:
    """The levels from the full size down to one pixel; each holds the halved soft pixels of the one before."""
    levels = [_Level(0, (alpha.shape[0], alpha.shape[1]), np.flatnonzero(_is_soft(alpha)))]
    for step in range(1, (max(alpha.shape) - 1).bit_length() + 1):
        finer = levels[-1]
        height, width = (((size - 1) >> step) + 1 for size in alpha.shape)
        rows, cols = (
            _middles(np.arange(to), step, size) for to, size in zip((height, width), alpha.shape, strict=True)
        )
        soft = _is_soft(alpha[np.ix_(rows, cols)])
        y, x = np.divmod(finer.places, finer.size_hw[1])
        soft[y >> 1, x >> 1] = True
        levels.append(_Level(step, (height, width), np.flatnonzero(soft)))
    return levels


def _is_soft(alpha: FloatArray) -> NDArray[np.bool_]:
    soft: NDArray[np.bool_] = (alpha > _TRANSPARENT_TO) & (alpha < _OPAQUE_FROM)
    return soft


def _middles(numbers: _Index, step: int, size: int) -> _Index:
    """The row or column of the picture that stands for each row or column of a level."""
    middles: _Index = np.minimum((numbers << step) + (1 << step) // 2, size - 1)
    return middles


def _estimate(picture: _Picture, levels: list[_Level]) -> FloatArray:
    """(6, N) foreground and background of the soft pixels, from coarse to fine."""
    colors = _start(picture)[:, np.newaxis]  # (6,) -> (6, 1)
    before = levels[-1]
    for level in reversed(levels):
        y, x = np.divmod(level.places, level.size_hw[1])
        if level is not before:
            y, x = y >> 1, x >> 1
        colors = colors[:, np.searchsorted(before.places, y * before.size_hw[1] + x)]
        colors = _relax(picture, level, colors)
        before = level
    return colors


def _start(picture: _Picture) -> FloatArray:
    """(6,) mean colour of the foreground and of the background, from a sample of the pixels."""
    step = max(1, max(picture.alpha.shape) // _SAMPLES)
    alpha = picture.alpha[::step, ::step].ravel().astype(np.float64)
    colors = to_unit(picture.colors[::step, ::step]).reshape(-1, 3)
    means = [weights @ colors / max(weights.sum(), 1e-5) for weights in (alpha, 1 - alpha)]
    return np.concatenate(means).astype(np.float32)


def _relax(picture: _Picture, level: _Level, start: FloatArray) -> FloatArray:
    """(6, N) the colours of a level, every second pixel in turn drawn towards its neighbours and the picture."""
    state, size = [start], start.shape[1]
    y, x = np.divmod(level.places, level.size_hw[1])
    blocks = []
    for parity in (0, 1):
        pixels = np.flatnonzero((y + x) & 1 == parity)
        for first in range(0, pixels.size, _BLOCK):
            part = pixels[first : first + _BLOCK]
            block, fixed = _prepare(picture, level, part, start[:, part], size)
            blocks.append(block)
            state.append(fixed)
            size += fixed.shape[1]
    # Plane by plane in memory: taking from anything else would copy the whole each time.
    colors = np.ascontiguousarray(np.concatenate(state, axis=1))
    for _ in range(_SMALL_SWEEPS if max(level.size_hw) <= _SMALL else _SWEEPS):
        for block in blocks:
            _sweep(colors, block)
    return colors[:, : start.shape[1]]


def _prepare(
    picture: _Picture, level: _Level, pixels: _Index, start: FloatArray, first_fixed: int
) -> tuple[_Block, FloatArray]:
    """A block, and the (6, M) colours of neighbours that are not soft, to stand in the state from `first_fixed` on."""
    height, width = level.size_hw
    places = level.places[pixels]
    y, x = np.divmod(places, width)
    at = _source(picture, level.step, y, x)
    alpha, colors = picture.alpha.ravel()[at], _pick_colors(picture, at)
    # The four neighbours of each pixel at once: (4, N).
    down, right = (np.array(steps)[:, np.newaxis] for steps in zip(*_BESIDE, strict=True))
    y, x = y + down, x + right
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    place = places + (down * width + right)
    found = np.searchsorted(level.places, place.ravel()).reshape(place.shape).clip(0, level.places.size - 1)
    soft = inside & (level.places[found] == place)
    at = _source(picture, level.step, y.clip(0, height - 1), x.clip(0, width - 1))
    other = picture.alpha.ravel()[at]
    opaque = other > 0.5
    # A neighbour that is not soft has a foreground or a background; for the other the pixel stands itself.
    pull = picture.regularization + picture.gradient_weight * np.abs(alpha - other)
    weights = np.stack([pull * (inside & (soft | opaque)), pull * (inside & (soft | ~opaque))])  # (2, 4, N)
    outside = inside & ~soft
    beside, which = np.nonzero(outside)
    neighbours = np.where(soft, found, pixels)
    neighbours[outside] = first_fixed + np.arange(which.size)
    fixed = start[:, which]
    for part, known in ((_FOREGROUND, opaque[outside]), (_BACKGROUND, ~opaque[outside])):
        fixed[part, known] = _pick_colors(picture, at[beside[known], which[known]])
    weights, gains = _gains(weights, alpha, picture.regularization)
    return _Block(pixels, neighbours, weights, gains, alpha, colors), fixed


def _source(picture: _Picture, step: int, y: _Index, x: _Index) -> _Index:
    """(N,) which pixels of the picture stand for pixels of a level."""
    height, width = picture.alpha.shape
    source: _Index = _middles(y, step, height) * width + _middles(x, step, width)
    return source


def _pick_colors(picture: _Picture, at: _Index) -> FloatArray:
    """(3, N) colours of pixels of the picture."""
    return np.ascontiguousarray(to_unit(picture.colors.reshape(-1, 3)[at]).T)  # (N, 3) -> (3, N)


def _gains(weights: FloatArray, alpha: FloatArray, hold: np.float32) -> tuple[FloatArray, FloatArray]:
    """The weights brought to a sum of 1, and the gains.

    A pixel's colours minimise (alpha F + (1 - alpha) B - I)^2 + sum of weight (F - F_n)^2 + the same for B. With the
    weighted means of the neighbours, F = mean + gain r, where r is what the mixture of the means misses of I.
    """
    totals = weights.sum(axis=1)  # (2, 4, N) -> (2, N)
    # Where no neighbour has one of the two, the pixel holds what it started from.
    weights[:, 0][totals == 0] = totals[totals == 0] = hold
    shares = np.stack([alpha, 1 - alpha])
    gains = shares * totals[::-1]
    gains /= totals[0] * totals[1] + (shares * gains).sum(axis=0)
    weights /= totals[:, np.newaxis]
    return weights, gains


def _sweep(colors: FloatArray, block: _Block) -> None:
    """Renew the pixels of a block in the state (6, N + fixed)."""
    size = block.pixels.size
    layers = colors.reshape(2, 3, -1)  # (6, M) -> foreground and background (2, 3, M)
    weights = block.weights[:, :, np.newaxis]  # (2, 4, N) -> (2, 4, 1, N)
    mean = colors.take(block.neighbours[0], axis=1).reshape(2, 3, size)
    mean *= weights[:, 0]
    for beside in (1, 2, 3):
        other = colors.take(block.neighbours[beside], axis=1).reshape(2, 3, size)
        other *= weights[:, beside]
        mean += other
    missed = block.colors - block.alpha * mean[0] - (1 - block.alpha) * mean[1]
    mean += block.gains[:, np.newaxis] * missed
    layers[..., block.pixels] = mean.clip(0, 1, out=mean)
