import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskwright.errors import OptionError, RangeError, ShapeError
from maskwright.geometry import (
    cover,
    crop,
    fit_crop_region,
    fit_placement,
    make_bbox,
    parse_aspect,
    parse_padding,
    place,
    resize,
    resize_map,
    touched_sides,
    unplace,
)

sides = st.integers(1, 40)


def bilinear_by_hand(values, size_hw):
    """The definition, one pixel at a time: half-pixel centres, clamped."""
    height, width = values.shape
    result = np.empty(size_hw)
    for y in range(size_hw[0]):
        for x in range(size_hw[1]):
            v = min(max((y + 0.5) * height / size_hw[0] - 0.5, 0), height - 1)
            u = min(max((x + 0.5) * width / size_hw[1] - 0.5, 0), width - 1)
            y0, x0 = int(v), int(u)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            top = values[y0, x0] * (1 - u + x0) + values[y0, x1] * (u - x0)
            low = values[y1, x0] * (1 - u + x0) + values[y1, x1] * (u - x0)
            result[y, x] = top * (1 - v + y0) + low * (v - y0)
    return result


@settings(max_examples=60, deadline=None)
@given(st.tuples(sides, sides), st.tuples(sides, sides), st.integers(0, 2**31))
def test_bilinear_is_its_definition_at_every_pair_of_sizes(source, target, seed):
    values = np.random.default_rng(seed).random(source, np.float32)
    assert np.abs(resize_map(values, target, "bilinear") - bilinear_by_hand(values, target)).max() < 1e-5


def test_bilinear_of_a_picture_does_not_round():
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 1] = 255
    assert np.allclose(resize(image, (2, 4), "bilinear")[0, :, 0], [0, 63.75, 191.25, 255])


@pytest.mark.parametrize("kernel", ["bilinear-antialias", "lanczos", "area"])
def test_shrinking_with_a_low_pass_keeps_the_mean(kernel):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert abs(resize(image, (4, 4), kernel).mean() - image.mean()) < 3


def test_area_enlarges_bilinearly_and_never_in_blocks():
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 1] = 255
    assert len(np.unique(resize(image, (2, 8), "area"))) > 2


@pytest.mark.parametrize("kernel", ["bilinear", "bilinear-antialias", "lanczos", "area"])
def test_a_map_of_the_right_size_comes_back_as_a_copy(kernel):
    values = np.random.default_rng(0).random((5, 7), np.float32)
    same = resize_map(values, (5, 7), kernel)
    assert np.array_equal(same, values)
    assert same is not values


def test_what_is_no_picture_is_refused():
    with pytest.raises(ShapeError, match=r"image to resize must be uint8 \(H, W, 3\)"):
        resize(np.zeros((2, 2, 3), np.float32), (1, 1), "lanczos")


@pytest.mark.parametrize(
    ("image_hw", "fit", "input_hw", "box_hw", "offset_hw"),
    [
        ((300, 700), "stretch", (64, 64), (64, 64), (0, 0)),
        ((100, 200), "letterbox", (64, 64), (32, 64), (16, 0)),
        ((200, 100), "letterbox", (64, 64), (64, 32), (0, 16)),
        ((1, 4000), "letterbox", (64, 64), (1, 64), (31, 0)),
        # MODNet's rule for 512: shorter side to 512, then down to multiples of 32.
        ((1024, 768), "shorter-side", (672, 512), (672, 512), (0, 0)),
        ((600, 400), "shorter-side", (576, 384), (576, 384), (0, 0)),
        ((200, 100), "shorter-side", (1024, 512), (1024, 512), (0, 0)),
        ((729, 1000), "shorter-side", (512, 672), (512, 672), (0, 0)),  # 729 * (512 / 729) is 511.99…
        ((1, 400), "shorter-side", (512, 4096), (512, 4096), (0, 0)),
    ],
)
def test_where_a_picture_goes(image_hw, fit, input_hw, box_hw, offset_hw):
    size_hw = (512, 512) if fit == "shorter-side" else (64, 64)
    placement = fit_placement(image_hw, size_hw, fit)
    assert (placement.input_hw, placement.box_hw, placement.offset_hw) == (input_hw, box_hw, offset_hw)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["stretch", "letterbox", "shorter-side"]))
def test_there_and_back_ends_at_the_picture_s_size(height, width, fit):
    placement = fit_placement((height, width), (64, 64), fit)
    placed = place(np.full((height, width, 3), 255, np.uint8), placement, "bilinear-antialias")
    assert placed.shape == (*placement.input_hw, 3)
    back = unplace(np.ascontiguousarray(placed[..., 0] / np.float32(255)), placement, "bilinear")
    assert back.shape == (height, width)
    assert back.min() > 0.99  # nothing of the black round the picture comes back


def test_a_network_may_answer_at_half_its_input_s_size():
    placement = fit_placement((100, 200), (64, 64), "letterbox")
    answer = np.zeros((32, 32), np.float32)
    answer[8:24] = 1
    assert np.all(unplace(answer, placement, "bilinear") == 1)


def test_the_box_of_a_mask_goes_around_all_that_is_not_surely_background():
    mask = np.zeros((9, 12), np.float32)
    assert make_bbox(mask) is None
    mask[3, 4] = 10 / 255
    mask[5, 7] = 1
    mask[0, 0] = 9 / 255
    assert make_bbox(mask) == (4, 3, 8, 6)
    assert make_bbox(mask, 0.5) == (7, 5, 8, 6)
    assert make_bbox(mask >= 0.5) == (7, 5, 8, 6)


@pytest.mark.parametrize(
    ("bbox", "sides"),
    [
        ((1, 1, 9, 4), (False, False, False, False)),
        ((0, 1, 9, 5), (True, False, False, True)),
        ((1, 0, 10, 4), (False, True, True, False)),
        ((-2, 1, 12, 4), (True, False, True, False)),
    ],
)
def test_touched_sides(bbox, sides):
    assert touched_sides(bbox, (5, 10)) == sides


FREE = (False, False, False, False)


@pytest.mark.parametrize(
    ("padding", "aspect", "pinned", "region"),
    [
        (0, None, FREE, (10, 20, 30, 60)),
        (5, None, FREE, (5, 15, 35, 65)),
        (5, None, (True, False, False, True), (10, 15, 35, 60)),
        (0, 1.0, FREE, (0, 20, 40, 60)),
        (0, 2.0, FREE, (-20, 20, 60, 60)),
        (0, 0.25, FREE, (10, 0, 30, 80)),
        (0, 1.0, (True, False, False, False), (10, 20, 50, 60)),
        (0, 1.0, (False, False, True, False), (-10, 20, 30, 60)),
        (0, 1.0, (True, False, True, False), (0, 20, 40, 60)),
        (0, 0.25, (False, False, False, True), (10, -20, 30, 60)),
    ],
)
def test_crop_regions(padding, aspect, pinned, region):
    assert fit_crop_region((10, 20, 30, 60), padding=padding, aspect=aspect, pinned=pinned) == region


@pytest.mark.parametrize("aspect", [0.8, 1, 16 / 9, 0.01, 3.7])
@pytest.mark.parametrize("bbox", [(0, 0, 1, 1), (3, 5, 100, 17), (7, 1, 8, 300)])
def test_the_aspect_is_met_to_the_nearest_pixel(bbox, aspect):
    x1, y1, x2, y2 = fit_crop_region(bbox, aspect=aspect)
    assert x1 <= bbox[0]
    assert y1 <= bbox[1]
    assert x2 >= bbox[2]
    assert y2 >= bbox[3]
    assert abs((x2 - x1) - (y2 - y1) * aspect) <= 0.5 or abs((y2 - y1) - (x2 - x1) / aspect) <= 0.5


def test_crop_within_and_beyond():
    pixels = np.arange(24, dtype=np.uint16).reshape(2, 4, 3)
    assert np.array_equal(crop(pixels, (1, 0, 3, 2)), pixels[:, 1:3])
    beyond = crop(pixels, (-1, -1, 5, 3))
    assert beyond.shape == (4, 6, 3)
    assert beyond.dtype == np.uint16
    assert np.array_equal(beyond[1:3, 1:5], pixels)
    assert beyond.sum() == pixels.sum()
    assert not crop(pixels, (10, 10, 12, 12)).any()
    inside = crop(pixels, (0, 0, 4, 2))
    inside[:] = 0
    assert pixels.any()


def test_crop_mirrors_beyond_the_frame():
    expected = [[3, 3, 2, 1, 1, 2, 3, 3, 2, 1, 1, 2]] * 2
    assert crop(np.array([[1, 2, 3]]), (-4, 0, 8, 2), "mirror").tolist() == expected


def test_an_empty_region_is_refused():
    with pytest.raises(RangeError, match=r"region must be x1 < x2 and y1 < y2, got \(3, 0, 3, 2\)"):
        crop(np.zeros((4, 4)), (3, 0, 3, 2))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size_hw", [(40, 40), (10, 60), (7, 3), (120, 200), (1, 1)])
def test_cover_fills_the_frame_with_the_middle(dtype, size_hw):
    scale = np.iinfo(dtype).max // 255
    y, x = np.mgrid[:60, :100]
    image = (np.dstack([x * 2, y * 4, np.full_like(x, 77)]) * scale).astype(dtype)
    covered = cover(image, size_hw)
    assert covered.shape == (*size_hw, 3)
    assert covered.dtype == dtype
    assert (covered[..., 2] == 77 * scale).all()
    middle = covered.reshape(-1, 3).mean(axis=0) / scale
    assert np.abs(middle[:2] - [99, 118]).max() < 4
    factor = max(size_hw[0] / 60, size_hw[1] / 100)
    if min(size_hw) > 5:
        assert np.ptp(covered[..., 0] / scale) == pytest.approx(2 * size_hw[1] / factor, abs=2 / factor + 4)


@pytest.mark.parametrize(("text", "aspect"), [("1:1", 1), ("4:5", 0.8), ("16:9", 16 / 9), ("1.5:1", 1.5)])
def test_aspects(text, aspect):
    assert parse_aspect(text) == pytest.approx(aspect)


@pytest.mark.parametrize("text", ["", "1", "4:", ":5", "0:1", "1:0", "-1:-2", "nan:1", "a:b", "1:1:1", "1e9:1"])
def test_what_is_no_aspect_is_refused(text):
    with pytest.raises(OptionError, match="an aspect must be WIDTH:HEIGHT, got"):
        parse_aspect(text)


@pytest.mark.parametrize(("padding", "pixels"), [(0, 0), (12.4, 12), ("12", 12), ("10%", 25), (" 5 %", 12), ("0%", 0)])
def test_paddings(padding, pixels):
    assert parse_padding(padding, 250) == pixels


@pytest.mark.parametrize("padding", ["", "%", "-1", -1, "nan", "ten", "1e9", None])
def test_what_is_no_padding_is_refused(padding):
    with pytest.raises(OptionError, match="padding must be pixels or a percentage, got"):
        parse_padding(padding, 250)


# What OpenCV 5.0 gives for this picture: INTER_AREA where it shrinks, INTER_CUBIC where it grows.
OPENCV = (np.arange(35).reshape(5, 7) ** 2 * 7 % 256).astype(np.uint8)
OPENCV_AREA = [[55, 66, 117, 209], [75, 92, 178, 216], [118, 140, 64, 181]]
OPENCV_CUBIC = [
    [0, 0, 8, 34, 56, 97, 142, 205, 255],
    [60, 147, 119, 66, 155, 75, 158, 227, 168],
    [104, 122, 52, 46, 227, 190, 218, 238, 197],
    [56, 26, 7, 82, 229, 175, 153, 202, 255],
    [24, 78, 127, 152, 160, 17, 49, 174, 226],
    [107, 231, 241, 131, 65, 0, 113, 209, 148],
]


@pytest.mark.parametrize("expected", [OPENCV_AREA, OPENCV_CUBIC])
def test_area_cubic_is_opencv_s(expected):
    size_hw = np.shape(expected)
    assert resize(OPENCV, size_hw, "area-cubic").tolist() == expected
    colors = np.dstack([OPENCV, 255 - OPENCV, OPENCV])
    assert np.array_equal(resize(colors, size_hw, "area-cubic")[..., 0], expected)


def test_halving_both_sides_rounds_halves_up_as_opencv_does():
    assert resize(np.array([[0, 1, 2, 5], [2, 3, 1, 1]], np.uint8), (1, 2), "area-cubic").tolist() == [[2, 2]]
    assert resize(np.array([[0, 1], [0, 1]], np.uint8), (1, 1), "area-cubic").tolist() == [[1]]
    assert resize(np.array([[0], [1]] * 2, np.uint8), (2, 1), "area-cubic").tolist() == [[0], [0]]  # half to even


@pytest.mark.parametrize(
    ("image_hw", "box_hw", "input_hw"),
    [
        ((300, 700), (512, 1195), (512, 1216)),
        ((1024, 768), (683, 512), (704, 512)),
        ((2000, 1333), (768, 512), (768, 512)),
        ((512, 512), (512, 512), (512, 512)),
        ((64, 4096), (64, 4096), (64, 4096)),  # the shorter side would become 512, and the longer 32768
        ((100, 10000), (41, 4096), (64, 4096)),
        ((1, 1), (512, 512), (512, 512)),
    ],
)
def test_the_shorter_side_aims_at_512_and_is_padded_to_multiples_of_64(image_hw, box_hw, input_hw):
    placement = fit_placement(image_hw, (512, 512), "shorter-side-pad")
    assert (placement.box_hw, placement.input_hw, placement.offset_hw) == (box_hw, input_hw, (0, 0))
    assert fit_placement(input_hw, (512, 512), "shorter-side-pad").box_hw == input_hw  # done twice is done once


def test_padding_repeats_the_edge():
    image = np.random.default_rng(0).integers(0, 256, (70, 130, 3), np.uint8)
    placement = fit_placement((70, 130), (64, 64), "shorter-side-pad")
    assert (placement.box_hw, placement.input_hw) == ((64, 119), (64, 128))
    padded = place(image, placement, "area-cubic")
    assert np.array_equal(padded[:, :119], resize(image, (64, 119), "area-cubic"))
    assert (padded[:, 119:] == padded[:, 118:119]).all()
    maps = np.arange(64 * 128, dtype=np.float32).reshape(64, 128)
    assert unplace(maps, placement, "bilinear").shape == (70, 130)


def test_as_is_leaves_the_picture_alone():
    image = np.random.default_rng(0).integers(0, 256, (5, 9, 3), np.uint8)
    assert place(image, fit_placement((5, 9), (64, 64), "as-is"), "bilinear").tolist() == image.tolist()


def corners_by_hand(image, size_hw):
    """The definition: pixel u lies at u * W / w, in steps of 1/32, the edge going on; rounded to 8 bits."""
    height, width = image.shape[:2]
    result = np.empty((*size_hw, 3), np.uint8)
    for y in range(size_hw[0]):
        for x in range(size_hw[1]):
            v, u = (np.floor(32 * at + 0.5) / 32 for at in (y * height / size_hw[0], x * width / size_hw[1]))
            y0, x0 = min(int(v), height - 1), min(int(u), width - 1)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            top = image[y0, x0] * (1 - u % 1) + image[y0, x1] * (u % 1)
            low = image[y1, x0] * (1 - u % 1) + image[y1, x1] * (u % 1)
            result[y, x] = np.floor(top * (1 - v % 1) + low * (v % 1) + 0.5)
    return result


@settings(max_examples=40, deadline=None)
@given(sides, sides, sides, sides)
def test_from_corner_to_corner(height, width, to_height, to_width):
    image = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    size_hw = (to_height, to_width)
    sampled = resize(image, size_hw, "bilinear-corners")
    assert sampled.dtype == np.uint8
    assert np.array_equal(sampled, corners_by_hand(image, size_hw))
    assert np.array_equal(resize(image[..., 0], size_hw, "bilinear-corners"), sampled[..., 0])


def test_corner_to_corner_begins_at_the_first_pixel():
    ramp = np.repeat(np.arange(0, 240, dtype=np.uint8)[np.newaxis], 4, axis=0)
    assert resize(ramp, (4, 60), "bilinear-corners")[0].tolist() == list(range(0, 240, 4))
    assert resize(ramp, (4, 60), "bilinear")[0, :2].tolist() == [1.5, 5.5]
