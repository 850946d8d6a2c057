from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from maskwright.errors import EmptyTrimap, OptionError, RangeError, ShapeError
from maskwright.refine import compose, estimate_foreground, make_rgba, over_color

COLOR = st.tuples(*[st.integers(0, 255)] * 4)


def example(size_hw=(6, 7), dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, np.iinfo(dtype).max + 1, (*size_hw, 3), dtype=dtype)
    alpha = rng.random(size_hw, dtype=np.float32)
    alpha[alpha < 0.3] = 0
    return image, alpha


@pytest.mark.parametrize("size_hw", [(1, 1), (17, 31), (1, 500), (400, 1)])
@pytest.mark.parametrize("depth", [8, 16])
def test_rgba_keeps_the_pictures_colours_where_it_can_be_seen(size_hw, depth):
    image, alpha = example(size_hw)
    top = 2**depth - 1
    rgba = make_rgba(image, alpha, depth=depth)
    assert rgba.dtype == (np.uint8 if depth == 8 else np.uint16)
    np.testing.assert_array_equal(rgba[..., 3], np.rint(alpha.astype(np.float64) * top))
    seen = rgba[..., 3] > 0
    np.testing.assert_array_equal(rgba[..., :3][seen], image[seen].astype(int) * (top // 255))
    assert not rgba[..., :3][~seen].any()


@pytest.mark.parametrize(
    ("dtype", "depth", "values", "expected"),
    [
        (np.uint8, 8, [0, 1, 128, 255], [0, 1, 128, 255]),
        (np.uint8, 16, [0, 1, 128, 255], [0, 257, 128 * 257, 65535]),
        (np.uint16, 8, [0, 128, 129, 65406, 65407, 65535], [0, 0, 1, 254, 255, 255]),
        (np.uint16, 16, [0, 1, 65535], [0, 1, 65535]),
        (np.float64, 8, [0, 0.4999 / 255, 0.51 / 255, 1], [0, 0, 1, 255]),
        (np.float32, 16, [0, 0.5, 1], [0, 32768, 65535]),
    ],
)
def test_rgba_converts_depths(dtype, depth, values, expected):
    image = np.repeat(np.array(values, dtype=dtype)[np.newaxis, :, np.newaxis], 3, axis=2)
    rgba = make_rgba(image, np.ones((1, len(values))), depth=depth)
    np.testing.assert_array_equal(rgba[0, :, 1], expected)


def test_rgba_from_16_bits_by_the_formula():
    image = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(3, axis=2)
    expected = np.rint(image / 65535.0 * 255)
    np.testing.assert_array_equal(make_rgba(image, np.ones((256, 256)))[..., :3], expected)


@pytest.mark.parametrize(("alpha", "expected"), [(0.49 / 255, [0, 0, 0, 0]), (0.51 / 255, [9, 9, 9, 1])])
def test_what_rounds_to_nothing_is_hidden(alpha, expected):
    assert make_rgba(np.full((1, 1, 3), 9, np.uint8), np.array([[alpha]])).tolist() == [[expected]]


def test_keep_hidden_keeps_all_colours():
    image, alpha = example()
    np.testing.assert_array_equal(make_rgba(image, alpha, keep_hidden=True)[..., :3], image)
    foreground = np.full(image.shape, 77, np.uint8)
    rgba = make_rgba(image, alpha, foreground=foreground, keep_hidden=True)
    assert (rgba[..., :3] == 77).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_foreground_replaces_the_colours(dtype):
    image, alpha = example(dtype=dtype)
    foreground = np.full(image.shape, 0.2, np.float32)
    rgba = make_rgba(image, alpha, foreground=foreground)
    seen = rgba[..., 3] > 0
    assert (rgba[..., :3][seen] == 51).all()
    assert not rgba[~seen].any()


def test_rgba_refuses_other_sizes_and_values():
    image, alpha = example()
    with pytest.raises(ShapeError, match="alpha size must be that of image"):
        make_rgba(image, alpha[1:])
    with pytest.raises(ShapeError, match="foreground size must be that of image"):
        make_rgba(image, alpha, foreground=image[1:])
    with pytest.raises(ShapeError, match=r"foreground must be \(H, W, 3\)"):
        make_rgba(image, alpha, foreground=alpha)
    with pytest.raises(RangeError, match=r"alpha must be in \[0, 1\]"):
        make_rgba(image, alpha * 255)


@pytest.mark.parametrize("depth", [0, 10, 32])
def test_rgba_refuses_another_depth(depth):
    with pytest.raises(OptionError, match=f"depth must be 8 or 16, got {depth}; leave it at 8"):
        make_rgba(*example(), depth=depth)


def test_rgba_needs_little_memory_besides_the_result():
    image, alpha = np.zeros((1500, 2000, 3), np.uint8), np.ones((1500, 2000), np.float32)
    tracemalloc.start()
    rgba = make_rgba(image, alpha)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - rgba.nbytes < 2**21


def over_by_formula(pixel, color, top):
    """Porter and Duff with exact fractions: the value of each channel and whether it is halfway between two."""
    opacity, under = Fraction(int(pixel[3]), top), Fraction(color[3], 255)
    total = opacity + under * (1 - opacity)
    values = [
        (Fraction(int(c), top) * opacity + Fraction(k, 255) * under * (1 - opacity)) / total if total else 0
        for c, k in zip(pixel[:3], color[:3], strict=True)
    ]
    return [value * top for value in [*values, total]]


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
@given(data=st.data(), color=COLOR)
@settings(deadline=None)
def test_over_color_is_porter_and_duffs(dtype, top, data, color):
    rgba = data.draw(hnp.arrays(dtype, (1, 5, 4)))
    result = over_color(rgba, color)
    assert result.dtype == dtype
    assert not np.shares_memory(result, rgba)
    if color[3] == 0:
        np.testing.assert_array_equal(result, rgba)
        return
    for pixel, got in zip(rgba[0], result[0], strict=True):
        for value, channel in zip(over_by_formula(pixel, color, top), got, strict=True):
            assert abs(value - int(channel)) <= Fraction(1, 2)


def test_over_color_keeps_opaque_pixels_and_fills_clear_ones():
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    expected = [[[10, 20, 30, 255], [1, 2, 3, 100]]]
    assert over_color(rgba, (1, 2, 3, 100)).tolist() == expected


def test_over_color_works_in_blocks(monkeypatch):
    rgba = make_rgba(*example((9, 11)))
    whole = over_color(rgba, (3, 5, 7, 99))
    monkeypatch.setattr(compose, "_BLOCK", 5)
    np.testing.assert_array_equal(over_color(rgba, (3, 5, 7, 99)), whole)
    np.testing.assert_array_equal(make_rgba(*example((9, 11))), rgba)


@pytest.mark.parametrize(
    ("rgba", "error", "message"),
    [
        (np.zeros((2, 2, 3), np.uint8), ShapeError, r"rgba must be \(H, W, 4\) .*, got \(2, 2, 3\); make it"),
        (np.zeros((0, 2, 4), np.uint8), ShapeError, r"rgba must be \(H, W, 4\) with at least one pixel"),
        (np.zeros((2, 2, 4)), RangeError, "rgba must be uint8 or uint16, got float64; make it with make_rgba"),
    ],
)
def test_over_color_refuses_what_is_no_cutout(rgba, error, message):
    with pytest.raises(error, match=message):
        over_color(rgba, (0, 0, 0, 255))


@pytest.mark.parametrize(
    ("color", "error", "message"),
    [
        ((1, 2, 3), ShapeError, "color must be four numbers, got 3; add an alpha of 255"),
        ((0, 0, 256, 0), RangeError, r"color must be within 0 to 255, got \(0, 0, 256, 0\); use 8-bit values"),
        ((0, -1, 0, 0), RangeError, "color must be within 0 to 255"),
    ],
)
def test_over_color_refuses_what_is_no_color(color, error, message):
    with pytest.raises(error, match=message):
        over_color(np.zeros((1, 1, 4), np.uint8), color)


def pictures(mode="RGB"):
    image, alpha = example((12, 15))
    mask = Image.fromarray(np.rint(alpha * 255).astype(np.uint8))
    picture = Image.fromarray(image)
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(image[..., 0]))
    return picture, mask


def test_the_premultiplied_cutout_is_darkened_by_its_alpha():
    picture = Image.new("RGB", (1, 1), (200, 200, 200))
    cutout = compose.premultiplied_cutout(picture, Image.new("L", (1, 1), 128))
    assert cutout.mode == "RGBA"
    assert cutout.getpixel((0, 0)) == (100, 100, 100, 128)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_premultiplied_cutout_by_formula(mode):
    picture, mask = pictures(mode)
    cutout = np.asarray(compose.premultiplied_cutout(picture, mask)).astype(int)
    whole = np.asarray(picture.convert("RGBA")).astype(int)
    assert np.abs(cutout - whole * np.asarray(mask).astype(int)[..., np.newaxis] / 255).max() <= 0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_layer_is_porter_and_duffs_at_every_pixel(dtype):
    """With a coverage each pixel is what it would be over a plain colour of that opacity."""
    rgba = make_rgba(*example((5, 9), dtype), depth=8 * np.dtype(dtype).itemsize)
    coverage = np.random.default_rng(1).integers(0, 256, (5, 9)).astype(np.float32) / 255
    layered = over_color(rgba, (10, 200, 30, 255), coverage)
    for (y, x), share in np.ndenumerate(coverage):
        plain = over_color(rgba[y : y + 1, x : x + 1], (10, 200, 30, round(float(share) * 255)))
        np.testing.assert_array_equal(layered[y, x], plain[0, 0])
    half = over_color(rgba, (10, 200, 30, 51), np.ones((5, 9)))
    np.testing.assert_array_equal(half, over_color(rgba, (10, 200, 30, 51)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_over_image_is_over_color_pixel_by_pixel(dtype):
    image, alpha = example((4, 6), dtype)
    rgba = make_rgba(image, alpha, depth=8 * np.dtype(dtype).itemsize)
    below = np.random.default_rng(2).integers(0, 256, (4, 6, 3), np.uint8)
    opacity = np.random.default_rng(3).integers(0, 256, (4, 6)).astype(np.float32) / 255
    for share in (None, opacity):
        result = compose.over_image(rgba, below, share)
        for y, x in np.ndindex(4, 6):
            under = 255 if share is None else round(float(share[y, x]) * 255)
            color = (*below[y, x].tolist(), under)
            np.testing.assert_array_equal(result[y, x], over_color(rgba[y : y + 1, x : x + 1], color)[0, 0])
    deep = compose.over_image(rgba, below.astype(np.uint16) * 257, opacity)
    np.testing.assert_array_equal(deep, compose.over_image(rgba, below, opacity))


def test_where_nothing_is_to_be_seen_nothing_changes():
    rgba = np.array([[[7, 8, 9, 0], [0, 0, 0, 0]]], np.uint8)  # kept colours stay, and none appear
    np.testing.assert_array_equal(over_color(rgba, (255, 255, 255, 255), np.zeros((1, 2))), rgba)
    np.testing.assert_array_equal(compose.over_image(rgba, rgba[..., :3], np.zeros((1, 2))), rgba)


def test_layers_of_other_sizes_are_refused():
    rgba = np.zeros((2, 3, 4), np.uint8)
    with pytest.raises(ShapeError, match="coverage size must be that of rgba"):
        over_color(rgba, (1, 2, 3, 255), np.zeros((3, 2)))
    with pytest.raises(ShapeError, match="image size must be that of rgba"):
        compose.over_image(rgba, np.zeros((3, 2, 3), np.uint8))
    with pytest.raises(ShapeError, match="opacity size must be that of rgba"):
        compose.over_image(rgba, rgba[..., :3], np.zeros((3, 2)))


def test_over_color_compat_is_near_the_exact_one():
    picture, _ = pictures("RGBA")
    result = np.asarray(compose.over_color_compat(picture, (10, 200, 30, 128))).astype(int)
    exact = over_color(np.asarray(picture), (10, 200, 30, 128)).astype(int)
    assert np.abs(result - exact).max() <= 1


def test_decontaminated_cutout_cuts_values_off():
    picture, mask = pictures()
    alpha = np.asarray(mask) / 255.0
    foreground = estimate_foreground(np.asarray(picture), alpha, compat=True)
    cutout = np.asarray(compose.decontaminate_cutout_compat(picture, mask))
    np.testing.assert_array_equal(cutout[..., :3], np.floor(foreground.astype(np.float64) * 255))
    np.testing.assert_array_equal(cutout[..., 3], np.floor(alpha * 255))


def soft_disc():
    y, x = np.mgrid[:48, :60]
    inside = ((18 - np.hypot(y - 24, x - 30)) / 12 + 0.5).clip(0, 1)
    image = inside[..., np.newaxis] * [0.9, 0.3, 0.1] + (1 - inside[..., np.newaxis]) * [0.1, 0.4, 0.8]
    return Image.fromarray(np.rint(image * 255).astype(np.uint8)), Image.fromarray(
        np.rint(inside * 255).astype(np.uint8)
    )


def test_alpha_matting_cutout_finds_alpha_and_colours():
    picture, mask = soft_disc()
    cutout = np.asarray(compose.alpha_matting_cutout_compat(picture, mask, 240, 10, 2)).astype(int)
    assert np.abs(cutout[..., 3] - np.asarray(mask)).mean() < 2
    seen = cutout[..., 3] > 128
    assert np.abs(cutout[..., :3][seen] - [229, 76, 25]).max() <= 12
    other = np.asarray(compose.alpha_matting_cutout_compat(picture, mask, 240, 10, 8))
    assert (cutout != other).any()


def test_alpha_matting_cutout_refuses_an_empty_trimap():
    picture, mask = soft_disc()
    with pytest.raises(EmptyTrimap, match="the trimap's foreground must be at least one pixel"):
        compose.alpha_matting_cutout_compat(picture, mask, 255, 10, 2)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_the_bytes_are_rembgs():
    pytest.importorskip("rembg")
    pytest.importorskip("pymatting")
    from rembg import bg

    picture, mask = pictures()
    assert compose.premultiplied_cutout(picture, mask).tobytes() == bg.naive_cutout(picture, mask).tobytes()
    cutout = bg.decontaminate_cutout(picture, mask)
    assert compose.decontaminate_cutout_compat(picture, mask).tobytes() == cutout.tobytes()
    color = (10, 200, 30, 100)
    assert compose.over_color_compat(cutout, color).tobytes() == bg.apply_background_color(cutout, color).tobytes()
    picture, mask = soft_disc()
    ours = np.asarray(compose.alpha_matting_cutout_compat(picture, mask, 240, 10, 10)).astype(int)
    theirs = np.asarray(bg.alpha_matting_cutout(picture, mask, 240, 10, 10)).astype(int)
    assert np.abs(ours - theirs).max() <= 1
