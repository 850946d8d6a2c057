from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from maskwright.errors import EmptyTrimap, RangeError, ShapeError
from maskwright.refine import elimination, estimate_alpha, make_trimap

SHARED = Path(__file__).resolve().parents[4] / "shared"


def dense_alpha(image, trimap, epsilon=1e-7):
    """The definition: every window of the picture, the full matrix, one dense solve."""
    height, width = trimap.shape
    laplacian = np.zeros((height * width, height * width))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            pixels = [(y + dy) * width + x + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            colors = image.reshape(-1, 3)[pixels]
            centered = colors - colors.mean(axis=0)
            covariance = centered.T @ centered / 9 + epsilon / 9 * np.eye(3)
            weights = (1 + centered @ np.linalg.solve(covariance, centered.T)) / 9
            laplacian[np.ix_(pixels, pixels)] += np.eye(9) - weights
    flat = trimap.ravel()
    foreground = flat >= 0.9
    unknown = ~(foreground | (flat <= 0.1))
    alpha = foreground.astype(np.float64)
    right = -laplacian[np.ix_(unknown, ~unknown)] @ alpha[~unknown]
    alpha[unknown] = np.linalg.solve(laplacian[np.ix_(unknown, unknown)], right)
    return alpha.clip(0, 1).reshape(height, width)


def example(size_hw=(12, 15), seed=0, unknown=0.7):
    """A picture of noise on a ramp, and a trimap with scattered unknown pixels."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, size_hw[1])[np.newaxis, :, np.newaxis] * [0.9, 0.5, 0.2]
    image = (ramp + 0.1 * rng.random((*size_hw, 3))).clip(0, 1)
    trimap = (rng.random(size_hw) < 0.5).astype(np.float32)
    trimap[rng.random(size_hw) < unknown] = 0.5
    trimap[0, 0], trimap[-1, -1] = 0, 1
    return image, trimap


@pytest.mark.parametrize("size_hw", [(3, 3), (3, 20), (20, 3), (12, 15), (4, 5)])
@pytest.mark.parametrize("unknown", [0.3, 0.8, 1.0])
@pytest.mark.parametrize("compat", [False, True])
def test_is_the_dense_solution(size_hw, unknown, compat):
    image, trimap = example(size_hw, unknown=unknown)
    alpha = estimate_alpha(image, trimap, compat=compat)
    np.testing.assert_allclose(alpha, dense_alpha(image, trimap), atol=2e-6)
    assert alpha.dtype == np.float32


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
def test_epsilon_counts(epsilon):
    image, trimap = example()
    alpha = estimate_alpha(image, trimap, epsilon=epsilon)
    np.testing.assert_allclose(alpha, dense_alpha(image, trimap, epsilon), atol=2e-6)
    assert np.abs(alpha - estimate_alpha(image, trimap)).max() > 1e-4


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 9), (2, 9), (9, 1), (9, 2), (2, 2)])
def test_narrow_pictures_are_solved_with_their_border_repeated(size_hw):
    image, trimap = example(size_hw, unknown=0.6)
    if trimap.size == 1:
        with pytest.raises(EmptyTrimap):
            estimate_alpha(image, trimap)
        return
    padding = [(0, max(0, 3 - size)) for size in size_hw]
    wide = dense_alpha(np.pad(image, [*padding, (0, 0)], mode="edge"), np.pad(trimap, padding, mode="edge"))
    np.testing.assert_allclose(estimate_alpha(image, trimap), wide[: size_hw[0], : size_hw[1]], atol=2e-6)


def test_known_pixels_are_exact():
    image, trimap = example(seed=4)
    trimap[trimap == 1] = 0.9
    trimap[trimap == 0] = 0.1
    alpha = estimate_alpha(image, trimap)
    assert (alpha[trimap == np.float32(0.9)] == 1).all()
    assert (alpha[trimap == np.float32(0.1)] == 0).all()


def test_without_unknown_pixels_the_trimap_comes_back():
    trimap = np.array([[0.0, 1.0, 0.0, 1.0]])
    np.testing.assert_array_equal(estimate_alpha(np.zeros((1, 4, 3)), trimap), trimap)


def test_the_inputs_stay_as_they_are():
    image, trimap = example()
    before = image.copy(), trimap.copy()
    estimate_alpha(image, trimap)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(trimap, before[1])


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_integers_are_fractions_of_their_range(dtype, top):
    image, trimap = example()
    integers = np.rint(image * top).astype(dtype)
    np.testing.assert_allclose(
        estimate_alpha(integers, trimap), estimate_alpha(integers / np.float64(top), trimap), atol=1e-6
    )


def test_recovers_a_known_mixture():
    """Two flat colours mixed by a smooth alpha obey the model exactly."""
    y, x = np.mgrid[:30, :40]
    true = ((x - 10 + 3 * np.sin(y / 4)) / 20).clip(0, 1)
    image = true[..., np.newaxis] * [0.9, 0.3, 0.1] + (1 - true[..., np.newaxis]) * [0.1, 0.4, 0.8]
    trimap = np.where(true >= 1, 1, np.where(true <= 0, 0, 0.5))
    assert np.abs(estimate_alpha(image, trimap) - true).max() < 1e-4


@given(
    image=hnp.arrays(np.uint8, st.sampled_from([(17, 31, 3), (3, 60, 3), (6, 6, 3)])),
    seed=st.integers(0, 9),
)
@settings(deadline=None, max_examples=25)
def test_any_picture_gives_an_alpha(image, seed):
    _, trimap = example(image.shape[:2], seed)
    alpha = estimate_alpha(image, trimap)
    assert np.isfinite(alpha).all()
    assert alpha.min() >= 0
    assert alpha.max() <= 1


@pytest.mark.parametrize("value", [0, 1, 128, 255])
@pytest.mark.parametrize("compat", [False, True])
def test_a_flat_picture_gives_a_smooth_alpha(value, compat):
    trimap = np.full((9, 21), 0.5)
    trimap[:, :3], trimap[:, -3:] = 0, 1
    alpha = estimate_alpha(np.full((9, 21, 3), value, np.uint8), trimap, compat=compat)
    assert (np.diff(alpha[4, 2:-2]) > 0).all()
    np.testing.assert_allclose(alpha + alpha[:, ::-1], 1, atol=1e-5)


def test_parts_do_not_depend_on_each_other():
    """Two far bands: together and apart they are solved alike."""
    image, _ = example((40, 50))
    trimap = np.zeros((40, 50), dtype=np.float32)
    trimap[5:15, 5:20], trimap[25:38, 30:48] = 0.5, 0.5
    trimap[8:12, 9:16], trimap[29:33, 36:42] = 1, 1
    together = estimate_alpha(image, trimap)
    first = trimap.copy()
    first[first == 0.5] = np.where(np.nonzero(first == 0.5)[0] < 20, 0.5, 0)
    np.testing.assert_allclose(estimate_alpha(image, first)[:20], together[:20], atol=1e-6)


@pytest.mark.parametrize(
    ("value", "zone", "cure"),
    [(1.0, "background", "raise the background threshold"), (0.0, "foreground", "lower the foreground threshold")],
)
def test_refuses_a_trimap_without_one_zone(value, zone, cure):
    message = f"the trimap's {zone} must be at least one pixel, got none; {cure} or erode less"
    with pytest.raises(EmptyTrimap, match=re.escape(message)):
        estimate_alpha(np.zeros((4, 4, 3)), np.array([[0.5, value, value, 0.5]] * 4))


def test_refuses_a_trimap_that_is_unknown_everywhere():
    with pytest.raises(EmptyTrimap, match="the trimap's background must be at least one pixel, got none"):
        estimate_alpha(np.zeros((4, 4, 3)), np.full((4, 4), 0.5))


@pytest.mark.parametrize("compat", [False, True])
def test_the_same_bytes_on_any_number_of_threads(compat):
    y, x = np.mgrid[:120, :150]
    distance = np.hypot(y - 60, x - 75)
    trimap = np.where(distance < 20, 1, np.where(distance > 50, 0, 0.5))
    image = np.random.default_rng(0).integers(0, 255, (120, 150, 3), dtype=np.uint8)
    read, write = elimination._openblas()
    before, results = read(), []
    for count in (1, 2, 2):
        write(count)
        results.append(estimate_alpha(image, trimap, compat=compat))
    write(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[1], results[2])


@pytest.mark.parametrize("epsilon", [0, -1, 1e-13, np.nan, np.inf])
def test_refuses_an_epsilon_too_small(epsilon):
    with pytest.raises(RangeError, match=r"epsilon must be 1e-12 or more, got .*; leave it at 1e-7"):
        estimate_alpha(*example(), epsilon=epsilon)


def test_refuses_other_sizes_and_values():
    image, trimap = example()
    with pytest.raises(ShapeError, match="trimap size must be that of image"):
        estimate_alpha(image, trimap[:-1])
    with pytest.raises(ShapeError, match=r"image must be \(H, W, 3\)"):
        estimate_alpha(image[..., :2], trimap)
    with pytest.raises(RangeError, match=r"trimap must be in \[0, 1\], got \[nan"):
        estimate_alpha(image, np.where(trimap == 0.5, np.nan, trimap))
    with pytest.raises(RangeError, match=r"image must be in \[0, 1\], got \[nan"):
        estimate_alpha(np.full_like(image, np.nan), trimap)


def test_importing_does_not_load_scipy():
    code = "import sys, maskwright.refine; print([m for m in sys.modules if m.split('.')[0] == 'scipy'])"
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def blurred_case(name):
    """A photo at a small size, and the trimap of a soft ellipse in it."""
    path = SHARED / "images" / "photos" / name
    if not path.exists():
        pytest.skip("the sample pictures are not here")
    picture = Image.open(path).convert("RGB")
    picture.thumbnail((240, 240))
    image = np.asarray(picture)
    y, x = np.indices(image.shape[:2])
    height, width = image.shape[:2]
    distance = np.hypot((y - height / 2) / height, (x - width / 2) / width)
    mask = ((0.42 - distance) / 0.2).clip(0, 1)
    return image, make_trimap(mask.astype(np.float32), compat=True)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["astronaut.jpg", "cameraman_gray.jpg", "cat_face.jpg", "lemur.jpg"])
def test_agrees_with_pymatting(name):
    pytest.importorskip("pymatting")
    from pymatting import estimate_alpha_cf

    image, trimap = blurred_case(name)
    expected = estimate_alpha_cf(image / 255.0, trimap.astype(np.float64), cg_kwargs={"rtol": 1e-10})
    assert np.abs(estimate_alpha(image, trimap, compat=True) - expected).max() < 1e-4
    if name != "cameraman_gray.jpg":  # there PyMatting's own rounding shows
        assert np.abs(estimate_alpha(image, trimap) - expected).mean() < 1e-4
