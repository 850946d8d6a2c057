from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from maskwright.errors import OptionError, RangeError, ShapeError
from maskwright.refine import masks

SIZES = [(1, 1), (17, 31), (1, 40), (40, 1), (3, 90)]
FUNCTIONS = {
    "threshold": masks.threshold,
    "invert": masks.invert,
    "grow": lambda mask: masks.grow(mask, 2),
    "shrink": lambda mask: masks.shrink(mask, 2),
    "feather": lambda mask: masks.feather(mask, 2),
    "smooth": lambda mask: masks.smooth(mask, 2),
    "fill_holes": lambda mask: masks.fill_holes(mask, 9),
    "remove_islands": lambda mask: masks.remove_islands(mask, 9),
    "keep_largest": masks.keep_largest,
    "post_process": masks.post_process,
}
any_mask = hnp.arrays(
    np.float32,
    st.sampled_from([(1, 1), (5, 8), (17, 31), (2, 25)]),
    elements=st.floats(0, 1, width=32),
)
any_bits = hnp.arrays(np.bool_, st.sampled_from([(1, 1), (6, 9), (13, 7), (2, 25)]))
any_radius = st.sampled_from([0, 0.9, 1, np.sqrt(2), 1.5, 2, np.sqrt(5), 3, np.sqrt(13), 5, 30])


def random_mask(size_hw, seed=0):
    return np.random.default_rng(seed).random(size_hw, dtype=np.float32)


def disc_brute(mask, radius, choose):
    """By definition: every pixel against every other."""
    y, x = (axis.ravel() for axis in np.indices(mask.shape))
    near = np.hypot(y[:, None] - y, x[:, None] - x) <= radius
    values = mask.ravel()
    return np.array([choose(values[row]) for row in near], dtype=np.float32).reshape(mask.shape)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("size_hw", SIZES)
@pytest.mark.parametrize("make", [random_mask, np.zeros, np.ones])
def test_gives_a_new_mask_of_the_same_size(name, size_hw, make):
    mask = make(size_hw)
    before = mask.copy()
    result = FUNCTIONS[name](mask)
    assert result.shape == size_hw
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1
    assert not np.shares_memory(result, mask)
    np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_takes_bool(name):
    bits = random_mask((12, 14)) > 0.5
    np.testing.assert_array_equal(FUNCTIONS[name](bits), FUNCTIONS[name](bits.astype(np.float32)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_refuses_what_is_no_mask(name):
    with pytest.raises(ShapeError, match=r"mask must be \(H, W\)"):
        FUNCTIONS[name](np.zeros((2, 2, 3)))
    with pytest.raises(RangeError, match=r"mask must be in \[0, 1\]"):
        FUNCTIONS[name](np.array([[np.nan]]))


@pytest.mark.parametrize("function", [masks.grow, masks.shrink, masks.feather, masks.smooth])
@pytest.mark.parametrize("pixels", [-1, np.nan, np.inf])
def test_refuses_pixels_that_are_no_distance(function, pixels):
    with pytest.raises(RangeError, match="pixels must be 0 or more pixels, got"):
        function(np.zeros((2, 2)), pixels)


@pytest.mark.parametrize("function", [masks.fill_holes, masks.remove_islands])
@pytest.mark.parametrize("area", [-1, np.nan])
def test_refuses_a_negative_area(function, area):
    with pytest.raises(RangeError, match="area must be 0 or more square pixels, got"):
        function(np.zeros((2, 2)), area)


@pytest.mark.parametrize("function", [masks.grow, masks.shrink, masks.feather, masks.smooth])
def test_no_pixels_change_nothing(function):
    mask = random_mask((9, 11))
    np.testing.assert_array_equal(function(mask, 0), mask)


@pytest.mark.parametrize(
    ("level", "expected"), [(0.0, [1, 1, 1]), (0.5, [0, 1, 1]), (0.6, [0, 0, 1]), (1.0, [0, 0, 1])]
)
def test_threshold(level, expected):
    np.testing.assert_array_equal(masks.threshold(np.array([[0.0, 0.5, 1.0]]), level), [expected])


@pytest.mark.parametrize(("level", "expected"), [(0, [0, 1, 1]), (0.5, [0, 0, 1]), (1, [0, 0, 0])])
def test_a_strict_threshold_leaves_the_level_itself_out(level, expected):
    np.testing.assert_array_equal(masks.threshold(np.array([[0.0, 0.5, 1.0]]), level, strict=True), [expected])


def test_a_strict_threshold_of_8_bit_values_is_the_isnetsegment_node_s():
    bits = np.arange(256, dtype=np.uint8)[None]
    for level in np.arange(0, 1.001, 0.001).round(3).tolist():
        ours = masks.threshold(bits / np.float32(255), level, strict=True)
        np.testing.assert_array_equal(ours, bits / 255.0 > level)


@pytest.mark.parametrize("level", [-0.1, 1.1, np.nan, 128])
def test_threshold_refuses_a_level_outside(level):
    with pytest.raises(RangeError, match=r"level must be in \[0, 1\], got .*; divide by 255"):
        masks.threshold(np.zeros((1, 1)), level)


@given(any_mask)
def test_inverting_twice_comes_back(mask):
    np.testing.assert_allclose(masks.invert(masks.invert(mask)), mask, atol=1e-7)
    np.testing.assert_array_equal(masks.invert(mask), 1 - mask)


SETS = {  # what each does with zeros and ones
    "union": np.logical_or,
    "intersect": np.logical_and,
    "subtract": lambda a, b: a & ~b,
    "xor": np.logical_xor,
}


@pytest.mark.parametrize("how", SETS)
@given(any_bits, st.integers(0, 99))
@settings(deadline=None)
def test_combinations_of_bits_are_those_of_sets(how, a, seed):
    b = np.random.default_rng(seed).random(a.shape) < 0.5
    np.testing.assert_array_equal(masks.combine(a, b, how), SETS[how](a, b))


@given(any_mask, st.integers(0, 99))
@settings(deadline=None)
def test_soft_combinations_stay_soft_and_agree_with_each_other(a, seed):
    b = np.random.default_rng(seed).random(a.shape, np.float32)
    union, both, less, either = (masks.combine(a, b, how) for how in ("union", "intersect", "subtract", "xor"))
    np.testing.assert_allclose(union, both + either, atol=1e-6)
    np.testing.assert_allclose(less, a - both, atol=1e-6)
    assert not masks.combine(a, a, "subtract").any()  # a shared soft edge leaves no rim
    assert {each.dtype for each in (union, both, less, either)} == {np.dtype(np.float32)}


def test_combine_refuses_other_sizes_and_other_ways():
    with pytest.raises(ShapeError, match="the second mask size must be that of the first mask"):
        masks.combine(np.zeros((2, 3)), np.zeros((3, 2)), "union")
    with pytest.raises(OptionError, match="how must be union or intersect or subtract or xor, got 'minus'"):
        masks.combine(np.zeros((2, 3)), np.zeros((2, 3)), "minus")


def test_an_area_may_be_endless():
    holed = np.ones((5, 5))
    holed[1:4, 1:4] = 0
    assert masks.fill_holes(holed, np.inf).all()
    assert not masks.remove_islands(holed, np.inf).any()


@given(any_mask, any_radius)
@settings(deadline=None)
def test_grow_and_shrink_by_definition(mask, radius):
    np.testing.assert_array_equal(masks.grow(mask, radius), disc_brute(mask, radius, np.max))
    np.testing.assert_array_equal(masks.shrink(mask, radius), disc_brute(mask, radius, np.min))


@given(any_bits, any_radius)
@settings(deadline=None)
def test_grow_of_bits_is_all_within_the_distance(bits, radius):
    from scipy.ndimage import distance_transform_edt

    grown = masks.grow(bits, radius)
    expected = distance_transform_edt(~bits) <= radius if bits.any() else np.zeros_like(bits)
    np.testing.assert_array_equal(grown, expected)


@pytest.mark.parametrize("name", ["grow", "shrink", "smooth"])
@given(mask=any_mask, radius=st.sampled_from([1, 1.5, 2]), level=st.sampled_from([0.25, 0.5, 0.9]))
@settings(deadline=None, max_examples=30)
def test_every_level_is_treated_alike(name, mask, radius, level):
    mask = (np.rint(mask * 65535) / 65535).astype(np.float32)  # what `smooth` tells apart
    function = getattr(masks, name)
    np.testing.assert_array_equal(
        masks.threshold(function(mask, radius), level), function(masks.threshold(mask, level), radius)
    )


def test_a_soft_edge_moves_unchanged():
    profile = np.concatenate([np.zeros(10), np.linspace(0, 1, 7), np.ones(10)]).astype(np.float32)
    mask = np.tile(profile, (9, 1))
    np.testing.assert_array_equal(masks.grow(mask, 4)[4, :-4], profile[4:])
    np.testing.assert_array_equal(masks.shrink(mask, 4)[4, 4:], profile[:-4])
    np.testing.assert_array_equal(masks.smooth(mask, 4)[4], profile)


def test_shrink_leaves_the_frame_alone():
    np.testing.assert_array_equal(masks.shrink(np.ones((5, 7)), 3), np.ones((5, 7)))


@pytest.mark.parametrize("pixels", [1, 2.5, 6])
def test_feather_reaches_as_far_as_said_and_no_farther(pixels):
    mask = np.zeros((11, 60), dtype=np.float32)
    mask[:, 30:] = 1
    soft = masks.feather(mask, pixels)[5]
    reach = int(np.ceil(pixels))
    changed = np.flatnonzero(soft != mask[5])
    assert (changed.min(), changed.max()) == (30 - reach, 29 + reach)
    assert (np.diff(soft) >= 0).all()
    np.testing.assert_allclose(soft + soft[::-1], 1, atol=1e-6)


@given(any_mask, st.sampled_from([0.5, 1, 3]))
@settings(deadline=None)
def test_feather_to_one_side_stays_on_that_side(mask, pixels):
    assert (masks.feather(mask, pixels, "inside") <= mask).all()
    assert (masks.feather(mask, pixels, "outside") >= mask).all()


def test_feather_by_side_differs():
    mask = np.zeros((9, 40), dtype=np.float32)
    mask[:, 20:] = 1
    inside, centered, outside = (masks.feather(mask, 4, side)[4] for side in ("inside", "centered", "outside"))
    assert inside[19] == 0
    assert 0 < inside[20] < centered[20] < outside[20] == 1


def test_feather_refuses_another_side():
    with pytest.raises(OptionError, match="side must be centered or inside or outside, got 'left'"):
        masks.feather(np.zeros((1, 1)), 1, "left")


@pytest.mark.parametrize("radius", [1, 2, 3.2])
def test_smooth_is_the_median_of_the_disc(radius):
    mask = random_mask((8, 9), 3)
    reach = int(radius)
    padded = np.pad(mask, reach, mode="edge")
    expected = np.empty_like(mask)
    for y in range(8):
        for x in range(9):
            expected[y, x] = np.median(
                [
                    padded[y + reach + dy, x + reach + dx]
                    for dy in range(-reach, reach + 1)
                    for dx in range(-reach, reach + 1)
                    if np.hypot(dy, dx) <= radius
                ]
            )
    np.testing.assert_array_equal(masks.smooth(mask, radius), expected)


def test_smooth_works_tile_by_tile(monkeypatch):
    mask = random_mask((23, 22))
    mask[:, 12:] = 0.25
    whole = masks.smooth(mask, 2)
    monkeypatch.setattr(masks, "_MEDIAN_TILE", 5)
    np.testing.assert_array_equal(masks.smooth(mask, 2), whole)


def test_smooth_tells_16_bits_apart_and_takes_values_that_are_there():
    mask = random_mask((300, 320), 5) ** 4  # more values than 16 bits have
    close = (np.rint(mask * 65535) / 65535).astype(np.float32)
    smoothed = masks.smooth(mask, 10)
    assert np.isin(smoothed, mask).all()
    np.testing.assert_allclose(smoothed, masks.smooth(close, 10), atol=1 / 65535)
    inner = smoothed[10:-10, 10:-10]
    y, x = np.argwhere(np.hypot(*np.ogrid[-10:11, -10:11]) <= 10).T
    expected = np.median([mask[dy : dy + 280, dx : dx + 300] for dy, dx in zip(y, x, strict=True)], axis=0)
    np.testing.assert_allclose(inner, expected, atol=1 / 65535)


def test_smooth_takes_off_a_spike_and_keeps_a_disc():
    y, x = np.ogrid[:41, :41]
    disc = (np.hypot(y - 20, x - 20) < 12).astype(np.float32)
    spiked = disc.copy()
    spiked[20, 30:] = 1
    assert np.abs(masks.smooth(spiked, 3) - disc).sum() <= 8
    assert masks.smooth(spiked, 3)[20, 38] == 0


HOLED = np.array(
    [
        [1.0, 1.0, 1.0, 1.0, 0.0, 0.0],
        [1.0, 0.1, 0.7, 1.0, 1.0, 1.0],
        [1.0, 0.2, 1.0, 0.0, 1.0, 0.0],
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
    ],
    dtype=np.float32,
)


@pytest.mark.parametrize(
    ("area", "filled"),
    [(0, []), (1, [(2, 3)]), (1.9, [(2, 3)]), (2, [(2, 3), (1, 1), (2, 1)]), (99, [(2, 3), (1, 1), (2, 1)])],
)
def test_fill_holes(area, filled):
    expected = HOLED.copy()
    for pixel in filled:
        expected[pixel] = 1
    np.testing.assert_array_equal(masks.fill_holes(HOLED, area), expected)


def test_a_gap_at_a_corner_does_not_open_a_hole():
    mask = 1 - np.eye(5, dtype=np.float32)
    filled = masks.fill_holes(mask, 1)
    np.testing.assert_array_equal(np.diag(filled), [0, 1, 1, 1, 0])


ISLANDS = np.array(
    [
        [1.0, 1.0, 0.4, 0.0, 0.0, 0.0, 0.3],
        [1.0, 0.5, 0.1, 0.0, 0.0, 0.3, 0.9],
        [0.3, 0.0, 0.0, 0.0, 0.2, 0.6, 0.2],
    ],
    dtype=np.float32,
)


@pytest.mark.parametrize(("area", "kept"), [(0, (1, 1)), (2, (1, 1)), (3, (1, 0)), (4, (1, 0)), (5, (0, 0))])
def test_remove_islands(area, kept):
    expected = ISLANDS.copy()
    expected[:, :4] *= kept[0]
    expected[:, 4:] *= kept[1]
    np.testing.assert_array_equal(masks.remove_islands(ISLANDS, area), expected)


def test_islands_joined_at_a_corner_are_one():
    mask = np.eye(4, dtype=np.float32)
    np.testing.assert_array_equal(masks.remove_islands(mask, 4), mask)
    assert not masks.remove_islands(mask, 5).any()


def test_keep_largest():
    expected = ISLANDS.copy()
    expected[:, 4:] = 0
    np.testing.assert_array_equal(masks.keep_largest(ISLANDS), expected)


def test_keep_largest_takes_the_first_of_equals():
    np.testing.assert_array_equal(masks.keep_largest(np.array([[1.0, 0.0, 1.0]])), [[1, 0, 0]])


@pytest.mark.parametrize("function", [masks.keep_largest, lambda mask: masks.remove_islands(mask, 3)])
def test_a_mask_without_regions_stays(function):
    faint = np.full((3, 4), 0.3, dtype=np.float32)
    np.testing.assert_array_equal(function(faint), faint)


def post_process_by_formula(mask):
    """Opening with a cross by shifted copies, and a Gaussian kernel written out."""
    values = np.rint(mask * 255)

    def around(v):
        p = np.pad(v, 1, mode="edge")
        return [p[1:-1, 1:-1], p[:-2, 1:-1], p[2:, 1:-1], p[1:-1, :-2], p[1:-1, 2:]]

    opened = np.max(around(np.min(around(values), axis=0)), axis=0)
    kernel = np.exp(-0.5 * (np.arange(-8, 9) / 2.0) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(opened, 8, mode="symmetric")
    height, width = mask.shape
    rows = sum(k * padded[i : i + height] for i, k in enumerate(kernel))
    blurred = sum(k * rows[:, i : i + width] for i, k in enumerate(kernel))
    return (blurred >= 127).astype(np.float32)


@given(hnp.arrays(np.uint8, st.sampled_from([(9, 12), (17, 31), (2, 20), (1, 1)])))
@settings(deadline=None)
def test_post_process_by_formula(values):
    mask = values.astype(np.float32) / 255
    np.testing.assert_array_equal(masks.post_process(mask), post_process_by_formula(mask))


@given(any_bits)
@settings(deadline=None)
def test_post_process_of_bits_by_formula(bits):
    mask = np.kron(bits, np.ones((3, 3))).astype(np.float32)
    np.testing.assert_array_equal(masks.post_process(mask), post_process_by_formula(mask))


@pytest.mark.peer
def test_post_process_is_rembgs():
    pytest.importorskip("rembg")
    pytest.importorskip("skimage")
    from rembg.bg import post_process

    rng = np.random.default_rng(5)
    for size_hw in [(1, 1), (2, 9), (17, 31), (60, 50)]:
        values = rng.integers(0, 256, size_hw, dtype=np.uint8)
        for values8 in (values, np.where(values > 90, 255, 0).astype(np.uint8)):
            expected = post_process(values8) / np.float32(255)
            np.testing.assert_array_equal(masks.post_process(values8 / np.float32(255)), expected)
