import numpy as np
import pytest

from maskwright.errors import ShapeError
from maskwright.refine.islands import find_islands


def test_the_largest_comes_first_and_corners_connect():
    selected = np.zeros((20, 20), bool)
    selected[0, 0] = selected[1, 1] = True
    selected[5:9, 10:18] = True
    selected[19, 19] = True
    assert find_islands(selected) == [(10, 5, 18, 9), (0, 0, 2, 2), (19, 19, 20, 20)]
    assert find_islands(selected, min_area=2) == [(10, 5, 18, 9), (0, 0, 2, 2)]
    assert find_islands(selected, most=1) == [(10, 5, 18, 9)]
    assert find_islands(np.zeros((3, 3), bool)) == []


def test_a_mask_of_floats_is_refused():
    with pytest.raises(ShapeError, match=r"selected must be \(H, W\) bool, got \(3, 3\) float32"):
        find_islands(np.zeros((3, 3), np.float32))
