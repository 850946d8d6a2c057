"""Exact opacity from colours and a trimap: closed-form matting, solved directly.

The unknown band is the only thing solved for, by elimination: there is no iteration that could stop short of the
answer.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import EmptyTrimap, RangeError
from ..types import AnyArray, FloatArray, check_image, check_mask, check_same_size
from .elimination import dissect, solve
from .laplacian import make_equations, window_products, window_products_compat

__all__ = ["estimate_alpha"]

_FOREGROUND_FROM = 0.9
_BACKGROUND_TO = 0.1
_LEAST_EPSILON = 1e-12  # below this, float64 cannot tell a flat window's covariance from zero


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
    # Too narrow for a window: the border is repeated.
    padding = [(0, max(0, 3 - size)) for size in trimap.shape]
    colors = np.pad(image, [*padding, (0, 0)], mode="edge") if min(trimap.shape) < 3 else image
    alpha = np.pad(foreground.astype(np.float32), padding, mode="edge")
    rows, cols = np.nonzero(np.pad(unknown, padding, mode="edge"))
    if rows.size:
        products = partial(window_products_compat if compat else window_products, epsilon=epsilon)
        order, bounds = dissect(rows, cols)
        solution = solve(make_equations(colors, alpha, (rows, cols), order, products), bounds)
        alpha[rows[order], cols[order]] = solution.clip(0, 1)
    return np.ascontiguousarray(alpha[: trimap.shape[0], : trimap.shape[1]])


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
