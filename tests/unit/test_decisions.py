"""Decided between samples, or on the large maps: the same to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from maskwright.decisions import exceeds, largest
from maskwright.geometry import resize_map


def smooth_maps(seed, count, size_hw, sigma=6.0):
    noise = np.random.default_rng(seed).standard_normal((count, *size_hw))
    raised = np.exp(np.stack([gaussian_filter(plane, sigma) for plane in noise]) * 8 * sigma)
    return (raised / raised.sum(axis=0)).astype(np.float32)


def large(maps, size_hw):
    return np.stack([resize_map(np.ascontiguousarray(plane), size_hw, "bilinear") for plane in maps])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(2, 7),
    st.integers(40, 64),
    st.integers(40, 64),
    st.integers(0, 200),
    st.booleans(),
)
def test_the_largest_is_that_of_the_large_maps(seed, count, height, width, more, tall):
    maps = smooth_maps(seed, count, (height, width))
    size_hw = (height + more, width + 31) if tall else (height + 31, width + more)
    decided = largest(maps, size_hw)
    if decided is not None:
        assert decided.dtype == np.uint8
        assert np.array_equal(decided, large(maps, size_hw).argmax(axis=0))


def test_most_pictures_are_decided():
    assert sum(largest(smooth_maps(seed, 6, (64, 64)), (300, 400)) is not None for seed in range(10)) >= 9


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 0.95))
def test_exceeds_is_the_large_map_compared(seed, level):
    values = smooth_maps(seed, 3, (50, 40))[0]
    decided = exceeds(values, (171, 303), level)
    assert np.array_equal(decided, resize_map(values, (171, 303), "bilinear") > np.float32(level))


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 9), (9, 1), (5, 5)])
def test_one_sample_and_the_same_size(size_hw):
    maps = np.zeros((2, 1, 1), np.float32)
    maps[1] = 1
    assert (largest(maps, size_hw) == 1).all()
    same = smooth_maps(3, 4, size_hw, 1)
    assert np.array_equal(largest(same, size_hw), same.argmax(axis=0))


def test_ties_go_to_the_first():
    maps = np.full((3, 8, 8), 1 / 3, np.float32)
    decided = largest(maps, (20, 20))
    assert decided is None or (decided == 0).all()


def test_noise_and_small_pictures_are_left_to_the_large_maps():
    noise = np.random.default_rng(0).random((4, 32, 32), np.float32)
    assert largest(noise, (200, 200)) is None
    assert largest(noise, (31, 200)) is None
    assert exceeds(noise[0], (31, 200), 0.5) is None


@pytest.mark.parametrize(("level", "selected"), [(0.0, False), (0.5, False), (0.25, True)])
def test_a_pixel_of_exactly_the_level_is_not_above_it(level, selected):
    values = np.full((4, 4), 0.5 if level else 0.0, np.float32)
    decided = exceeds(values, (4, 4), level)
    assert (decided == selected).all()
