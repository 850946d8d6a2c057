from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from maskwright.errors import OptionError, RangeError, ShapeError
from maskwright.refine import layers

Y, X = np.mgrid[:120, :140]


def disc(radius, y=60, x=70):
    """A disc whose rim is antialiased: opacity is how far the pixel's middle lies inside."""
    return (radius + 0.5 - np.hypot(Y - y, X - x)).clip(0, 1).astype(np.float32)


class TestOutline:
    @pytest.mark.parametrize("width", [1, 2.5, 6, 20])
    def test_a_disc_gets_a_larger_disc_to_a_fraction_of_a_pixel(self, width):
        covered = layers.make_outline(disc(25), width)
        assert np.abs(covered - disc(25 + width)).max() < (0.1 if width > 2 else 0.25)
        assert covered.sum() == pytest.approx(disc(25 + width).sum(), rel=0.006)

    @pytest.mark.parametrize("width", [1, 3, 7])
    def test_a_straight_hard_edge_moves_by_exactly_the_width(self, width):
        alpha = np.zeros((40, 60))
        alpha[:, 20:30] = 1
        expected = np.zeros((40, 60))
        expected[:, 20 - width : 30 + width] = 1
        np.testing.assert_array_equal(layers.make_outline(alpha, width), expected)

    @given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 1, 2.5, 4]))
    @settings(deadline=None, max_examples=30)
    def test_by_definition(self, seed, width):
        """Every pixel against every point where alpha crosses one half between two neighbours."""
        alpha = np.random.default_rng(seed).random((9, 11), np.float32) ** 4
        edge = []
        for (y, x), here in np.ndenumerate(alpha):
            for dy, dx in ((1, 0), (0, 1)):
                if y + dy < 9 and x + dx < 11 and (here >= 0.5) != ((there := alpha[y + dy, x + dx]) >= 0.5):
                    t = (0.5 - float(here)) / (float(there) - float(here))
                    edge.append((y + t * dy, x + t * dx))
        expected = alpha.copy()
        for (y, x), here in np.ndenumerate(alpha):
            if here < 0.5 and edge:
                away = min(np.hypot(y - b, x - a) for b, a in edge)
                expected[y, x] = max(here, np.clip(width + 0.5 - away, 0, 1))
            elif here >= 0.5:
                expected[y, x] = 1
        np.testing.assert_allclose(layers.make_outline(alpha, width), expected, atol=1e-5)

    def test_a_soft_edge_is_measured_from_where_it_crosses_one_half(self):
        alpha = np.tile(np.linspace(0.04, 0.96, 24), (9, 1))[:, ::-1]  # crosses between columns 11 and 12
        covered = layers.make_outline(alpha, 3)[4]
        assert covered[14] == pytest.approx(1, abs=0.01)
        assert covered[15] == pytest.approx(alpha[4, 15], abs=0.01)  # beyond the outline the soft edge itself stays
        assert covered[11] == 1

    def test_no_width_and_no_subject_leave_the_alpha(self):
        alpha = disc(10)
        np.testing.assert_array_equal(layers.make_outline(alpha, 0), alpha)
        faint = alpha * np.float32(0.3)
        np.testing.assert_array_equal(layers.make_outline(faint, 5), faint)

    def test_the_subject_is_under_it_and_the_input_is_not_touched(self):
        alpha = disc(30, y=0)
        before = alpha.copy()
        covered = layers.make_outline(alpha, 4)
        assert (covered >= alpha).all()
        assert covered[0, 70 + 33] == 1  # along the frame as elsewhere
        np.testing.assert_array_equal(alpha, before)


class TestShadow:
    def test_it_lies_where_the_offset_says(self):
        shade = layers.make_shadow(disc(20), (7, -3), 0)
        np.testing.assert_array_equal(shade, disc(20, y=57, x=77))

    @pytest.mark.parametrize("blur", [3, 8, 40, 90])
    def test_it_is_as_soft_as_said(self, blur):
        shade = layers.make_shadow(disc(30), (0, 0), blur)
        assert np.abs(shade - gaussian_filter(disc(30), blur / 2, mode="nearest")).max() < 0.02
        assert 0 <= shade.min() <= shade.max() <= 1

    def test_a_subject_at_the_frame_goes_on_beyond_it(self):
        alpha = np.zeros((20, 20))
        alpha[:, :5] = 1
        np.testing.assert_array_equal(layers.make_shadow(alpha, (3, 0), 0)[0], [1] * 8 + [0] * 12)


class TestBlurredBackground:
    IMAGE = np.where(disc(30)[..., None] > 0, [250, 10, 10], [20, 90, 200]).astype(np.uint8)

    def test_the_subject_leaves_no_trace_around_it(self):
        blurred = layers.blur_background(self.IMAGE, (disc(30) > 0).astype(np.float32), 12)
        outside = disc(32) == 0
        assert np.abs(blurred[outside].astype(int) - [20, 90, 200]).max() <= 1
        naive = gaussian_filter(self.IMAGE[..., 0].astype(float), 12)
        assert naive[outside].max() > 60  # which is what it would be otherwise

    @pytest.mark.parametrize("radius", [0.5, 2, 12])
    def test_deep_inside_the_subject_it_is_what_lies_around(self, radius):
        blurred = layers.blur_background(self.IMAGE, (disc(30) > 0).astype(np.float32), radius)
        assert np.abs(blurred.astype(int) - [20, 90, 200]).max() <= 1

    def test_a_radius_of_0_keeps_the_picture_outside(self):
        blurred = layers.blur_background(self.IMAGE, (disc(30) > 0).astype(np.float32), 0)
        np.testing.assert_array_equal(blurred, self.IMAGE)

    def test_without_a_subject_it_is_a_plain_blur_in_both_depths(self):
        image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
        nothing = np.zeros((50, 60), np.float32)
        expected = np.stack([gaussian_filter(image[..., c].astype(float), 2, mode="nearest") for c in range(3)], -1)
        assert np.abs(layers.blur_background(image, nothing, 2) - expected).max() <= 0.51
        deep = layers.blur_background(image.astype(np.uint16) * 257, nothing, 2)
        assert deep.dtype == np.uint16
        assert np.abs(deep / 257 - expected).max() < 0.01

    def test_a_picture_that_is_all_subject_stays(self):
        np.testing.assert_array_equal(
            layers.blur_background(self.IMAGE, np.ones((120, 140), np.float32), 5), self.IMAGE
        )

    def test_other_sizes_are_refused(self):
        with pytest.raises(ShapeError, match="alpha size must be that of image"):
            layers.blur_background(self.IMAGE, np.zeros((5, 5)), 5)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda value: layers.make_outline(disc(3), value), "width"),
        (lambda value: layers.make_shadow(disc(3), (0, 0), value), "blur"),
        (lambda value: layers.blur_background(TestBlurredBackground.IMAGE, disc(3), value), "radius"),
    ],
)
@pytest.mark.parametrize("value", [-1, np.nan, np.inf])
def test_lengths_below_zero_are_refused(call, name, value):
    with pytest.raises(RangeError, match=f"{name} must be 0 or more pixels, got"):
        call(value)


@pytest.mark.parametrize(
    ("text", "color"),
    [
        ("white", (255, 255, 255, 255)),
        ("#f80", (255, 136, 0, 255)),
        ("#ff880040", (255, 136, 0, 64)),
        ("1,2,3", (1, 2, 3, 255)),
        ("1, 2, 3, 4", (1, 2, 3, 4)),
        ("rgb(9,8,7)", (9, 8, 7, 255)),
    ],
)
def test_colours(text, color):
    assert layers.parse_color(text) == color
    assert layers.parse_background(text) == color


@pytest.mark.parametrize("text", ["", "whit", "#12345", "1,2", "1,2,300", "1,b,3", "beach.jpg", "../secret"])
def test_what_is_no_colour_is_refused(text):
    with pytest.raises(OptionError, match="a colour must be a name, #rrggbb or R,G,B, got"):
        layers.parse_color(text)


@pytest.mark.parametrize(("text", "radius"), [("blur", 0.0), ("blur:20", 20.0), ("blur:2.5", 2.5)])
def test_blurs(text, radius):
    assert layers.parse_background(text) == radius


@pytest.mark.parametrize("text", ["blur:", "blur:-3", "blur:0", "blur:nan", "blur:wide"])
def test_what_is_no_blur_is_refused(text):
    with pytest.raises(OptionError, match="background must be blur or blur:RADIUS, got"):
        layers.parse_background(text)
