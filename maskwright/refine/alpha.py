"""Exact opacity from colours and a trimap: closed-form matting, solved directly.

The unknown band is the only thing solved for. It falls into parts that share no window; each is one sparse
system, factorised directly, so there is no iteration that could stop short of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import EmptyTrimap, RangeError
from ..types import AnyArray, FloatArray, check_image, check_mask, check_same_size

if TYPE_CHECKING:
    from scipy.sparse import csc_array

__all__ = ["estimate_alpha"]

_Index: TypeAlias = NDArray[np.intp]
_Double: TypeAlias = NDArray[np.float64]
_Products: TypeAlias = Callable[[_Double], tuple[_Double, _Double]]

_FOREGROUND_FROM = 0.9
_BACKGROUND_TO = 0.1
_WINDOW = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
_LEAST_EPSILON = 1e-12  # below this, float64 cannot tell a flat window's covariance from zero
_UPPER = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
_WINDOW_BLOCK = 1 << 15  # windows at a time: their nine colours stay in the cache
_PART_GROUP = 1 << 14  # unknown pixels: parts smaller than this share one system
_LEAF = 16  # pixels below which dissecting further gains nothing
_REFINEMENTS = 2


def estimate_alpha(image: AnyArray, trimap: AnyArray, *, epsilon: float = 1e-7, compat: bool = False) -> FloatArray:
    """The opacity of every pixel, by closed-form matting.

    In each 3 x 3 window alpha is taken to be an affine function of the colour; the alpha that breaks this
    least over all windows is found exactly. A picture narrower than three pixels is solved as if its border
    were repeated.

    Args:
        image: (H, W, 3) uint8, uint16, or float in [0, 1]; RGB.
        trimap: (H, W) float in [0, 1]; 0.9 and above = foreground, 0.1 and below = background,
            the rest = unknown.
        epsilon: How much a window resists a steep affine function, at least 1e-12, in squared colour units of
            [0, 1]. Larger values give smoother alpha.
        compat: Round as PyMatting does. Where the colours of a window lie on one line, as in grey or
            overexposed areas, its way of inverting their covariance loses most digits, and alpha may differ
            by some hundredths.

    Returns:
        (H, W) float32 in [0, 1], 0 = transparent, 1 = opaque; exactly 0 or 1 where the trimap is known.

    Raises:
        ShapeError: The arrays are no image and trimap of one size.
        RangeError: Values outside their range or not finite, or an epsilon below 1e-12.
        EmptyTrimap: There is no foreground or no background to start from.

    Example:
        >>> image = np.full((5, 5, 3), 0.5)
        >>> trimap = np.array([[0.0, 0.0, 0.5, 1.0, 1.0]] * 5)
        >>> estimate_alpha(image, trimap)[2].round(3)
        array([0. , 0. , 0.5, 1. , 1. ], dtype=float32)

    Reference:
        Levin, Lischinski, Weiss: A Closed-Form Solution to Natural Image Matting. IEEE TPAMI 30(2), 2008.
    """
    check_image(image)
    trimap = check_mask(trimap, "trimap")
    check_same_size(image, trimap, ("image", "trimap"))
    if not _LEAST_EPSILON <= epsilon < np.inf:
        raise RangeError("epsilon", expected=f"{_LEAST_EPSILON:g} or more", got=f"{epsilon:g}", hint="leave it at 1e-7")
    foreground, unknown = _zones(trimap)
    alpha = foreground.astype(np.float32)
    products = partial(_products_compat if compat else _products, epsilon=epsilon)
    padding = [(0, max(0, 3 - size)) for size in trimap.shape]
    colors = np.pad(image, [*padding, (0, 0)], mode="edge") if any(p[1] for p in padding) else image
    starts = np.pad(alpha, padding, mode="edge")
    for rows, cols in _parts(np.pad(unknown, padding, mode="edge")):
        values = _solve(colors, starts, rows, cols, products).clip(0, 1)
        inside = (rows < alpha.shape[0]) & (cols < alpha.shape[1])
        alpha[rows[inside], cols[inside]] = values[inside]
    return alpha


def _zones(trimap: FloatArray) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where the trimap is foreground and where it is unknown."""
    foreground = trimap >= _FOREGROUND_FROM
    background = trimap <= _BACKGROUND_TO
    for zone, name, cure in (
        (background, "background", "raise the background threshold"),
        (foreground, "foreground", "lower the foreground threshold"),
    ):
        if not zone.any():
            raise EmptyTrimap(
                f"the trimap's {name}",
                expected="at least one pixel",
                got="none",
                hint=f"{cure} or erode less",
            )
    return foreground, ~(foreground | background)


def _parts(unknown: NDArray[np.bool_]) -> Iterator[tuple[_Index, _Index]]:
    """Rows and columns of the unknown pixels, in groups that no 3 x 3 window joins."""
    from scipy import ndimage

    # Unknown pixels share a window when they are at most two apart, so that their 3 x 3 surroundings meet.
    labels, _ = ndimage.label(ndimage.binary_dilation(unknown, np.ones((3, 3))))
    rows, cols = np.nonzero(unknown)
    if not rows.size:
        return
    labels = labels[rows, cols]
    groups = np.cumsum(np.bincount(labels)) // _PART_GROUP
    groups = groups[labels]
    order = np.argsort(groups, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        yield rows[part], cols[part]


def _solve(image: AnyArray, known: FloatArray, rows: _Index, cols: _Index, products: _Products) -> _Double:
    """Alpha of the pixels at `rows`, `cols`; `known` holds 0 at them and the trimap's value elsewhere."""
    from scipy.sparse.linalg import splu

    order = _dissection_order(rows, cols)
    matrix, right = _equations(image, known, rows[order], cols[order], products)
    # The order is good already and the matrix symmetric and positive definite: no reordering, no pivoting.
    factors = splu(matrix, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    solution: _Double = factors.solve(right)
    for _ in range(_REFINEMENTS):
        solution += factors.solve(right - matrix @ solution)
    values = np.empty_like(solution)
    values[order] = solution
    return values


def _equations(
    image: AnyArray, known: FloatArray, rows: _Index, cols: _Index, products: _Products
) -> tuple[csc_array, _Double]:
    """The matting Laplacian among the pixels, and the right side that their known neighbours give."""
    count = rows.size
    # A crop with a rim of two, as far as the windows of a pixel reach; it may lie outside the frame.
    origin = rows.min() - 2, cols.min() - 2
    size = rows.max() - origin[0] + 3, cols.max() - origin[1] + 3
    index = np.full(size, count)  # the number `count` collects what belongs to no unknown pixel
    index[rows - origin[0], cols - origin[1]] = np.arange(count)
    stencil = np.zeros((5, 5, count + 1))  # row i of the matrix, by the neighbour's offset
    right = np.zeros(count + 1)
    for centers in _windows(rows, cols, known.shape):
        pixels = [(centers[0] + dy, centers[1] + dx) for dy, dx in _WINDOW]
        colors = np.stack([_unit(image[pixel]) for pixel in pixels])
        left_right = products(colors.transpose(0, 2, 1))  # (9, N, 3) -> (9, 3, N)
        numbers = [index[y - origin[0], x - origin[1]] for y, x in pixels]
        _add_known(right, numbers, left_right, np.stack([known[pixel] for pixel in pixels]))
        _add_windows(stencil, numbers, left_right)
    return _sparse(stencil[..., :count], index, (rows - origin[0], cols - origin[1])), right[:count]


def _windows(rows: _Index, cols: _Index, size_hw: tuple[int, ...]) -> Iterator[tuple[_Index, _Index]]:
    """Centres of the 3 x 3 windows inside the frame that hold one of the pixels, block by block.

    Windows of known pixels only say nothing about the unknown ones and are left out.
    """
    height, width = size_hw
    touched = np.zeros((rows.max() - rows.min() + 3, cols.max() - cols.min() + 3), dtype=bool)
    for dy, dx in _WINDOW:
        touched[rows - rows.min() + 1 + dy, cols - cols.min() + 1 + dx] = True
    y, x = np.nonzero(touched)
    y, x = y + rows.min() - 1, x + cols.min() - 1
    inside = (y >= 1) & (y < height - 1) & (x >= 1) & (x < width - 1)
    y, x = y[inside], x[inside]
    for start in range(0, y.size, _WINDOW_BLOCK):
        yield y[start : start + _WINDOW_BLOCK], x[start : start + _WINDOW_BLOCK]


def _unit(colors: AnyArray) -> _Double:
    """Colours as float64 in [0, 1]."""
    scale = np.iinfo(colors.dtype).max if colors.dtype.kind == "u" else 1
    return colors.astype(np.float64) / scale


def _products(colors: _Double, epsilon: float) -> tuple[_Double, _Double]:
    """Factors of the Mahalanobis products between the colours of each window.

    Both are the centred colours divided by the Cholesky factor of their regularised covariance, which keeps
    its digits where the colours lie on one line; the explicit inverse of the covariance loses them.

    Args:
        colors: (9, 3, N), the pixels of N windows.
        epsilon: Added to the sum of squares of each channel.

    Returns:
        Two arrays (9, 3, N); `(left[i] * right[j]).sum(axis=0)` is the product of pixels i and j of a window.
    """
    centered = colors - colors.mean(axis=0)
    covariance = np.einsum("ian,ibn->abn", centered, centered) / 9  # (3, 3, N)
    for channel in range(3):
        covariance[channel, channel] += epsilon / 9
    for a in range(3):  # Gram-Schmidt in the order of a Cholesky factorisation
        root = np.sqrt(covariance[a, a])
        centered[:, a] /= root
        covariance[a, a:] /= root
        for b in range(a + 1, 3):
            centered[:, b] -= covariance[a, b] * centered[:, a]
            covariance[b, b:] -= covariance[a, b] * covariance[a, b:]
    return centered, centered


def _products_compat(colors: _Double, epsilon: float) -> tuple[_Double, _Double]:
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
    return np.stack([rows[:, 0] * p[0] + rows[:, 1] * p[1] + rows[:, 2] * p[2] for p in c]), c


def _add_known(right: _Double, numbers: list[_Index], left_right: tuple[_Double, _Double], known: FloatArray) -> None:
    """Subtract what the known pixels contribute to each unknown pixel's equation."""
    total = known.sum(axis=0, dtype=np.float64)  # (9, N) -> (N,)
    slope = np.einsum("ian,in->an", left_right[1], known)  # (9, 3, N), (9, N) -> (3, N)
    for i, number in enumerate(numbers):
        right[number] += (total + np.einsum("an,an->n", left_right[0][i], slope)) / 9


def _add_windows(stencil: _Double, numbers: list[_Index], left_right: tuple[_Double, _Double]) -> None:
    """Add each window's share of the Laplacian; within one window position no pixel comes twice."""
    left, right = left_right
    for i, number in enumerate(numbers):
        for j in range(9):
            dy, dx = j // 3 - i // 3, j % 3 - i % 3
            share = np.einsum("an,an->n", left[i], right[j])
            stencil[2 + dy, 2 + dx][number] += float(i == j) - (1 + share) / 9


def _sparse(stencil: _Double, index: _Index, pixels: tuple[_Index, _Index]) -> csc_array:
    """The stencils of all pixels as one symmetric matrix."""
    from scipy.sparse import csc_array

    y, x = pixels
    count = y.size
    offsets = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)]
    columns = np.stack([index[y + dy, x + dx] for dy, dx in offsets], axis=1).astype(np.int32)  # (N, 25)
    inside = columns < count
    values = stencil.reshape(25, count).T[inside]  # (5, 5, N) -> (N, 25) -> (nonzeros,)
    starts = np.concatenate([[0], np.cumsum(inside.sum(axis=1))])
    matrix: Any = csc_array((values, columns[inside], starts), shape=(count, count))
    matrix.sort_indices()
    return matrix


def _dissection_order(rows: _Index, cols: _Index) -> _Index:
    """An order of the pixels that keeps a factorisation sparse: each half, then what separates them.

    Reference:
        George: Nested Dissection of a Regular Finite Element Mesh. SIAM J. Numer. Anal. 10(2), 1973.
    """
    order = np.empty(rows.size, dtype=np.intp)
    todo = [(np.arange(rows.size), 0)]
    while todo:
        pixels, start = todo.pop()
        halves = _halves(rows[pixels], cols[pixels]) if pixels.size > _LEAF else None
        if halves is None:
            order[start : start + pixels.size] = pixels
            continue
        first, second, between = (pixels[half] for half in halves)
        order[start + first.size + second.size : start + pixels.size] = between
        todo += [(first, start), (second, start + first.size)]
    return order


def _halves(rows: _Index, cols: _Index) -> tuple[_Index, _Index, _Index] | None:
    """Two halves of the pixels and the two rows or columns between them, or none where too narrow."""
    along = rows if np.ptp(rows) >= np.ptp(cols) else cols
    if np.ptp(along) < 4:
        return None
    middle = np.clip(np.partition(along, along.size // 2)[along.size // 2], along.min() + 1, along.max() - 2)
    side = np.where(along < middle, 0, np.where(along > middle + 1, 1, 2))
    return np.flatnonzero(side == 0), np.flatnonzero(side == 1), np.flatnonzero(side == 2)
