from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from maskwright.refine import estimate_foreground as estimate
from maskwright.refine import foreground_compat as module

estimate_foreground = partial(estimate, compat=True)
SHARED = Path(__file__).resolve().parents[4] / "shared"
F4 = np.float32


def nearest(values, size_hw):
    height, width = size_hw
    rows = [y * values.shape[0] // height for y in range(height)]
    cols = [x * values.shape[1] // width for x in range(width)]
    return values[np.ix_(rows, cols)].copy()


def raster_foreground(image, alpha, regularization=1e-5, small=10, big=2, small_size=32, gradient_weight=1.0):
    """The definition, in float64: pixel by pixel in reading order, in place."""
    size_hw = alpha.shape
    surely = [alpha > 0.9, alpha < 0.1]
    both = [np.full((1, 1, 3), image[s].mean(axis=0) if s.any() else 0.0) for s in surely]
    count = int(np.ceil(np.log2(max(size_hw))))
    for level in range(count + 1):
        height, width = (round(side ** (level / count)) if count else 1 for side in size_hw)
        colors, opacity = nearest(image, (height, width)), nearest(alpha, (height, width))
        both = [nearest(part, (height, width)) for part in both]
        for _ in range(small if max(height, width) <= small_size else big):
            for y in range(height):
                for x in range(width):
                    a = opacity[y, x]
                    matrix = np.array([[a * a, a * (1 - a)], [a * (1 - a), (1 - a) ** 2]])
                    right = np.array([a * colors[y, x], (1 - a) * colors[y, x]])
                    for dy, dx in ((0, -1), (0, 1), (-1, 0), (1, 0)):
                        v, u = min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)
                        pull = regularization + gradient_weight * abs(a - opacity[v, u])
                        matrix += pull * np.eye(2)
                        right += pull * np.array([both[0][v, u], both[1][v, u]])
                    solved = np.linalg.solve(matrix, right).clip(0, 1)
                    both[0][y, x], both[1][y, x] = solved
    return both[0]


def example(size_hw, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.random((*size_hw, 3))
    alpha = np.clip(rng.random(size_hw) * 2 - 0.5, 0, 1)
    return image, alpha


@pytest.mark.parametrize("size_hw", [(7, 9), (9, 7), (1, 12), (12, 1), (2, 2), (5, 40), (1, 1)])
def test_is_the_sweep_in_reading_order(size_hw):
    image, alpha = example(size_hw)
    # A stronger pull than usual: with the usual one, float32 itself is good to three digits only.
    foreground = estimate_foreground(image, alpha, regularization=1e-2)
    np.testing.assert_allclose(foreground, raster_foreground(image, alpha, 1e-2), atol=2e-5)
    assert foreground.dtype == np.float32
    assert foreground.shape == (*size_hw, 3)
    assert foreground.flags.c_contiguous


@pytest.mark.parametrize(
    ("changed", "named", "constants"),
    [
        ({"regularization": 0.1}, {"regularization": 0.1}, {}),
        ({"gradient_weight": 0.2}, {"gradient_weight": 0.2}, {}),
        ({"small": 1}, {}, {"_SMALL_SWEEPS": 1}),
        ({"big": 5, "small_size": 4}, {}, {"_SWEEPS": 5, "_SMALL": 4}),
    ],
)
def test_each_parameter_counts(monkeypatch, changed, named, constants):
    image, alpha = example((8, 11))
    usual = estimate_foreground(image, alpha, regularization=1e-2)
    for name, value in constants.items():
        monkeypatch.setattr(module, name, value)
    expected = raster_foreground(image, alpha, **{"regularization": 1e-2, **changed})
    foreground = estimate_foreground(image, alpha, **{"regularization": 1e-2, **named})
    np.testing.assert_allclose(foreground, expected, atol=3e-5)
    assert np.abs(foreground - usual).max() > 1e-3


@pytest.mark.parametrize(("band", "chunk"), [(1, 1), (3, 7), (5, 100)])
def test_bands_and_chunks_change_nothing(monkeypatch, band, chunk):
    image, alpha = example((17, 31))
    whole = estimate_foreground(image, alpha)
    monkeypatch.setattr(module, "_BAND", band)
    monkeypatch.setattr(module, "_CHUNK", chunk)
    np.testing.assert_array_equal(estimate_foreground(image, alpha), whole)


@pytest.mark.parametrize(
    ("size_hw", "levels"),
    [
        ((1, 1), [(1, 1)]),
        ((1, 2), [(1, 1), (1, 2)]),
        ((8, 8), [(1, 1), (2, 2), (4, 4), (8, 8)]),
        ((3, 16), [(1, 1), (1, 2), (2, 4), (2, 8), (3, 16)]),
    ],
)
def test_levels(size_hw, levels):
    assert module._levels(size_hw) == levels


def test_recovers_the_colour_of_a_mixture():
    x = np.linspace(-0.5, 1.5, 64).clip(0, 1)
    alpha = np.tile(x, (48, 1))
    image = alpha[..., np.newaxis] * [0.9, 0.2, 0.1] + (1 - alpha[..., np.newaxis]) * [0.1, 0.3, 0.8]
    foreground = estimate_foreground(image, alpha)
    seen = alpha > 0.05
    assert np.abs(foreground - [0.9, 0.2, 0.1])[seen].max() < 0.02


def test_opaque_pixels_keep_their_colours():
    image, _ = example((20, 30))
    np.testing.assert_allclose(estimate_foreground(image, np.ones((20, 30))), image, atol=1e-4)


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_integers_are_fractions_of_their_range(dtype, top):
    image, alpha = example((9, 9))
    integers = np.rint(image * top).astype(dtype)
    np.testing.assert_array_equal(
        estimate_foreground(integers, alpha), estimate_foreground(integers / np.float64(top), alpha)
    )


@given(
    image=hnp.arrays(np.uint8, st.sampled_from([(1, 1, 3), (17, 31, 3), (2, 60, 3)])),
    opaque=st.sampled_from([None, 0.0, 0.5, 1.0]),
)
@settings(deadline=None, max_examples=25)
def test_any_picture_gives_colours(image, opaque):
    alpha = example(image.shape[:2])[1] if opaque is None else np.full(image.shape[:2], opaque)
    foreground = estimate_foreground(image, alpha)
    assert np.isfinite(foreground).all()
    assert foreground.min() >= 0
    assert foreground.max() <= 1


def test_the_mean_rounds_as_a_running_sum(monkeypatch):
    colors = np.random.default_rng(0).random((1000, 3), dtype=np.float32)
    total = np.zeros(3, dtype=np.float32)
    for color in colors:
        total += color
    monkeypatch.setattr(module, "_CHUNK", 64)
    np.testing.assert_array_equal(module._mean(colors), (total / (1000 + 1e-5)).astype(np.float32))


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["astronaut.jpg", "portrait_curly.jpg", "plants.jpg"])
def test_is_pymattings_to_the_last_bit(name):
    pytest.importorskip("pymatting")
    from pymatting import estimate_foreground_ml

    path = SHARED / "images" / "photos" / name
    if not path.exists():
        pytest.skip("the sample pictures are not here")
    picture = Image.open(path).convert("RGB")
    picture.thumbnail((301, 301))
    image = np.asarray(picture)
    alpha = example(image.shape[:2])[1]
    alpha[: len(alpha) // 3], alpha[-len(alpha) // 3 :] = 0, 1
    np.testing.assert_array_equal(estimate_foreground(image, alpha), estimate_foreground_ml(image / 255.0, alpha))
