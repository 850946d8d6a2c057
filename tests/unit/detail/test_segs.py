from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.detail import (
    DetailOptions,
    Follow,
    Seg,
    Segs,
    combine_segs,
    dilate_segs,
    filter_segs,
    intersect_segs,
    order_segs,
    plan_detail,
    scale_segs,
    segs_to_mask,
    segs_to_masks,
)
from maskwright.detail.segs import SEG
from maskwright.errors import OptionError, RangeError, ShapeError


def _seg(region=(4, 2, 12, 8), bbox=(6, 4, 10, 6), label="A", mask=1.0, confidence=1.0, **fields):
    size_hw = region[3] - region[1], region[2] - region[0]
    return Seg(None, np.full(size_hw, mask, np.float32), confidence, region, bbox, label, **fields)


def _segs(*items, size_hw=(20, 30)):
    return Segs(size_hw, items or (_seg(),))


def _moving():
    regions = ((0, 0, 4, 4), (3, 1, 7, 5))
    mask = np.zeros((2, 4, 4), np.float32)
    mask[0, 0, 0] = mask[1, 3, 3] = 1
    return Seg(None, mask, 1.0, (0, 0, 7, 5), (0, 0, 7, 5), "A", follow=Follow(regions, (2, 3)))


class TestTuple:
    def test_nothing_is_lost(self):
        wrapper, mask, image = object(), np.ones((6, 8)), np.zeros((1, 6, 8, 3))
        theirs = ((20, 30), [SEG(image, mask, 0.5, [4, 2, 12, 8], (6, 4, 10, 6), "face", wrapper)])
        ours = Segs.from_tuple(theirs)
        size, (back,) = ours.to_tuple()
        assert size == (20, 30)
        assert back.cropped_image is image
        assert back.cropped_mask is mask
        assert back.control_net_wrapper is wrapper
        assert (back.confidence, back.crop_region, back.bbox, back.label) == (0.5, (4, 2, 12, 8), (6, 4, 10, 6), "face")

    @pytest.mark.parametrize("kind", [tuple, list, np.float32, np.float64])
    def test_fractions_of_a_box_stay_and_count(self, kind):
        """As detectors of other packs give them; the original enlarges by them."""
        numbers = (48.5, 32, 80.25, 64.75)
        bbox = kind(numbers) if kind in (tuple, list) else np.array(numbers, kind)
        record = SEG(None, None, np.float32(0.875), np.array([32, 16, 96, 80]), bbox, "left_eye")
        segs = Segs.from_tuple(((96, 128), [record]))
        _, (back,) = segs.to_tuple()
        assert back.bbox == numbers
        assert back.crop_region == (32, 16, 96, 80)
        assert back.confidence is record.confidence
        (plan,) = plan_detail(segs, 1, DetailOptions(guide_size=96, compat=True))
        assert plan.resized_hw == (193, 193)  # int(64 * 96 / 31.75)
        assert scale_segs(segs, (192, 256))[0].bbox == (97, 64, 160, 130)

    def test_a_box_of_no_numbers_is_refused(self):
        with pytest.raises(ShapeError, match="segments must be"):
            Segs.from_tuple(((20, 30), [SEG(None, None, 1.0, [4, 2, 12, 8], [None] * 4, "A")]))
        with pytest.raises(RangeError, match="bbox of segment 0 must be at least 1 pixel"):
            _segs(_seg(bbox=(6, 4, float("nan"), 6))).check()

    def test_field_order_is_the_conventions(self):
        assert SEG._fields == (
            "cropped_image",
            "cropped_mask",
            "confidence",
            "crop_region",
            "bbox",
            "label",
            "control_net_wrapper",
        )
        assert SEG(None, None, 1.0, (0, 0, 1, 1), (0, 0, 1, 1), "A").control_net_wrapper is None

    def test_segs_stay_themselves(self):
        segs = _segs()
        assert Segs.from_tuple(segs) is segs

    def test_torch_masks_pass(self):
        torch = pytest.importorskip("torch")
        mask = torch.full((2, 6, 8), 0.5)
        segs = Segs.from_tuple(((20, 30), [SEG(None, mask, 1.0, [4, 2, 12, 8], [6, 4, 10, 6], "A")]))
        assert segs[0].cropped_mask is mask
        assert segs[0].masks().shape == (2, 6, 8)

    @pytest.mark.parametrize("wrong", [3, ((1, 2), [object()]), ((1, 2, 3), []), None])
    def test_other_things_are_refused(self, wrong):
        with pytest.raises(ShapeError, match=r"segments must be \(\(H, W\), \[SEG, ...\]\)"):
            Segs.from_tuple(wrong)

    def test_a_moving_crop_becomes_a_still_one(self):
        _, (still,) = Segs((5, 7), (_moving(),)).to_tuple()
        assert still.cropped_mask.shape == (2, 5, 7)
        assert still.cropped_mask.sum() == 2
        assert still.cropped_mask[0, 0, 0] == still.cropped_mask[1, 4, 6] == 1

    def test_a_moving_crop_comes_back_unless_its_record_was_changed(self):
        moving = _moving()
        size, (record,) = Segs((5, 7), (moving,)).to_tuple()
        assert Segs.from_tuple((size, [record]))[0] is moving
        (still,) = Segs.from_tuple((size, [record._replace(label="B")]))
        assert (still.label, still.follow, still.size_hw) == ("B", None, (5, 7))


class TestCheck:
    @pytest.mark.parametrize("region", [(-1, 0, 4, 4), (0, 0, 31, 4), (4, 0, 4, 4), (0, 5, 4, 3)])
    def test_crops_lie_inside(self, region):
        with pytest.raises(RangeError, match="crop_region of segment 0 must be inside the frame of 20 x 30"):
            _segs(Seg(None, None, 1.0, region, (0, 0, 1, 1), "A")).check()

    def test_boxes_have_a_size(self):
        with pytest.raises(RangeError, match="bbox of segment 0 must be at least 1 pixel wide and high"):
            _segs(_seg(bbox=(6, 4, 6, 6))).check()

    def test_crops_that_move_keep_their_size(self):
        follow = Follow(((0, 0, 4, 4), (0, 0, 5, 4)), (2, 2))
        with pytest.raises(RangeError, match="crops of segment 0 must be of one size"):
            _segs(Seg(None, None, 1.0, (0, 0, 5, 4), (0, 0, 2, 2), "A", follow=follow)).check()

    def test_masks_fit_their_crop(self):
        with pytest.raises(ShapeError, match=r"mask of segment 'A' must be of its crop's size \(6, 8\)"):
            Seg(None, np.ones((6, 7)), 1.0, (4, 2, 12, 8), (6, 4, 10, 6), "A").masks()

    def test_no_mask_is_all(self):
        masks = Seg(None, None, 1.0, (4, 2, 12, 8), (6, 4, 10, 6), "A").masks()
        assert masks.shape == (1, 6, 8)
        assert masks.min() == 1


class TestScale:
    def test_each_axis_has_its_factor(self):
        segs = Segs((64, 64), (Seg(None, np.ones((32, 32)), 1.0, (16, 16, 48, 48), (20, 20, 40, 40), "A"),))
        scaled = scale_segs(segs, (64, 128))
        assert scaled[0].crop_region == (32, 16, 96, 48)
        assert scaled[0].bbox == (40, 20, 80, 40)
        assert scaled[0].cropped_mask.shape == (32, 64)

    def test_compat_mixes_them(self):
        segs = Segs((96, 64), (Seg(None, None, 1.0, (16, 16, 96, 80), (16, 16, 96, 80), "A"),))
        assert scale_segs(segs, (96, 128), compat=True)[0].crop_region == (32, 32, 96, 80)

    def test_same_size_is_the_same(self):
        segs = _segs()
        assert scale_segs(segs, (20, 30)) is segs

    def test_pictures_and_films_of_masks_go_along(self):
        seg = Seg(np.zeros((2, 6, 8, 3), np.float32), np.ones((2, 6, 8)), 1.0, (4, 2, 12, 8), (6, 4, 10, 6), "A")
        scaled = scale_segs(_segs(seg), (40, 60))[0]
        assert scaled.cropped_image.shape == (2, 12, 16, 3)
        assert scaled.cropped_mask.shape == (2, 12, 16)

    def test_crops_that_move_keep_one_size(self):
        scaled = scale_segs(Segs((5, 7), (_moving(),)), (8, 11)).check()
        assert scaled[0].masks().shape[1:] == scaled[0].size_hw

    @given(
        st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20)),
        st.integers(1, 90),
        st.integers(1, 90),
    )
    def test_never_empty_never_outside(self, box, height, width):
        x, y, w, h = box
        region = (x, y, x + w, y + h)
        scaled = scale_segs(Segs((40, 40), (Seg(None, None, 1.0, region, region, "A"),)), (height, width))
        scaled.check()


class TestChoice:
    def test_by_label(self):
        segs = _segs(_seg(label="left_eyes"), _seg(label="face"), _seg(label="hair"))
        assert [each.label for each in filter_segs(segs, labels=["eyes", "hair"])] == ["left_eyes", "hair"]
        assert len(filter_segs(segs, labels=["all"])) == 3

    def test_by_size(self):
        segs = _segs(_seg(bbox=(0, 0, 2, 2)), _seg(bbox=(0, 0, 5, 5)), _seg(bbox=(0, 0, 9, 9)))
        assert [each.bbox[2] for each in filter_segs(segs, low=25, high=25)] == [5]

    def test_by_a_question(self):
        segs = _segs(_seg(confidence=0.3), _seg(confidence=0.9))
        assert len(filter_segs(segs, keep=lambda seg: seg.confidence > 0.5)) == 1
        assert len(filter_segs(segs, by="confidence", high=0.5)) == 1

    def test_order_is_stable_and_cut(self):
        segs = _segs(*(_seg(bbox=(x, 0, x + w, 2), label=str(x)) for x, w in ((1, 2), (4, 5), (2, 5))))
        assert [each.label for each in order_segs(segs)] == ["4", "2", "1"]
        assert [each.label for each in order_segs(segs, "x1", descending=False, start=1, count=1)] == ["2"]

    def test_measures_are_listed(self):
        with pytest.raises(OptionError, match="by must be area, width, height, x1, y1, x2, y2 or confidence"):
            order_segs(_segs(), "weight")


class TestMasks:
    def test_dilate_both_ways(self):
        mask = np.zeros((6, 8), np.float32)
        mask[2:4, 3:5] = 1
        segs = _segs(Seg(None, mask, 1.0, (4, 2, 12, 8), (6, 4, 10, 6), "A"))
        grown = dilate_segs(segs, 1)[0].cropped_mask
        assert grown.sum() == 12
        assert dilate_segs(dilate_segs(segs, 1), -1)[0].cropped_mask.sum() == 4

    def test_intersect_and_subtract(self):
        mask = np.zeros((20, 30), np.float32)
        mask[:, :8] = 1
        both = intersect_segs(_segs(), mask)[0].cropped_mask
        rest = intersect_segs(_segs(), mask, subtract=True)[0].cropped_mask
        assert both.sum() == 24
        assert np.array_equal(both + rest, np.ones((6, 8)))

    def test_intersect_with_a_film_makes_a_film(self):
        film = np.zeros((2, 20, 30), np.float32)
        film[1] = 1
        assert [m.max() for m in intersect_segs(_segs(), film)[0].masks()] == [0, 1]

    def test_what_is_left_empty_is_left_out(self):
        assert len(intersect_segs(_segs(), np.zeros((20, 30)))) == 0
        assert len(intersect_segs(_segs(), _segs(_seg((20, 10, 25, 15))))) == 0

    def test_intersect_wants_the_frames_size(self):
        with pytest.raises(ShapeError, match=r"mask to intersect with must be \(20, 30\)"):
            intersect_segs(_segs(), np.ones((20, 31)))
        film = Seg(None, np.ones((2, 6, 8)), 1.0, (4, 2, 12, 8), (6, 4, 10, 6), "A")
        with pytest.raises(ShapeError, match="mask frames must be 1 or 2, got 3"):
            intersect_segs(_segs(film), np.ones((3, 20, 30)))

    def test_to_masks(self):
        film = Seg(None, np.stack([np.zeros((6, 8)), np.ones((6, 8))]), 1.0, (0, 0, 8, 6), (0, 0, 8, 6), "A")
        masks = segs_to_masks(_segs(film, _seg(mask=0.5)))
        assert masks.shape == (2, 20, 30)
        assert masks[0].sum() == 24
        assert masks[1].sum() == 48 + 0.5 * (48 - 4 * 4)
        assert segs_to_mask(_segs(film, _seg())).sum() == 96 - 16

    def test_to_masks_of_nothing(self):
        assert segs_to_masks(Segs((3, 4)), frames=2).shape == (2, 3, 4)
        assert not segs_to_mask(Segs((3, 4))).any()

    def test_to_masks_of_what_moves(self):
        masks = segs_to_masks(Segs((5, 7), (_moving(),)))
        assert masks[0, 0, 0] == masks[1, 4, 6] == 1
        assert masks.sum() == 2

    def test_to_masks_wants_as_many_frames(self):
        with pytest.raises(ShapeError, match="masks of segment 'A' must be 1 or 3, got 2"):
            segs_to_masks(Segs((5, 7), (_moving(),)), frames=3)

    def test_combine_scales(self):
        both = combine_segs(_segs(), Segs((10, 15), (_seg((2, 1, 6, 4), (3, 2, 5, 3)),)))
        assert both.size_hw == (20, 30)
        assert both[1].crop_region == (4, 2, 12, 8)
