import numpy as np
import pytest

from maskwright.errors import RangeError, ShapeError
from maskwright.types import Provenance, SegmentResult, check_image, check_mask, check_same_size, to_8_bit


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_an_image_passes_unchanged(dtype):
    image = np.zeros((2, 3, 3), dtype)
    assert check_image(image) is image


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((2, 3), "uint8"), ShapeError, r"image must be \(H, W, 3\).*got \(2, 3\)"),
        (np.zeros((2, 3, 4), "uint8"), ShapeError, r"got \(2, 3, 4\)"),
        (np.zeros((0, 3, 3), "uint8"), ShapeError, "at least one pixel"),
        (np.zeros((2, 3, 3), "int32"), RangeError, "uint8, uint16 or float, got int32"),
        (np.full((2, 3, 3), 1.5), RangeError, r"in \[0, 1\], got \[1.5, 1.5\]"),
        (np.full((2, 3, 3), np.nan), RangeError, "nan"),
    ],
)
def test_what_is_no_image_is_refused(image, error, message):
    with pytest.raises(error, match=message):
        check_image(image)


def test_a_mask_becomes_float32():
    assert check_mask(np.ones((2, 2), bool)).dtype == np.float32
    assert check_mask(np.ones((2, 2))).dtype == np.float32


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (np.zeros((2, 2, 1)), ShapeError, r"mask must be \(H, W\)"),
        (np.zeros((0, 2)), ShapeError, "at least one pixel"),
        (np.zeros((2, 2), "uint8"), RangeError, "divide by 255"),
        (np.full((2, 2), -0.1), RangeError, r"\[-0.1, -0.1\]"),
        (np.full((2, 2), np.inf), RangeError, "inf"),
    ],
)
def test_what_is_no_mask_is_refused(mask, error, message):
    with pytest.raises(error, match=message):
        check_mask(mask)


def test_sizes_are_compared():
    check_same_size(np.zeros((2, 3, 3)), np.zeros((2, 3)), ("image", "mask"))
    with pytest.raises(ShapeError, match=r"mask size must be that of image, \(2, 3\), got \(3, 2\)"):
        check_same_size(np.zeros((2, 3, 3)), np.zeros((3, 2)), ("image", "mask"))


def test_16_bits_become_8_by_rounding():
    assert to_8_bit(np.array([0, 128, 129, 257, 65535], np.uint16)).tolist() == [0, 0, 1, 1, 255]
    small = np.zeros(3, np.uint8)
    assert to_8_bit(small) is small


def test_a_result_knows_its_size():
    assert SegmentResult(np.zeros((4, 5), np.float32), Provenance("u2netp")).size_hw == (4, 5)
