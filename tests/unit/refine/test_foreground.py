from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from maskwright.errors import RangeError, ShapeError
from maskwright.refine import estimate_foreground
from maskwright.refine import foreground as module


def example(size_hw, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.random((*size_hw, 3))
    alpha = np.clip(rng.random(size_hw) * 2 - 0.5, 0, 1)
    return image, alpha


def energy_minimum(image, alpha, regularization, gradient_weight):
    """The definition: the colours that minimise the energy, by one dense system for all pixels and channels.

    A pixel that is not soft has its colour as foreground or as background, and nothing of the other.
    """
    soft = (alpha > 1 / 510) & (alpha < 1 - 1 / 510)
    number = np.full(alpha.shape, -1)
    number[soft] = np.arange(soft.sum())
    count = int(soft.sum())
    matrix, right = np.zeros((2 * count, 2 * count)), np.zeros((2 * count, 3))
    for y, x in zip(*np.nonzero(soft), strict=True):
        at, a = number[y, x], alpha[y, x]
        both = np.array([at, count + at])
        matrix[np.ix_(both, both)] += np.outer([a, 1 - a], [a, 1 - a])
        right[both] += np.outer([a, 1 - a], image[y, x])
        for dy, dx in ((0, -1), (0, 1), (-1, 0), (1, 0)):
            v, u = y + dy, x + dx
            if not (0 <= v < alpha.shape[0] and 0 <= u < alpha.shape[1]):
                continue
            pull = regularization + gradient_weight * abs(a - alpha[v, u])
            for part in (0, 1):
                row = part * count + at
                if soft[v, u]:
                    matrix[row, row] += pull
                    matrix[row, part * count + number[v, u]] -= pull
                elif (alpha[v, u] > 0.5) == (part == 0):
                    matrix[row, row] += pull
                    right[row] += pull * image[v, u]
    foreground = image.copy()
    foreground[soft] = np.linalg.solve(matrix, right)[:count]
    return foreground


@pytest.mark.parametrize(("regularization", "gradient_weight"), [(0.05, 1.0), (0.3, 0.2), (0.05, 0.0)])
def test_many_sweeps_reach_the_least_energy(monkeypatch, regularization, gradient_weight):
    """Colours away from 0 and 1, so that no limit is met on the way."""
    monkeypatch.setattr(module, "_SWEEPS", 300)
    monkeypatch.setattr(module, "_SMALL_SWEEPS", 300)
    y, x = np.mgrid[:13, :17]
    alpha = ((x - 4 + np.sin(y)) / 9).clip(0, 1).astype(np.float32)
    image = 0.4 + 0.2 * np.stack([x / 17, y / 13, np.full(x.shape, 0.5)], axis=2)
    expected = energy_minimum(image, alpha, regularization, gradient_weight)
    foreground = estimate_foreground(image, alpha, regularization=regularization, gradient_weight=gradient_weight)
    assert expected.min() > 0.05
    np.testing.assert_allclose(foreground, expected, atol=2e-5)


def test_what_comes_out():
    image, alpha = example((9, 14))
    foreground = estimate_foreground(image, alpha)
    assert foreground.dtype == np.float32
    assert foreground.shape == (9, 14, 3)
    assert foreground.flags.c_contiguous
    assert foreground.flags.writeable
    np.testing.assert_array_equal(foreground, estimate_foreground(image, alpha))


def test_blocks_change_nothing(monkeypatch):
    image, alpha = example((33, 41))
    whole = estimate_foreground(image, alpha)
    monkeypatch.setattr(module, "_BLOCK", 7)
    np.testing.assert_array_equal(estimate_foreground(image, alpha), whole)


def test_sure_pixels_keep_their_colours():
    image, alpha = example((20, 30))
    sure = (alpha <= 1 / 510) | (alpha >= 1 - 1 / 510)
    assert sure.any()
    foreground = estimate_foreground(image, alpha)
    np.testing.assert_array_equal(foreground[sure], image[sure].astype(np.float32))
    assert np.abs(foreground - image)[~sure].max() > 0.1


@pytest.mark.parametrize("opacity", [0.0, 1.0, 1 / 512])
def test_without_soft_pixels_the_picture_comes_back(opacity):
    image, _ = example((20, 30))
    foreground = estimate_foreground(image, np.full((20, 30), opacity))
    np.testing.assert_array_equal(foreground, image.astype(np.float32))
    assert not np.shares_memory(foreground, image)


def test_recovers_the_colour_of_a_mixture():
    x = np.linspace(-0.5, 1.5, 64).clip(0, 1)
    alpha = np.tile(x, (48, 1))
    image = alpha[..., np.newaxis] * [0.9, 0.2, 0.1] + (1 - alpha[..., np.newaxis]) * [0.1, 0.3, 0.8]
    foreground = estimate_foreground(image, alpha)
    assert np.abs(foreground - [0.9, 0.2, 0.1])[alpha > 0.05].max() < 0.02


def test_is_nearer_to_the_true_colours_than_the_reference():
    """A striped subject with a soft outline over noise; the mixture and the alpha are exact."""
    y, x = np.mgrid[:96, :128]
    alpha = ((38 - np.hypot(y - 48, x - 64) + 4 * np.sin(x / 3)) / 8).clip(0, 1)
    subject = np.stack([0.8 + 0.1 * np.sin(y / 9), 0.3 + 0.2 * np.sin(x / 11), np.full(x.shape, 0.1)], axis=2)
    background = np.random.default_rng(0).random((96, 128, 3)) * [0.2, 0.6, 1.0]
    image = alpha[..., np.newaxis] * subject + (1 - alpha[..., np.newaxis]) * background

    def error(foreground):
        return (alpha[..., np.newaxis] * np.abs(foreground - subject))[(alpha > 0.02) & (alpha < 0.98)].mean()

    ours, reference = error(estimate_foreground(image, alpha)), error(estimate_foreground(image, alpha, compat=True))
    assert ours < reference
    assert ours < 0.4 * error(image)


def test_nearly_transparent_pixels_take_no_noise():
    """A weak halo over noise: the mixture says next to nothing about the foreground, the neighbours say it all."""
    y, x = np.mgrid[:40, :60]
    true = ((24 - np.hypot(y - 20, x - 30)) / 3).clip(0, 1)
    alpha = np.maximum(true, 0.012 * (np.hypot(y - 20, x - 30) < 29))
    noise = np.random.default_rng(0).random((40, 60, 3)) * 0.3
    image = true[..., np.newaxis] * [0.9, 0.2, 0.1] + (1 - true[..., np.newaxis]) * noise
    halo = (alpha > 0) & (alpha < 0.013)
    assert halo.any()
    error = np.abs(estimate_foreground(image, alpha) - [0.9, 0.2, 0.1])[halo]
    assert error.mean() < 0.1
    assert (
        error.mean() < np.abs(estimate_foreground(image, alpha, regularization=1e-6) - [0.9, 0.2, 0.1])[halo].mean() / 2
    )


def test_a_pixel_alone_among_transparent_ones_keeps_a_foreground():
    """No neighbour has a foreground: what it started from and the mixture decide."""
    image, alpha = np.full((5, 5, 3), 0.2), np.zeros((5, 5))
    image[2, 2], alpha[2, 2] = 0.6, 0.5
    foreground = estimate_foreground(image, alpha)
    np.testing.assert_allclose(foreground[2, 2], 1.0, atol=0.01)  # 0.5 F + 0.5 * 0.2 = 0.6


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_integers_are_fractions_of_their_range(dtype, top):
    image, alpha = example((9, 9))
    integers = np.rint(image * top).astype(dtype)
    np.testing.assert_array_equal(
        estimate_foreground(integers, alpha), estimate_foreground(integers / np.float64(top), alpha)
    )


@given(
    image=hnp.arrays(np.uint8, st.sampled_from([(1, 1, 3), (17, 31, 3), (2, 60, 3), (1, 40, 3), (33, 1, 3)])),
    opaque=st.sampled_from([None, 0.0, 0.5, 1.0]),
)
@settings(deadline=None, max_examples=40)
def test_any_picture_gives_colours(image, opaque):
    alpha = example(image.shape[:2])[1] if opaque is None else np.full(image.shape[:2], opaque)
    foreground = estimate_foreground(image, alpha)
    assert np.isfinite(foreground).all()
    assert foreground.min() >= 0
    assert foreground.max() <= 1


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 2), (7, 9), (64, 64), (65, 3)])
def test_every_level_holds_the_halved_soft_pixels_of_the_one_before(size_hw):
    alpha = example(size_hw)[1].astype(np.float32)
    alpha[0, 0] = 0.5
    levels = module._levels(alpha)
    assert levels[0].size_hw == size_hw
    assert levels[-1].size_hw == (1, 1)
    for finer, coarser in pairwise(levels):
        y, x = np.divmod(finer.places, finer.size_hw[1])
        assert np.isin((y // 2) * coarser.size_hw[1] + x // 2, coarser.places).all()
        assert (np.diff(coarser.places) > 0).all()


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        ("regularization", 0.0, "regularization must be above 0, got 0; leave it out"),
        ("regularization", np.nan, "regularization must be above 0, got nan"),
        ("gradient_weight", -1.0, "gradient_weight must be 0 or more, got -1; leave it at 1.0"),
    ],
)
def test_refuses_parameters_outside_their_range(parameter, value, message, compat):
    with pytest.raises(RangeError, match=message):
        estimate_foreground(*example((2, 2)), compat=compat, **{parameter: value})


def test_refuses_other_sizes_and_values():
    image, alpha = example((4, 5))
    with pytest.raises(ShapeError, match="alpha size must be that of image"):
        estimate_foreground(image, alpha.T)
    with pytest.raises(RangeError, match=r"alpha must be in \[0, 1\], got \[nan"):
        estimate_foreground(image, np.full_like(alpha, np.nan))
    with pytest.raises(ShapeError, match=r"image must be \(H, W, 3\)"):
        estimate_foreground(image[..., 0], alpha)


def test_the_layers_are_the_foregrounds_of_alpha_and_of_its_complement():
    image, alpha = (part.astype(np.float32) for part in example((40, 50)))
    foreground, background = module.estimate_layers(image, alpha)
    np.testing.assert_array_equal(foreground, estimate_foreground(image, alpha))
    np.testing.assert_allclose(background, estimate_foreground(image, 1 - alpha), atol=1e-5)
