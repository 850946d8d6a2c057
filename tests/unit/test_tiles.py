import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.errors import OptionError
from maskwright.tiles import merge_boxes, pad_box, plan_crops, plan_tiles


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(256, 1200))
def test_tiles_cover_every_pixel_with_weights_that_add_up_to_1(height, width, side):
    total = np.zeros((height, width), np.float32)
    patches = plan_tiles((height, width), side)
    for patch in patches:
        x1, y1, x2, y2 = patch.bbox
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        assert max(x2 - x1, y2 - y1) <= side
        total[y1:y2, x1:x2] += patch.weight
    if patches:
        assert np.allclose(total, 1, atol=1e-5)
    else:
        assert max(height, width) <= side


def test_neighbours_overlap_by_a_quarter():
    patches = plan_tiles((1000, 4000), 1000)
    starts = [patch.bbox[0] for patch in patches]
    assert max(np.diff(starts)) <= 750


def test_too_many_tiles_are_refused_with_a_side_that_works():
    with pytest.raises(OptionError, match=r"tiles must be (\d+) pixels or more .* got 256; or 0 for none") as caught:
        plan_tiles((20000, 20000), 256)
    least = int(caught.value.expected.split()[0])
    assert len(plan_tiles((20000, 20000), least)) <= 256
    with pytest.raises(OptionError, match="tiles must be"):
        plan_tiles((20000, 20000), least - 1)


@pytest.mark.parametrize(
    ("bbox", "padded"),
    [((40, 40, 60, 50), (36, 38, 64, 52)), ((0, 2, 50, 98), (0, 0, 60, 100)), ((0, 0, 1, 1), (0, 0, 1, 1))],
)
def test_a_box_is_padded_by_a_fifth_up_to_the_frame(bbox, padded):
    assert pad_box(bbox, (100, 100)) == padded


def test_boxes_that_touch_through_a_third_become_one():
    assert merge_boxes([(0, 0, 10, 10), (20, 0, 30, 10), (8, 0, 22, 5)]) == [(0, 0, 30, 10)]
    assert merge_boxes([(0, 0, 10, 10), (10, 0, 20, 10)]) == [(0, 0, 10, 10), (10, 0, 20, 10)]


def test_crops_fade_towards_their_edges_but_not_towards_the_picture_s():
    (crop,) = plan_crops([(0, 100, 100, 200)], (400, 400))
    assert crop.bbox == (0, 80, 120, 220)
    weight = crop.weight
    assert weight[70, 0] == 1  # the picture's own edge
    assert weight[70, 119] < 0.1
    assert weight[0, 0] < 0.1
    assert (weight[20:120, :100] == 1).all()  # what it was cut for counts fully
