import numpy as np
import pytest

from maskwright.errors import RangeError, ShapeError
from maskwright.geometry import resize_map
from maskwright.refine.guided import (
    Enlargement,
    apply_affine,
    fit_affine,
    fit_affine_at,
    guided_alpha,
    merge_edge,
    scaled_hw,
    shrink_pair,
)
from tests.support.soft_edges import error, hairy_disk

IMAGE, ALPHA, MASK, _ = hairy_disk()
RNG = np.random.default_rng(1)


def fit_by_definition(colors, values, weights, radius, epsilon):
    """Weighted ridge regression in each window of the padded picture, averaged over windows by their weight."""
    height, width = values.shape
    window = range(-radius, radius + 1)
    fits, totals = np.zeros((4, height, width)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            near = [(min(max(y + a, 0), height - 1), min(max(x + b, 0), width - 1)) for a in window for b in window]
            c, v, w = (np.array([part[place] for place in near], dtype=float) for part in (colors, values, weights))
            totals[y, x] = w.sum()
            center, mean = (w[:, None] * c).sum(0) / w.sum(), (w * v).sum() / w.sum()
            moved = c - center
            covariance = (w[:, None] * moved).T @ moved / w.sum() + epsilon * np.eye(3)
            slopes = np.linalg.solve(covariance, (w * (v - mean)) @ moved / w.sum())
            fits[:, y, x] = [*slopes, mean - slopes @ center]
    pad = ((0, 0), (radius, radius), (radius, radius))
    both = np.pad(np.stack([*(fits * totals), totals]), pad, mode="edge")
    sums = sum(
        both[:, radius + a : radius + a + height, radius + b : radius + b + width] for a in window for b in window
    )
    return sums[:4] / sums[4]


@pytest.mark.parametrize("radius", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_affine_functions_are_the_regression_in_each_window(radius, weighted):
    colors = RNG.random((7, 9, 3), dtype=np.float32)
    values = RNG.random((7, 9), dtype=np.float32)
    weights = RNG.random((7, 9), dtype=np.float32) + np.float32(0.1)
    expected = fit_by_definition(colors, values, weights if weighted else np.ones((7, 9)), radius, 1e-2)
    found = fit_affine(colors, values, weights if weighted else None, radius, 1e-2)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_affine_functions_beside_a_band_are_those_of_the_whole():
    colors = RNG.random((9, 11, 3), dtype=np.float32)
    values = RNG.random((9, 11), dtype=np.float32)
    band = np.zeros((9, 11), dtype=bool)
    band[0, 2] = band[5, 6] = True
    near = np.zeros_like(band)
    near[:2, 1:4] = near[4:7, 5:8] = True
    found = fit_affine_at(colors, values, band, 1e-2)
    np.testing.assert_allclose(found[:, near], fit_affine(colors, values, None, 1, 1e-2)[:, near], atol=1e-5)
    np.testing.assert_array_equal(found[:3, ~near], 0)
    np.testing.assert_array_equal(found[3, ~near], values[~near])


def test_an_affine_mask_is_found_again_at_any_size():
    colors = RNG.random((20, 24, 3), dtype=np.float32)
    slopes = np.array([0.4, -0.2, 0.3], dtype=np.float32)
    affine = fit_affine(colors, colors @ slopes + np.float32(0.3), None, 2, 1e-9)
    np.testing.assert_allclose(apply_affine(affine, colors), colors @ slopes + 0.3, atol=1e-3)
    image = RNG.random((50, 61, 3), dtype=np.float32) / 2
    merged = merge_edge(image, np.zeros((50, 61), dtype=np.float32), affine, np.ones((20, 24), dtype=np.float32))
    np.testing.assert_allclose(merged, image @ slopes + 0.3, atol=1e-3)


def test_guided_alpha_is_nearer_to_the_truth_than_the_mask():
    assert error(guided_alpha(IMAGE, MASK), ALPHA) < 0.8 * error(MASK, ALPHA)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_kind_of_picture_gives_the_same(dtype):
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    image = np.kron(np.rint(IMAGE * 255) / 255, np.ones((2, 2, 1)))
    mask = np.kron(MASK, np.ones((2, 2)))
    same = guided_alpha((image * top).round(0 if top > 1 else 9).astype(dtype), mask)
    np.testing.assert_allclose(same, guided_alpha(image, mask), atol=1e-4)
    assert same.dtype == np.float32


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (40, 1), (2, 3), (300, 5)])
def test_any_size_is_welcome(size_hw):
    alpha = guided_alpha(RNG.random((*size_hw, 3)), RNG.random(size_hw))
    assert alpha.shape == size_hw
    assert np.isfinite(alpha).all()
    assert alpha.min() >= 0
    assert alpha.max() <= 1


def test_away_from_the_edge_the_mask_stays():
    alpha = guided_alpha(IMAGE, MASK)
    far = (MASK == 0) | (MASK == 1)
    middle = far.copy()
    for step in range(1, 12):
        for axis in (0, 1):
            middle &= np.roll(far, step, axis) & np.roll(far, -step, axis)
    assert middle.any()
    np.testing.assert_array_equal(alpha[middle], MASK[middle])


@pytest.mark.parametrize("size_hw", [(150, 210), (13, 17), (600, 900)])
def test_enlarged_maps_are_bilinear_where_they_are_not_0(size_hw):
    maps = np.zeros((2, 13, 17), dtype=np.float32)
    maps[0] = RNG.random((13, 17))
    maps[1, 6, 3] = maps[1, 12, 16] = 1
    whole = np.stack([resize_map(each, size_hw, "bilinear") for each in maps])
    enlargement = Enlargement((13, 17), size_hw)
    shown = np.zeros(size_hw, dtype=int)
    for pixels in enlargement.pixels_where(maps[1]):
        shown[pixels] += 1
        np.testing.assert_allclose(enlargement.values_at(maps, pixels), whole[:, pixels[0], pixels[1]], atol=1e-5)
    assert shown[whole[1] > 0].all()
    assert shown.max() == 1
    assert 0 < shown.mean() < 0.1


def test_merging_replaces_as_much_as_the_weight_says():
    image = np.full((8, 8, 3), 0.5)
    affine = np.zeros((4, 8, 8), dtype=np.float32)
    affine[0], affine[3] = 1, 0.25  # the value is 0.5 + 0.25
    weight = np.linspace(0, 1, 8, dtype=np.float32) * np.ones((8, 1), dtype=np.float32)
    merged = merge_edge(image, np.zeros((8, 8), dtype=np.float32), affine, weight)
    np.testing.assert_allclose(merged, 0.75 * weight, atol=1e-6)


def test_shrinking_takes_means():
    image = np.kron(np.array([[10, 20], [30, 41]], dtype=np.uint8), np.ones((3, 3), dtype=np.uint8))
    colors, small = shrink_pair(np.dstack([image] * 3), (image / np.float32(50)).astype(np.float32), (2, 2))
    np.testing.assert_allclose(colors[..., 0] * 255, [[10, 20], [30, 41]], atol=1e-4)
    np.testing.assert_allclose(small * 50, [[10, 20], [30, 41]], atol=1e-4)
    assert scaled_hw((30, 3000), 256) == (3, 256)
    assert scaled_hw((1, 3000), 256) == (1, 256)


@pytest.mark.parametrize(
    ("image", "mask", "kind", "message"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4)), ShapeError, "image must be"),
        (np.zeros((4, 4, 3)), np.zeros((4, 5)), ShapeError, "mask size must be"),
        (np.zeros((4, 4, 3)), np.full((4, 4), np.nan), RangeError, "mask must be in"),
    ],
)
def test_what_is_no_picture_with_a_mask_is_refused(image, mask, kind, message):
    with pytest.raises(kind, match=message):
        guided_alpha(image, mask)
