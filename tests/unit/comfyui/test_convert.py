import numpy as np
import pytest
import torch

from maskwright.comfyui.convert import (
    arrays_to_image,
    arrays_to_mask,
    image_to_arrays,
    image_to_colors,
    make_empty_image,
    make_empty_mask,
    mask_to_arrays,
    spread,
)
from maskwright.errors import RangeError, ShapeError


def test_eight_bit_pictures_survive_the_way_there_and_back():
    picture = np.arange(17 * 31 * 3, dtype=np.uint32).reshape(17, 31, 3).astype(np.uint8)
    image = arrays_to_image([picture, picture[::-1]])
    assert image.shape == (2, 17, 31, 3)
    assert image.dtype == torch.float32
    there = list(image_to_arrays(image))
    assert np.array_equal(there[0], picture)
    assert np.array_equal(there[1], picture[::-1])


def test_half_precision_is_rounded_not_cut():
    levels = torch.arange(256, dtype=torch.float32).reshape(1, 16, 16, 1) / 255
    (picture,) = image_to_arrays(levels.half().repeat(1, 1, 1, 3))
    assert np.array_equal(picture[..., 0].ravel(), np.arange(256))


def test_values_out_of_range_are_clipped_instead_of_wrapped():
    image = torch.tensor([1.004, 1.5, -0.01]).reshape(1, 1, 1, 3)
    (picture,) = image_to_arrays(image)
    assert picture.ravel().tolist() == [255, 255, 0]


@pytest.mark.parametrize(("channels", "kept"), [(1, [9, 9, 9]), (2, [9, 9, 9, 8]), (3, [9, 8, 7]), (4, [9, 8, 7, 6])])
def test_one_to_four_channels_have_a_meaning(channels, kept):
    image = torch.tensor([9.0, 8, 7, 6])[:channels].reshape(1, 1, 1, channels) / 255
    (picture,) = image_to_arrays(image)
    assert picture[0, 0].tolist() == kept


def test_colors_stay_as_exact_as_they_came():
    (colors,) = image_to_colors(torch.full((1, 2, 2, 4), 0.3337))
    assert colors.shape == (2, 2, 3)
    assert colors[0, 0, 0] == np.float32(0.3337)


@pytest.mark.parametrize("shape", [(4, 4, 3), (1, 4, 4, 5), (1, 0, 4, 3), (1, 4, 4, 0)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ShapeError, match=r"IMAGE must be \(B, H, W, C\) with 1 to 4 channels"):
        list(image_to_arrays(torch.zeros(shape)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused_with_their_picture(bad):
    image = torch.zeros(3, 2, 2, 3)
    image[2, 1, 1, 0] = bad
    with pytest.raises(RangeError, match="picture 2 of IMAGE must be finite numbers"):
        list(image_to_arrays(image))
    with pytest.raises(RangeError, match="mask 2 of MASK must be finite numbers"):
        list(mask_to_arrays(image[..., 0]))


@pytest.mark.parametrize("shape", [(2, 5, 7), (5, 7), (2, 1, 5, 7)])
def test_masks_come_with_and_without_the_axes_other_packs_add(shape):
    masks = list(mask_to_arrays(torch.full(shape, 1.5)))
    assert len(masks) == (1 if len(shape) == 2 else 2)
    assert masks[0].shape == (5, 7)
    assert masks[0].max() == 1


@pytest.mark.parametrize("shape", [(5,), (2, 3, 5, 7), (1, 0, 7)])
def test_what_is_no_mask_is_refused(shape):
    with pytest.raises(ShapeError, match=r"MASK must be \(B, H, W\)"):
        list(mask_to_arrays(torch.zeros(shape)))


def test_one_item_stands_for_all():
    assert list(spread("a", 3, "letters")) == ["a", "a", "a"]
    assert list(spread("abc", 3, "letters")) == ["a", "b", "c"]
    with pytest.raises(ShapeError, match="letters must be 1 or 3, got 2"):
        spread("ab", 3, "letters")


def test_no_pictures_have_a_size_all_the_same():
    none = torch.zeros(0, 5, 7, 3)
    assert make_empty_image(none, 4).shape == (0, 5, 7, 4)
    assert make_empty_mask(none).shape == (0, 5, 7)


def test_masks_are_stacked_as_float32():
    mask = arrays_to_mask([np.eye(3, dtype=np.float32)] * 2)
    assert mask.shape == (2, 3, 3)
    assert mask.dtype == torch.float32
