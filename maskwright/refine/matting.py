"""Opacity from a picture and a soft mask, coarse to fine: what `alpha_matting` does unless it is told otherwise.

Closed-form matting, with the mask as a prior that counts more the surer it is, solved for the mask's edge alone on small
pictures of growing size. Each solution is the prior of the next; the last one is enlarged by its local affine functions
of colour. What is solved for is bounded, whatever the size of the picture; the rest is linear in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import EmptyTrimap, RangeError
from ..types import AnyArray, FloatArray, check_image, check_mask, check_same_size
from .guided import apply_affine, fit_affine, merge_edge, scaled_hw, shrink_pair
from .trimap import edge_weight

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["refine_alpha"]

_Bits: TypeAlias = NDArray[np.bool_]
_Double: TypeAlias = NDArray[np.float64]
_Index: TypeAlias = NDArray[np.intp]

_COARSEST = 128  # pixels; the longer side of the first solution
_EPSILON = 1e-5  # of the matting windows
_MASK_PULL = 3e-3  # how much a sure pixel of the mask counts against the colours
_LEVEL_PULL = 5e-2  # how much the solution of the level before counts
_LEAST_PULL = 1e-6
_AFFINE_EPSILON = 1e-4
_ITERATIONS = 300
_TOLERANCE = 1e-4  # of the residual
_WINDOW = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


def refine_alpha(
    image: AnyArray, mask: AnyArray, *, previous: AnyArray | None = None, side: int = 512
) -> FloatArray:
    """The opacity of a soft mask's edge by the picture's colours; elsewhere the mask as it is.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1]; RGB.
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        previous: (H, W) float in [0, 1], the opacity found for the frame before. Where it agrees with the mask, it
            steadies the result and shortens the work.
        side: Longer side of the picture at which the last system is solved, in pixels, 16 or more.

    Returns:
        (H, W) float32 in [0, 1], 0 = transparent, 1 = opaque.

    Raises:
        ShapeError: The arrays are not of one size.
        RangeError: Values outside their range or not finite, or a side under 16.

    Example:
        >>> image = np.zeros((24, 24, 3))
        >>> image[:, 12:] = 0.8
        >>> mask = np.tile(np.linspace(-1, 2, 24).clip(0, 1), (24, 1))
        >>> refine_alpha(image, mask)[12, 10:14].round(1)
        array([0., 0., 1., 1.], dtype=float32)

    References:
        Levin, Lischinski, Weiss: A Closed-Form Solution to Natural Image Matting. IEEE TPAMI 30(2), 2008.
        He, Sun: Fast Guided Filter. arXiv:1505.00996, 2015 (the enlargement).
    """
    check_image(image)
    mask = check_mask(mask)
    check_same_size(image, mask, ("image", "mask"))
    if not side >= 16:
        raise RangeError("side", expected="16 pixels or more", got=f"{side:g}", hint="usual is 512")
    sizes = _sizes(mask.shape, int(side))
    finest, small = shrink_pair(image, mask, sizes[-1])
    prior: _Double | None = None
    if previous is not None:
        previous = check_mask(previous, "previous")
        check_same_size(image, previous, ("image", "previous"))
        sizes = sizes[-1:]
        prior = shrink_pair(finest, previous, sizes[-1])[1] if previous.shape == sizes[-1] else None
    for size_hw in sizes:
        colors, coarse = shrink_pair(finest, small, size_hw)
        weight = edge_weight(coarse)
        if prior is None:
            prior, pull = coarse.astype(np.float64), _MASK_PULL * (2 * coarse - 1) ** 2 + _LEAST_PULL
        else:
            prior, pull = apply_affine(affine, colors), np.full(coarse.shape, _LEVEL_PULL)
        alpha = _solve(colors, coarse, weight > 0, prior, pull)
        affine = fit_affine(colors, alpha, None, 1, _AFFINE_EPSILON)
    if mask.shape == sizes[-1]:
        return (mask + weight * (alpha - mask)).astype(np.float32)
    return merge_edge(image, mask, affine, weight)


def _sizes(size_hw: tuple[int, ...], side: int) -> list[tuple[int, int]]:
    """Height and width of each level, the longer side doubling up to `side` or the picture's own."""
    sides = [_COARSEST]
    while sides[-1] < min(side, max(size_hw)):
        sides.append(2 * sides[-1])
    sides[-1] = side
    return list(dict.fromkeys(scaled_hw(size_hw, each) for each in sides))


def _solve(colors: _Double, known: FloatArray, band: _Bits, prior: _Double, pull: _Double) -> _Double:
    """Alpha of the band's pixels, which the windows' colours and the prior agree on best; elsewhere `known`.

    Args:
        colors: (h, w, 3) in [0, 1].
        known: (h, w) in [0, 1].
        band: (h, w), what is solved for.
        prior: (h, w) in [0, 1], what alpha would be without colours.
        pull: (h, w) above 0, how much that counts.
    """
    alpha = known.astype(np.float64)
    rows, columns = np.nonzero(band)
    if not rows.size:
        return alpha
    alpha[band] = 0
    matrix, right = _equations(colors, alpha, (rows, columns))
    matrix.setdiag(matrix.diagonal() + pull[band])
    alpha[band] = _conjugate_gradients(matrix, right + pull[band] * prior[band], prior[band]).clip(0, 1)
    return alpha


def _equations(colors: _Double, known: _Double, pixels: tuple[_Index, _Index]) -> tuple[csr_array, _Double]:
    """The matting Laplacian among the pixels, and the right side that known pixels, 0 elsewhere, give."""
    from scipy.sparse import csr_array

    count, (height, width) = pixels[0].size, known.shape
    flat = pixels[0] * width + pixels[1]
    stencil = _stencil(colors, pixels)[:, flat]  # (25, h * w) -> (25, N)
    # A window never reaches beyond the frame: what would lie there has a coefficient of 0, whatever it is called.
    offsets = np.array([dy * width + dx for dy in range(-2, 3) for dx in range(-2, 3)])
    beside = (flat + offsets[:, np.newaxis]).clip(0, height * width - 1)  # (25, N)
    right = -(stencil * known.ravel()[beside]).sum(axis=0)
    index = np.full(height * width, -1, dtype=np.int32)
    index[flat] = np.arange(count, dtype=np.int32)
    neighbours = index[beside]
    stencil[neighbours < 0] = 0
    own = np.arange(count, dtype=np.int32)
    neighbours = np.where(neighbours < 0, own, neighbours)
    starts = np.arange(0, 25 * count + 1, 25, dtype=np.int32)
    matrix = csr_array((stencil.T.ravel(), neighbours.T.ravel(), starts), shape=(count, count))
    matrix.sum_duplicates()
    return matrix, right


def _stencil(colors: _Double, pixels: tuple[_Index, _Index]) -> _Double:
    """(25, h * w) coefficients of the matting Laplacian by the neighbour's offset, right where the pixels are."""
    height, width, _ = colors.shape
    touched = np.zeros((height + 2, width + 2), dtype=bool)
    for dy, dx in _WINDOW:
        touched[pixels[0] + 1 + dy, pixels[1] + 1 + dx] = True
    y, x = np.nonzero(touched[2:-2, 2:-2])
    centers = (y + 1) * width + x + 1
    planes = colors.reshape(-1, 3).T.copy()  # (h, w, 3) -> (3, h * w)
    whitened = _whiten(np.stack([planes[:, centers + dy * width + dx] for dy, dx in _WINDOW]))
    stencil = np.zeros((25, height * width))
    for i, (dy, dx) in enumerate(_WINDOW):
        for j, (ey, ex) in enumerate(_WINDOW[i:], start=i):
            share = -(1 + np.einsum("an,an->n", whitened[i], whitened[j])) / 9
            step = 5 * (ey - dy) + ex - dx
            # One window position at a time: no pixel comes twice.
            stencil[12 + step, centers + dy * width + dx] += share + (i == j)
            if j > i:
                stencil[12 - step, centers + ey * width + ex] += share
    return stencil


def _whiten(colors: _Double) -> _Double:
    """Centred colours (9, 3, N) of N windows, such that their dot products are Mahalanobis products."""
    centered = colors - colors.mean(axis=0)
    covariance = np.einsum("ian,ibn->abn", centered, centered) / 9
    for a in range(3):
        covariance[a, a] += _EPSILON / 9
    for a in range(3):  # Gram-Schmidt in the order of a Cholesky factorisation
        root = np.sqrt(covariance[a, a])
        centered[:, a] /= root
        covariance[a, a:] /= root
        for b in range(a + 1, 3):
            centered[:, b] -= covariance[a, b] * centered[:, a]
            covariance[b, b:] -= covariance[a, b] * covariance[a, b:]
    return centered


def _conjugate_gradients(matrix: csr_array, right: _Double, start: _Double) -> _Double:
    """The solution of a symmetric positive definite system, by Jacobi's preconditioner.

    Sums are NumPy's own, not the linear algebra library's, whose order depends on the number of threads.
    """
    scale = 1 / matrix.diagonal()
    solution = start.copy()
    residual = right - matrix @ solution
    direction = scale * residual
    energy = first = float((residual * direction).sum())
    for _ in range(_ITERATIONS):
        if energy <= _TOLERANCE**2 * first:
            break
        image = matrix @ direction
        step = energy / float((direction * image).sum())
        solution += step * direction
        residual -= step * image
        scaled = scale * residual
        before, energy = energy, float((residual * scaled).sum())
        direction = scaled + energy / before * direction
    return solution
