from __future__ import annotations

import numpy as np
import pytest

from maskwright.detail import (
    make_crop_region,
    segs_from_boxes,
    segs_from_film,
    segs_from_labels,
    segs_from_masks,
    segs_from_results,
    segs_to_mask,
    segs_to_masks,
)
from maskwright.errors import RangeError, ShapeError
from maskwright.types import Provenance, SegmentResult


def _two(gray=0.5):
    mask = np.zeros((60, 80), np.float32)
    mask[5:25, 10:30] = 1
    mask[10:20, 15:25] = 0  # a hole
    mask[40:55, 50:75] = gray
    return mask


class TestCropRegion:
    @pytest.mark.parametrize(
        ("factor", "region"),
        [(1, (30, 20, 60, 40)), (1.5, (22, 15, 67, 45)), (3, (0, 0, 90, 60)), (10, (0, 0, 128, 96))],
    )
    def test_the_originals_regions(self, factor, region):
        assert make_crop_region((96, 128), (30, 20, 60, 40), factor) == region

    @pytest.mark.parametrize("factor", [0.5, np.nan, np.inf])
    def test_a_crop_holds_its_box(self, factor):
        with pytest.raises(RangeError, match="crop_factor must be 1 or more, got"):
            segs_from_masks(_two(), crop_factor=factor)

    def test_far_side_and_least_size(self):
        assert make_crop_region((96, 128), (110, 80, 128, 96), 2) == (92, 64, 128, 96)
        assert make_crop_region((96, 128), (60, 40, 64, 44), 1, min_size=20) == (52, 32, 72, 52)


class TestMasks:
    def test_things_in_reading_order(self):
        first, second = segs_from_masks(_two())
        assert first.bbox == (10, 5, 30, 25)
        assert second.bbox == (50, 40, 75, 55)
        assert first.masks().sum() == 300
        assert second.masks().max() == 0.5
        assert first.crop_region == make_crop_region((60, 80), first.bbox, 3.0)

    def test_compat_goes_from_the_bottom_up(self):
        assert [seg.bbox[0] for seg in segs_from_masks(_two(), compat=True)] == [50, 10]

    def test_filled(self):
        outline = segs_from_masks(_two(), contour_fill=True)
        assert outline[0].masks().sum() == 400
        assert outline[1].masks().max() == 1
        box = segs_from_masks(_two(), bbox_fill=True)
        assert box[0].masks().sum() == 400

    def test_small_things_are_left_out(self):
        assert len(segs_from_masks(_two(), drop_size=20)) == 0
        assert len(segs_from_masks(_two(), drop_size=15)) == 1

    def test_an_island_in_a_hole_belongs_to_what_is_around(self):
        mask = _two()
        mask[13:16, 18:21] = 1
        segs = segs_from_masks(mask, drop_size=1)
        assert len(segs) == 2
        assert segs[0].masks().sum() == 309

    def test_corners_hang_together(self):
        mask = np.zeros((40, 40), np.float32)
        mask[:20, :20] = mask[20:, 20:] = 1
        assert len(segs_from_masks(mask)) == 1

    def test_combined(self):
        (whole,) = segs_from_masks(_two(), combined=True)
        assert whole.bbox == (10, 5, 75, 55)
        assert np.array_equal(segs_to_mask(segs_from_masks(_two(), combined=True)), _two())
        assert len(segs_from_masks(np.zeros((9, 9)), combined=True)) == 0

    def test_combined_in_compat_is_a_pixel_short(self):
        (whole,) = segs_from_masks(_two(), combined=True, compat=True, crop_factor=1)
        assert whole.bbox == (10, 5, 74, 54)
        single = np.zeros((9, 9), np.float32)
        single[4, 4] = 1
        assert len(segs_from_masks(single, combined=True, compat=True, crop_factor=1)) == 0

    def test_combined_in_compat_fills_at_the_wrong_place(self):
        options = {"combined": True, "bbox_fill": True, "crop_factor": 1}
        correct = segs_from_masks(_two(), **options)[0]
        assert correct.masks().min() == 1
        assert segs_from_masks(_two(), compat=True, **options)[0].masks()[0, 0, 10] == 1
        assert segs_from_masks(_two(), compat=True, **options)[0].masks()[0, 10, 10] == 1
        assert segs_from_masks(_two(), compat=True, **options)[0].masks()[0, 30, 0] == 0

    def test_the_input_is_not_changed(self):
        mask = _two()
        for combined in (False, True):
            segs_from_masks(mask, bbox_fill=True, combined=combined, crop_factor=1, compat=combined)
        assert np.array_equal(mask, _two())

    def test_not_masks(self):
        with pytest.raises(ShapeError, match="mask must be"):
            segs_from_masks(np.zeros((1, 2, 3, 4)))


class TestFilm:
    def test_each_frame_has_its_mask(self):
        film = np.zeros((3, 60, 80), np.float32)
        for index in range(3):
            film[index, 20:40, 20 + 5 * index : 40 + 5 * index] = 1
        (seg,) = segs_from_film(film)
        assert seg.bbox == (20, 20, 50, 40)
        assert np.array_equal(segs_to_masks(segs_from_film(film)), film)
        assert seg.masks().shape[0] == 3

    def test_neighbours_stay_out(self):
        film = np.stack([_two(1.0)] * 2)
        first = segs_from_film(film)[0]
        assert first.crop_region == (0, 0, 60, 60)  # reaches into the other
        assert first.masks()[0].sum() == 300
        leaky = next(seg for seg in segs_from_film(film, compat=True) if seg.bbox[0] == 10)
        assert leaky.masks()[0].sum() > 300


class TestBoxes:
    def test_boxes_are_masks(self):
        (seg,) = segs_from_boxes([[10, 5, 30.4, 25]], (60, 80), scores=[0.7], labels=["face"])
        assert (seg.bbox, seg.confidence, seg.label) == ((10, 5, 30, 25), 0.7, "face")
        assert seg.masks().sum() == 400

    def test_masks_of_their_own(self):
        (seg,) = segs_from_boxes([[10, 5, 30, 25]], (60, 80), masks=_two()[None], crop_factor=1)
        assert seg.masks().sum() == 300

    def test_none(self):
        assert len(segs_from_boxes([], (60, 80))) == 0

    def test_wrong(self):
        with pytest.raises(ShapeError, match=r"boxes must be \(n, 4\)"):
            segs_from_boxes([[1, 2, 3]], (60, 80))
        with pytest.raises(ShapeError, match="scores must be 1, one a box, got 2"):
            segs_from_boxes([[1, 2, 3, 4]], (60, 80), scores=[1, 2])
        for outside in ([90, 2, 95, 4], [np.nan] * 4, [5, 5, 5, np.inf]):
            with pytest.raises(RangeError, match="box 0 must be inside 60 x 80"):
                segs_from_boxes([outside], (60, 80))
        with pytest.raises(ShapeError, match=r"masks must be of the frame's size \(60, 80\), got \(50, 80\)"):
            segs_from_boxes([[1, 2, 30, 40]], (60, 80), masks=np.ones((1, 50, 80)))


class TestLabels:
    def test_classes_have_names(self):
        labels = np.zeros((60, 80), np.uint8)
        labels[5:25, 10:30], labels[40:55, 50:75] = 1, 2
        assert [seg.label for seg in segs_from_labels(labels, ("background", "hair"))] == ["hair", "2"]
        assert len(segs_from_labels(labels, background=None)) == 3

    def test_a_film_of_them(self):
        labels = np.zeros((2, 60, 80), np.int64)
        labels[1, 5:25, 10:30] = 3
        assert [mask.sum() for mask in segs_from_labels(labels)[0].masks()] == [0, 400]

    def test_wrong(self):
        with pytest.raises(ShapeError, match="labels must be"):
            segs_from_labels(np.zeros(4, int))
        with pytest.raises(RangeError, match="labels must be integers, got float64"):
            segs_from_labels(np.zeros((4, 4)))


class TestResults:
    def _result(self, mask):
        return SegmentResult(mask, Provenance("x"), masks={"face": mask, "hair": 1 - mask})

    def test_one_a_frame(self):
        results = [self._result(_two(0.8)), self._result(np.zeros((60, 80), np.float32))]
        segs = segs_from_results(results)
        assert len(segs) == 2
        assert [mask.max() for mask in segs[1].masks()] == [np.float32(0.8), 0]
        assert len(segs_from_results(results[0], threshold=0.9)) == 1

    def test_parts(self):
        segs = segs_from_results(self._result(_two(1.0)), parts=["face", "hair"])
        assert [seg.label for seg in segs] == ["face", "face", "hair"]

    def test_wrong(self):
        with pytest.raises(RangeError, match="part must be one of face, hair, got 'nose'"):
            segs_from_results(self._result(_two()), parts=["nose"])
        with pytest.raises(ShapeError, match="results must be one a frame, all of one size"):
            segs_from_results([])
