from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import distance_transform_edt

from maskwright.errors import OptionError, RangeError, ShapeError
from maskwright.refine.trimap import edge_weight, make_trimap

Y, X = np.mgrid[:200, :320]
DISTANCE = np.hypot(Y - 100, X - 160) - 60  # from a circle, negative inside


def soft_disk(width):
    """A disk whose edge runs from 1 to 0 over so many pixels."""
    return np.clip(0.5 - DISTANCE / width, 0, 1).astype(np.float32)


def random_mask(size_hw, seed=0):
    return np.random.default_rng(seed).random(size_hw, dtype=np.float32)


def erode_brute(zone, above, below, beyond):
    """By definition: a pixel stays where the window from -above to +below holds only ones."""
    height, width = zone.shape
    padded = np.pad(zone, max(above, below), constant_values=bool(beyond))
    m = max(above, below)
    out = np.zeros_like(zone)
    for y in range(height):
        for x in range(width):
            out[y, x] = padded[y + m - above : y + m + below + 1, x + m - above : x + m + below + 1].all()
    return out


@given(hnp.arrays(np.float32, st.sampled_from([(1, 1), (5, 8), (17, 31), (2, 25)]), elements=st.floats(0, 1, width=32)))
@settings(deadline=None)
def test_the_automatic_trimap_knows_only_what_the_mask_is_sure_of(mask):
    trimap = make_trimap(mask)
    assert trimap.shape == mask.shape
    assert trimap.dtype == np.float32
    assert set(np.unique(trimap)) <= {0, 0.5, 1}
    assert (mask[trimap == 1] >= 0.98).all()
    assert (mask[trimap == 0] <= 0.02).all()
    assert (trimap[(mask > 0.03) & (mask < 0.97)] == 0.5).all()


@pytest.mark.parametrize("width", [4, 12, 40])
def test_the_automatic_band_is_as_wide_as_the_mask_is_soft(width):
    unknown = make_trimap(soft_disk(width)) == 0.5
    reach = np.abs(DISTANCE)[unknown].max()
    assert 0.48 * width < reach < 0.48 * width + 2.5


def test_the_automatic_band_grows_with_the_picture():
    small, large = (make_trimap(np.arange(size)[np.newaxis] >= size // 2) == 0.5 for size in (320, 3200))
    assert small.sum() == 4
    assert large.sum() == 22


def test_the_automatic_trimap_is_symmetric():
    mask = soft_disk(9)[:-1, 1:]  # its own mirror image, about the middle between two pixels
    mask = (mask + mask[::-1] + mask[:, ::-1] + mask[::-1, ::-1]) / 4
    trimap = make_trimap(mask)
    np.testing.assert_array_equal(trimap, trimap[::-1])
    np.testing.assert_array_equal(trimap, trimap[:, ::-1])
    np.testing.assert_array_equal(make_trimap(1 - mask), 1 - trimap)


def test_a_subject_that_the_frame_cuts_off_is_known_up_to_the_frame():
    mask = np.zeros((40, 40), dtype=np.float32)
    mask[10:, 20:] = 1
    trimap = make_trimap(mask)
    assert trimap[-1, -1] == trimap[-1, 25] == 1
    assert trimap[0, 0] == trimap[-1, 0] == 0


@pytest.mark.parametrize("value", [0, 1, 0.01, 0.99])
def test_a_mask_that_is_sure_everywhere_leaves_nothing_open(value):
    mask = np.full((5, 6), value, dtype=np.float32)
    assert not edge_weight(mask).any()
    np.testing.assert_array_equal(make_trimap(mask), np.full((5, 6), round(value)))


def test_the_weight_of_an_edge_falls_to_0_around_it():
    weight = edge_weight(np.repeat([[0.0, 0.5, 1.0]], [200, 1, 199], axis=1).astype(np.float32))[0]
    assert weight[200] == 1
    np.testing.assert_array_equal(weight[198:203] > 0, [False, True, True, True, False])
    assert 0 < weight[199] < 1


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (40, 1), (30, 45), (60, 1300)])
def test_the_weight_falls_with_the_distance_from_what_is_open(size_hw):
    rng = np.random.default_rng(4)
    mask = np.where(rng.random(size_hw) < 0.01, 0.5, 0.0).astype(np.float32)
    mask[0, 0] = 0.5
    reach = 0.4 + max(1.0, max(size_hw) / 320)
    expected = np.clip(1 - distance_transform_edt(mask == 0) / reach, 0, 1)
    np.testing.assert_allclose(edge_weight(mask), expected, atol=1e-6)


@pytest.mark.parametrize("changed", [{"foreground_threshold": 240}, {"background_threshold": 10}, {"erode_size": 10}])
def test_one_number_makes_the_trimap_go_by_the_numbers(changed):
    mask = soft_disk(30)
    trimap = make_trimap(mask, **changed)
    everything = make_trimap(mask, foreground_threshold=240, background_threshold=10, erode_size=10)
    np.testing.assert_array_equal(trimap, everything)
    assert (trimap != make_trimap(mask)).any()


@pytest.mark.parametrize("array", [np.zeros((2, 2, 1)), np.zeros((0, 3))])
def test_only_a_mask_gets_a_trimap(array):
    with pytest.raises(ShapeError, match=r"mask must be \(H, W\)"):
        make_trimap(array)


def test_a_mask_outside_its_range_gets_no_trimap():
    with pytest.raises(RangeError, match=r"mask must be in \[0, 1\]"):
        make_trimap(np.full((2, 2), 2.0))


def test_trimap_thresholds_are_strict():
    mask = np.array([[0, 9, 10, 11, 239, 240, 241, 255]], dtype=np.uint8) / np.float32(255)
    expected = [[0, 0, 0.5, 0.5, 0.5, 0.5, 1, 1]]
    np.testing.assert_array_equal(make_trimap(mask, erode_size=0), expected)
    np.testing.assert_array_equal(make_trimap(mask, erode_size=1, compat=True), expected)


def test_trimap_in_between_bytes():
    mask = np.array([[9.9, 10.1, 239.9, 240.1]]) / 255
    np.testing.assert_array_equal(make_trimap(mask, erode_size=0), [[0, 0.5, 0.5, 1]])
    np.testing.assert_array_equal(make_trimap(mask, erode_size=1, compat=True), [[0.5, 0.5, 0.5, 0.5]])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 9, 10])
def test_trimap_erodes_alike_on_all_sides(size):
    mask = random_mask((14, 17), size) ** 4
    mask[3:13, :13] = 1
    foreground, background = mask * 255 > 200, mask * 255 < 100
    half = size // 2
    expected = np.full(mask.shape, 0.5)
    expected[erode_brute(foreground, half, half, 1)] = 1
    expected[erode_brute(background, half, half, 1)] = 0
    trimap = make_trimap(mask, foreground_threshold=200, background_threshold=100, erode_size=size)
    np.testing.assert_array_equal(trimap, expected)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9, 10])
def test_compat_trimap_erodes_off_centre_and_from_the_frame(size):
    mask = np.zeros((30, 30), dtype=np.float32)
    mask[8:22, :22] = 1
    above, below = size // 2, size - 1 - size // 2
    expected = np.full(mask.shape, 0.5)
    expected[erode_brute(mask > 0.5, above, below, 0)] = 1
    expected[erode_brute(mask < 0.5, above, below, 1)] = 0
    np.testing.assert_array_equal(make_trimap(mask, erode_size=size, compat=True), expected)


def test_compat_trimap_of_a_known_case():
    mask = np.zeros((30, 30), dtype=np.float32)
    mask[8:22, 8:22] = 1
    rows = np.flatnonzero((make_trimap(mask, compat=True) == 1).any(axis=1))
    assert (rows.min(), rows.max()) == (13, 17)
    without = make_trimap(mask, erode_size=0, compat=True)
    assert (without == 1).sum() == 144  # a size of 0 still takes the cross
    assert (make_trimap(mask, erode_size=0) == 1).sum() == 196


def test_trimap_keeps_a_subject_at_the_frame():
    mask = np.ones((12, 12), dtype=np.float32)
    mask[:, :2] = 0
    assert make_trimap(mask, erode_size=2)[0, 11] == 1
    assert make_trimap(mask, erode_size=2, compat=True)[0, 11] == 0.5


@pytest.mark.parametrize(
    "changed", [{"foreground_threshold": 250}, {"background_threshold": 20}, {"erode_size": 3}, {"compat": True}]
)
def test_each_trimap_option_changes_the_trimap(changed):
    mask = np.tile(np.linspace(-1, 2, 300, dtype=np.float32).clip(0, 1), (40, 1))
    assert (make_trimap(mask, **changed) != make_trimap(mask, erode_size=10)).any()


def test_trimap_refuses_crossed_thresholds():
    message = "foreground_threshold must be above background_threshold, 100, got 100; use 240 and 10"
    with pytest.raises(OptionError, match=message):
        make_trimap(np.zeros((1, 1)), foreground_threshold=100, background_threshold=100)


def test_trimap_refuses_a_background_threshold_that_finds_nothing():
    with pytest.raises(RangeError, match="background_threshold must be 1 or more, got 0; below 1 nothing"):
        make_trimap(np.zeros((1, 1)), background_threshold=0)


def test_trimap_refuses_a_negative_size():
    with pytest.raises(RangeError, match="erode_size must be 0 or more pixels, got -1"):
        make_trimap(np.zeros((1, 1)), erode_size=-1)


def test_compat_trimap_takes_any_thresholds():
    trimap = make_trimap(
        np.full((5, 5), 0.5), foreground_threshold=10, background_threshold=240, erode_size=1, compat=True
    )
    assert not trimap.any()  # the background wins
