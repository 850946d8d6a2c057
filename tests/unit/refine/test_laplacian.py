from __future__ import annotations

from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from maskwright.refine import laplacian as module
from maskwright.refine.elimination import dissect


def dense(image, epsilon):
    """The definition: every window of the picture."""
    height, width = image.shape[:2]
    laplacian = np.zeros((height * width, height * width))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            pixels = [(y + dy) * width + x + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            colors = image.reshape(-1, 3)[pixels]
            centered = colors - colors.mean(axis=0)
            covariance = centered.T @ centered / 9 + epsilon / 9 * np.eye(3)
            weights = (1 + centered @ np.linalg.solve(covariance, centered.T)) / 9
            laplacian[np.ix_(pixels, pixels)] += np.eye(9) - weights
    return laplacian


@pytest.mark.parametrize("size_hw", [(3, 3), (3, 40), (20, 4), (23, 37)])
@pytest.mark.parametrize("products", [module.window_products, module.window_products_compat])
@pytest.mark.parametrize(("tile", "tiles", "pixels"), [(16, 16, 4096), (5, 2, 7)])
def test_is_the_dense_laplacian(monkeypatch, size_hw, products, tile, tiles, pixels):
    for name, value in (("_TILE", tile), ("_TILES", tiles), ("_PIXELS", pixels)):
        monkeypatch.setattr(module, name, value)
    rng = np.random.default_rng(0)
    image = rng.random((*size_hw, 3))
    unknown = rng.random(size_hw) < 0.6
    unknown[0, 0] = unknown[-1, -1] = True
    known = ((rng.random(size_hw) < 0.5) & ~unknown).astype(np.float32)
    rows, cols = np.nonzero(unknown)
    order, _ = dissect(rows, cols)
    made = module.make_equations(image, known, (rows, cols), order, partial(products, epsilon=1e-4))
    matrix = np.zeros((order.size + 1, order.size))
    column = np.repeat(np.arange(order.size), np.diff(made.starts))
    assert (made.rows >= column).all()
    matrix[made.rows, column] = made.values
    laplacian = dense(image, 1e-4)
    at = np.flatnonzero(unknown.ravel())[order]
    np.testing.assert_allclose(matrix[:-1], np.tril(laplacian[np.ix_(at, at)]), atol=1e-9)
    others = np.flatnonzero(~unknown.ravel())
    np.testing.assert_allclose(matrix[-1], -laplacian[np.ix_(at, others)] @ known.ravel()[others], atol=1e-9)


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_integers_are_fractions_of_their_range(dtype, top):
    np.testing.assert_allclose(module._unit(np.array([0, top], dtype)), [0, 1])


def test_gray_windows_keep_their_digits():
    """Colours on one line: products against exact fractions, where the rounding of the original shows."""
    gray = np.random.default_rng(1).integers(60, 255, 9)
    colors = np.repeat(gray[:, np.newaxis], 3, axis=1)[:, :, np.newaxis] / 255.0  # (9, 3, 1)
    # For a grey window the product is that of one channel with three times the weight and the same epsilon.
    values = [Fraction(int(v), 255) for v in gray]
    mean = sum(values) / 9
    variance = sum((v - mean) ** 2 for v in values) / 9
    exact = [float((v - mean) * (values[0] - mean) / (3 * variance + Fraction(1, 9 * 10**7)) / 3) for v in values]
    errors = []
    for products in (module.window_products, module.window_products_compat):
        left, right = products(colors.copy(), 1e-7)
        errors.append(np.abs([(left[0] * r).sum() for r in right] - np.array(exact)).max())
    assert errors[0] < 1e-9
    assert errors[1] > errors[0]
