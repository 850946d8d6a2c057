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
from .guided import (
    Enlargement,
    Pixels,
    affine_values,
    fit_affine_at,
    guided_alpha,
    merge_edge,
    scaled_hw,
    shrink_pair,
)
from .laplacian import window_products
from .trimap import SURE, edge_weight, make_trimap

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["match_alpha", "refine_alpha"]

_Index: TypeAlias = NDArray[np.intp]

_LEAST_SIDE = 16
_COARSEST = 128  # pixels; the longer side of the first solution
_EPSILON = 1e-5  # of the matting windows
_FIRST_PULL = 3e-3  # how much a sure pixel of the mask counts against the colours at the first level
_MASK_PULL = 1e-1  # and at those after it, where the solution before says what the colours have to say from afar
_SURENESS = (
    8  # the power of 2 mask - 1 that it counts by: 0.1 from sure a sixth of that, 0.25 from sure next to nothing
)
_LEVEL_PULL = 5e-2  # how much the solution of the level before counts
_LEAST_PULL = 1e-5
_PREVIOUS_PULL = 2e-2  # how much the frame before counts where it agrees with the mask
_AFFINE_EPSILON = 1e-4
_WINDOWS = 6000  # worked on together: what they need stays in the cache
_POSITIONS = list(combinations_with_replacement(range(9), 2))  # each two pixels of a window
_ITERATIONS = 300
_TOLERANCE = 1e-3  # of the residual


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
        weight = edge_weight(coarse)
        rows, columns = np.nonzero(weight)
        pixels = rows, columns
        said = coarse[pixels]
        sureness = (2 * said - 1) ** _SURENESS
        prior, pull = said, _FIRST_PULL * sureness + _LEAST_PULL
        if affine is not None:
            functions = Enlargement(affine.shape[1:], size_hw).values_at(affine, pixels)
            prior, pull = affine_values(functions, colors[pixels].T), np.full_like(said, _LEVEL_PULL)
            prior, pull = _together(prior, pull, said, _MASK_PULL * sureness)
        if before is not None:
            was = resize_map(before, size_hw, "area")[pixels]
            prior, pull = _together(prior, pull, was, _PREVIOUS_PULL * (1 - 2 * np.abs(was - said)).clip(0, 1))
        # At the first level a pull may be next to nothing, and single precision would lose it.
        alpha = _solve(colors.astype(np.float64) if affine is None else colors, coarse, pixels, prior, pull)
        affine = fit_affine_at(colors, alpha, weight > 0, _AFFINE_EPSILON)
    if affine is None or mask.shape == sizes[-1]:
        return (mask + weight * (alpha - mask)).astype(np.float32)
    return merge_edge(image, mask, affine, weight)


def _together(
    prior: FloatArray, pull: FloatArray, other: FloatArray, its_pull: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """One prior and its pull, which say the same as two."""
    both = pull + its_pull
    return (pull * prior + its_pull * other) / both, both


def _sizes(size_hw: tuple[int, ...], side: int) -> list[tuple[int, int]]:
    """Height and width of each level, the longer side doubling up to `side` or the picture's own."""
    sides = [_COARSEST]
    while sides[-1] < min(side, max(size_hw)):
        sides.append(2 * sides[-1])
    sides[-1] = side
    return list(dict.fromkeys(scaled_hw(size_hw, each) for each in sides))


def _solve(colors: AnyArray, known: FloatArray, pixels: Pixels, prior: FloatArray, pull: FloatArray) -> FloatArray:
    """Alpha of the pixels, which the windows' colours and the prior agree on best; elsewhere `known`.

    Args:
        colors: (h, w, 3) float in [0, 1], in the precision wanted.
        known: (h, w) in [0, 1].
        pixels: (N,) row and (N,) column of what is solved for.
        prior: (N,) in [0, 1], what alpha would be without colours.
        pull: (N,) above 0, how much that counts.
    """
    if not pixels[0].size:
        return known
    alpha: FloatArray = known.copy()
    alpha[pixels] = 0
    matrix, diagonal, right = _equations(colors, alpha, pixels, pull)
    alpha[pixels] = _conjugate_gradients(matrix, diagonal, right + pull * prior, prior).clip(0, 1)
    return alpha


def _equations(
    colors: AnyArray, known: FloatArray, pixels: Pixels, pull: FloatArray
) -> tuple[csr_array, AnyArray, AnyArray]:
    """The matting Laplacian among the pixels, pulled; its diagonal; the right side by known pixels, 0 elsewhere."""
    from scipy.sparse import csr_array

    count, width = pixels[0].size, known.shape[1]
    places = pixels[0] * width + pixels[1]
    stencil = _stencil(colors, places)
    # No window reaches beyond the frame: what would lie there has a coefficient of 0, whatever is found in its place.
    beside = (places + _beside(width, 2)[:, np.newaxis]).clip(0, known.size - 1)  # (25, N)
    right = -(stencil * known.ravel()[beside]).sum(axis=0)
    stencil[12] += pull
    diagonal = stencil[12].copy()
    number = np.full(known.size, -1, dtype=np.int32)
    number[places] = np.arange(count, dtype=np.int32)
    columns = np.ascontiguousarray(number[beside].T)  # (25, N) -> (N, 25)
    among = columns >= 0
    starts = np.concatenate([[0], np.cumsum(among.sum(axis=1))]).astype(np.int32)
    matrix = csr_array((stencil.T[among], columns[among], starts), shape=(count, count))
    return matrix, diagonal, right


def _beside(width: int, reach: int) -> _Index:
    """Steps from a pixel to those around it and itself, in reading order, in a picture of this width."""
    steps = np.arange(-reach, reach + 1)
    return (steps[:, np.newaxis] * width + steps).ravel()


def _stencil(colors: AnyArray, places: _Index) -> AnyArray:
    """(25, N) coefficients of the matting Laplacian of the pixels, by the neighbour's offset."""
    height, width, _ = colors.shape
    steps = _beside(width, 1)
    touched = np.zeros((height, width), dtype=bool)
    for step in steps:  # in the first or last column it may wrap around, to one that holds no centre either
        touched.ravel()[(places + step).clip(0, touched.size - 1)] = True
    touched[[0, -1]] = touched[:, [0, -1]] = False
    centers = np.flatnonzero(touched)
    shares = _shares(colors, centers, steps)
    # Which window a pixel is in at each of the nine positions; the one after the last says nothing.
    number = np.full(height * width, centers.size)
    number[centers] = np.arange(centers.size)
    windows = [number[(places - step).clip(0, number.size - 1)] for step in steps]
    stencil = np.zeros((25, places.size), dtype=colors.dtype)
    for share, (i, j) in zip(shares, _POSITIONS, strict=True):
        step = 5 * (j // 3 - i // 3) + j % 3 - i % 3
        stencil[12 + step] += share.take(windows[i])
        if j > i:
            stencil[12 - step] += share.take(windows[j])
    return stencil


def _shares(colors: AnyArray, centers: _Index, steps: _Index) -> AnyArray:
    """(45, W + 1) what each window says of each two of its pixels; the last column is 0."""
    planes = np.ascontiguousarray(colors.reshape(-1, 3).T)  # (h, w, 3) -> (3, h * w)
    shares = np.zeros((len(_POSITIONS), centers.size + 1), dtype=colors.dtype)
    for first in range(0, centers.size, _WINDOWS):
        some = centers[first : first + _WINDOWS]
        left, right = window_products(np.stack([planes.take(some + step, axis=1) for step in steps]), _EPSILON)
        for share, (i, j) in zip(shares[:, first : first + some.size], _POSITIONS, strict=True):
            np.einsum("an,an->n", left[i], right[j], out=share)
            np.subtract((i == j) - 1 / 9, share, out=share)
    return shares


def _conjugate_gradients(matrix: csr_array, diagonal: AnyArray, right: AnyArray, start: FloatArray) -> AnyArray:
    """The solution of a symmetric positive definite system, by Jacobi's preconditioner.

    Sums are NumPy's own, not the linear algebra library's, whose order depends on the number of threads.
    """
    scale = 1 / diagonal
    solution: AnyArray = start.astype(right.dtype)
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
