"""Opacity from a picture and a soft mask, coarse to fine: what `alpha_matting` does unless it is told otherwise.

Closed-form matting, with the mask as a prior that counts more the surer it is, solved for the mask's edge alone on
small pictures of growing size. Each solution is the prior of the next; the last one is enlarged by its local affine
functions of colour. What is solved for is bounded, whatever the size of the picture; the rest is linear in it.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import EmptyTrimap, RangeError
from ..geometry import resize_map
from ..types import AnyArray, FloatArray, check_image, check_mask, check_same_size
from .alpha import estimate_alpha
from .budget import FINEST, Budget, MattingPlan, parse_budget, plan_exact, plan_refinement
from .guided import apply_affine, fit_affine, guided_alpha, merge_edge, scaled_hw, shrink_pair
from .laplacian import window_products
from .trimap import SURE, edge_weight, make_trimap

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["match_alpha", "refine_alpha"]

_Bits: TypeAlias = NDArray[np.bool_]
_Double: TypeAlias = NDArray[np.float64]
_Index: TypeAlias = NDArray[np.intp]

_LEAST_SIDE = 16
_COARSEST = 128  # pixels; the longer side of the first solution
_EPSILON = 1e-5  # of the matting windows
_MASK_PULL = 3e-3  # how much a sure pixel of the mask counts against the colours
_LEVEL_PULL = 5e-2  # how much the solution of the level before counts
_LEAST_PULL = 1e-6
_PREVIOUS_PULL = 2e-2  # how much the frame before counts where it agrees with the mask
_AFFINE_EPSILON = 1e-4
_MARGIN = 4  # pixels around the band in which its functions hold
_ITERATIONS = 300
_TOLERANCE = 1e-4  # of the residual


def match_alpha(
    image: AnyArray,
    mask: AnyArray,
    *,
    numbers: tuple[int, int, int] | None = None,
    budget: float | str | None = None,
    previous: AnyArray | None = None,
) -> tuple[FloatArray, str]:
    """The opacity that belongs to a mask, as `alpha_matting` finds it, and what was given up for it, "" for nothing.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1]; RGB.
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        numbers: Foreground threshold, background threshold and erosion of `make_trimap`: alpha is then exact, as by
            `estimate_alpha`, up to a million unknown pixels, and coarse to fine above. None: by `refine_alpha`.
        budget: What it may cost: seconds, or text such as `2s` or `0.1mp`, millions of pixels solved for. Over it alpha
            is solved for at a smaller size, at last by `guided_alpha`. None: no limit.
        previous: (H, W) float in [0, 1], the opacity of the frame before, for `refine_alpha`.

    Raises:
        ShapeError: The arrays are not of one size.
        RangeError: Values outside their range or not finite.
        OptionError: The numbers contradict each other, or the budget is none.
        EmptyTrimap: The mask has no edge, or the trimap no foreground or no background.
    """
    limit = parse_budget(budget)
    check_image(image)
    mask = check_mask(mask)
    check_same_size(image, mask, ("image", "mask"))
    if numbers is not None:
        return _match_trimap(image, _numbered(mask, numbers), limit)
    if float(mask.max()) <= SURE or float(mask.min()) >= 1 - SURE:
        raise EmptyTrimap("the mask's edge", expected="somewhere", got="nowhere", hint="there is nothing to match")
    plan = MattingPlan(FINEST) if limit == Budget() else plan_refinement(mask.shape, _count_open(mask), limit)
    return _match_coarsely(image, mask, plan, previous), plan.note


def _count_open(mask: FloatArray) -> int:
    """How many pixels are open at the finest size."""
    small = resize_map(mask, scaled_hw(mask.shape, FINEST), "area").clip(0, 1)
    return int(np.count_nonzero(edge_weight(small)))


def _numbered(mask: FloatArray, numbers: tuple[int, int, int]) -> FloatArray:
    foreground, background, size = numbers
    return make_trimap(mask, foreground_threshold=foreground, background_threshold=background, erode_size=size)


def _match_trimap(image: AnyArray, trimap: FloatArray, limit: Budget) -> tuple[FloatArray, str]:
    unknown = trimap == 0.5
    plan = plan_exact(trimap.shape, int(np.count_nonzero(unknown)), limit)
    if plan.side is None:
        return estimate_alpha(image, trimap), plan.note
    return np.where(unknown, _match_coarsely(image, trimap, plan, None), trimap), plan.note


def _match_coarsely(image: AnyArray, mask: FloatArray, plan: MattingPlan, previous: AnyArray | None) -> FloatArray:
    if not plan.side:
        return guided_alpha(image, mask)
    return refine_alpha(image, mask, previous=previous, side=plan.side)


def refine_alpha(
    image: AnyArray, mask: AnyArray, *, previous: AnyArray | None = None, side: int = FINEST
) -> FloatArray:
    """The opacity of a soft mask's edge by the picture's colours; elsewhere the mask as it is.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1]; RGB.
        mask: (H, W) float in [0, 1] or bool; 1 = selected.
        previous: (H, W) float in [0, 1], the opacity found for the frame before. Where it agrees with the mask, it
            steadies the result.
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
    if not side >= _LEAST_SIDE:
        raise RangeError("side", expected=f"{_LEAST_SIDE} pixels or more", got=f"{side:g}", hint=f"usual is {FINEST}")
    sizes = _sizes(mask.shape, int(side))
    finest, small = shrink_pair(image, mask, sizes[-1])
    before: FloatArray | None = None
    if previous is not None:
        before = check_mask(previous, "previous")
        check_same_size(image, before, ("image", "previous"))
        before = resize_map(before, sizes[-1], "area")
    affine: FloatArray | None = None
    for size_hw in sizes:
        colors, coarse = shrink_pair(finest, small, size_hw)
        prior, pull = coarse.astype(np.float64), _MASK_PULL * (2 * coarse.astype(np.float64) - 1) ** 2 + _LEAST_PULL
        if affine is not None:
            prior, pull = apply_affine(affine, colors).astype(np.float64), np.full(coarse.shape, _LEVEL_PULL)
        if before is not None:
            prior, pull = _with_previous(prior, pull, resize_map(before, size_hw, "area"), coarse)
        weight = edge_weight(coarse)
        alpha = _solve(colors, coarse, weight > 0, prior, pull)
        affine = _fit_near(colors, alpha, weight > 0)
    if affine is None or mask.shape == sizes[-1]:
        return (mask + weight * (alpha - mask)).astype(np.float32)
    return merge_edge(image, mask, affine, weight)


def _fit_near(colors: FloatArray, alpha: FloatArray, band: _Bits) -> FloatArray:
    """(4, h, w) alpha as affine functions of colour, right in the rectangle around the band and 0 elsewhere."""
    rows, columns = (_span(np.flatnonzero(band.any(axis=axis))) for axis in (1, 0))
    affine = np.zeros((4, *alpha.shape), dtype=np.float32)
    affine[:, rows, columns] = fit_affine(colors[rows, columns], alpha[rows, columns], None, 1, _AFFINE_EPSILON)
    return affine


def _span(places: _Index) -> slice:
    """From a few before the first place to a few after the last; all where there is none."""
    return slice(max(0, int(places[0]) - _MARGIN), int(places[-1]) + 1 + _MARGIN) if places.size else slice(None)


def _with_previous(prior: _Double, pull: _Double, before: FloatArray, mask: FloatArray) -> tuple[_Double, _Double]:
    """The prior and its pull, together with the frame before's, which counts as far as it agrees with the mask."""
    trust = _PREVIOUS_PULL * (1 - 2 * np.abs(before - mask)).clip(0, 1)
    return (pull * prior + trust * before) / (pull + trust), pull + trust


def _sizes(size_hw: tuple[int, ...], side: int) -> list[tuple[int, int]]:
    """Height and width of each level, the longer side doubling up to `side` or the picture's own."""
    sides = [_COARSEST]
    while sides[-1] < min(side, max(size_hw)):
        sides.append(2 * sides[-1])
    sides[-1] = side
    return list(dict.fromkeys(scaled_hw(size_hw, each) for each in sides))


def _solve(colors: FloatArray, known: FloatArray, band: _Bits, prior: _Double, pull: _Double) -> FloatArray:
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
        return known
    alpha[band] = 0
    matrix, right = _equations(colors, alpha, (rows, columns))
    matrix.setdiag(matrix.diagonal() + pull[band])
    alpha[band] = _conjugate_gradients(matrix, right + pull[band] * prior[band], prior[band]).clip(0, 1)
    return alpha.astype(np.float32)


def _equations(colors: FloatArray, known: _Double, pixels: tuple[_Index, _Index]) -> tuple[csr_array, _Double]:
    """The matting Laplacian among the pixels, and the right side that known pixels, 0 elsewhere, give."""
    from scipy.sparse import csr_array

    count, width = pixels[0].size, known.shape[1]
    places = pixels[0] * width + pixels[1]
    stencil = _stencil(colors, places)
    # No window reaches beyond the frame: what would lie there has a coefficient of 0, whatever is found in its place.
    beside = (places + _beside(width, 2)[:, np.newaxis]).clip(0, known.size - 1)  # (25, N)
    right = -(stencil * known.ravel()[beside]).sum(axis=0)
    number = np.full(known.size, -1, dtype=np.int32)
    number[places] = np.arange(count, dtype=np.int32)
    columns = number[beside]
    stencil[columns < 0] = 0
    columns = np.where(columns < 0, number[places], columns)
    starts = np.arange(0, 25 * count + 1, 25, dtype=np.int32)
    matrix = csr_array((stencil.T.ravel(), columns.T.ravel(), starts), shape=(count, count))
    matrix.sum_duplicates()
    return matrix, right


def _beside(width: int, reach: int) -> _Index:
    """Steps from a pixel to those around it and itself, in reading order, in a picture of this width."""
    steps = np.arange(-reach, reach + 1)
    return (steps[:, np.newaxis] * width + steps).ravel()


def _stencil(colors: FloatArray, places: _Index) -> _Double:
    """(25, N) coefficients of the matting Laplacian of the pixels, by the neighbour's offset."""
    height, width, _ = colors.shape
    window = _beside(width, 1)
    touched = np.zeros((height, width), dtype=bool)
    for step in window:  # in the first or last column it may wrap around, to one that holds no centre either
        touched.ravel()[(places + step).clip(0, touched.size - 1)] = True
    touched[[0, -1]] = touched[:, [0, -1]] = False
    centers = np.flatnonzero(touched)
    planes = colors.reshape(-1, 3).T.astype(np.float64)  # (h, w, 3) -> (3, h * w)
    colors_by_window = np.stack([planes[:, centers + step] for step in window])  # (9, 3, windows)
    left, right = window_products(colors_by_window, _EPSILON)
    # Where a pixel's equation stands; those of known pixels come last, all on one another.
    row = np.full(height * width, places.size)
    row[places] = np.arange(places.size)
    rows = [row[centers + step] for step in window]
    stencil: _Double = np.zeros((25, places.size + 1))
    for i, j in combinations_with_replacement(range(9), 2):
        share = -1 / 9 - np.einsum("an,an->n", left[i], right[j])
        step = 5 * (j // 3 - i // 3) + j % 3 - i % 3
        # One window position at a time: no unknown pixel comes twice.
        stencil[12 + step][rows[i]] += share + (i == j)
        if j > i:
            stencil[12 - step][rows[j]] += share
    return stencil[:, :-1]


def _conjugate_gradients(matrix: csr_array, right: _Double, start: _Double) -> _Double:
    """The solution of a symmetric positive definite system, by Jacobi's preconditioner.

    Sums are NumPy's own, not the linear algebra library's, whose order depends on the number of threads.
    """
    scale = 1 / matrix.diagonal()
    solution: _Double = start.copy()
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
