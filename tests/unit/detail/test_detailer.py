from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.detail import (
    DetailOptions,
    EchoBackend,
    Sampled,
    Seg,
    Segs,
    detail,
    iter_detail,
    paste,
    plan_detail,
    redraw,
)
from maskwright.errors import DetailError, RangeError, ShapeError
from tests.unit.detail.test_pasting import waves

QUICK = DetailOptions(guide_size=64, steps=2)


def seg(mask=None, region=(32, 16, 96, 80), bbox=(48, 32, 80, 64), image=None, control=None):
    if mask is None:
        mask = np.zeros((region[3] - region[1], region[2] - region[0]), np.float32)
        mask[16:48, 16:48] = 1
    return Seg(image, mask, 0.5, region, bbox, "A", control)


def segs(*items, size_hw=(96, 128)):
    return Segs(size_hw, items or (seg(),))


def _size(region_side=64, bbox_side=32, **options):
    item = seg(np.ones((region_side, region_side)), (0, 0, region_side, region_side), (0, 0, bbox_side, bbox_side))
    plan = plan_detail(segs(item, size_hw=(2000, 2000)), 1, DetailOptions(**options))[0]
    return plan.resized_hw[0], plan.encoded_hw[0]


class TestSize:
    @pytest.mark.parametrize(
        ("options", "size", "compat_size"),
        [
            ({"guide_size": 96}, (192, 192), (192, 192)),
            ({"guide_size": 96, "guide_size_for": "crop_region"}, (96, 96), (96, 96)),
            ({"guide_size": 96, "max_size": 128}, (128, 128), (128, 128)),
            ({"guide_size": 96, "max_size": 40}, (40, 40), (64, 64)),
            ({"guide_size": 96, "max_size": 40, "allow_downscale": False}, (64, 64), (64, 64)),
            ({"guide_size": 99}, (200, 200), (198, 192)),
            ({"guide_size": 8}, (64, 64), (64, 64)),
        ],
    )
    def test_known_sizes(self, options, size, compat_size):
        assert _size(**options) == size
        assert _size(**options, compat=True) == compat_size

    def test_a_large_crop_is_shrunk(self):
        assert _size(1800, 900) == (768, 768)
        assert _size(1800, 900, compat=True) == (1800, 1800)

    @given(
        st.integers(1, 300),
        st.integers(1, 300),
        st.integers(1, 2000),
        st.integers(8, 2000),
        st.sampled_from([8, 16, 3]),
    )
    def test_always_whole_cells_within_the_largest_size(self, width, height, guide, most, multiple):
        item = seg(np.ones((height, width)), (0, 0, width, height), (0, 0, width, height))
        options = DetailOptions(guide_size=guide, max_size=most)
        plan = plan_detail(segs(item, size_hw=(300, 300)), 1, options, multiple=multiple)[0]
        assert plan.resized_hw == plan.encoded_hw
        assert all(side % multiple == 0 and side > 0 for side in plan.encoded_hw)
        assert max(plan.encoded_hw) <= max(most, multiple)

    def test_compat_cannot_encode_less_than_a_cell(self):
        tiny = seg(np.ones((4, 4)), (0, 0, 4, 4), (0, 0, 4, 4))
        with pytest.raises(RangeError, match="crop of segment 0 must be 8 pixels or more a side"):
            plan_detail(segs(tiny), 1, DetailOptions(guide_size=4, compat=True))


class TestPlan:
    def test_seeds(self):
        two = segs(seg(), seg())
        assert [plan.seed for plan in plan_detail(two, 1, DetailOptions(seed=5))] == [5, 5]
        own = DetailOptions(seed=2**64 - 1, seed_per_seg=True)
        assert [plan.seed for plan in plan_detail(two, 1, own)] == [2**64 - 1, 0]

    def test_empty_masks_are_skipped(self):
        empty = segs(seg(np.zeros((64, 64))))
        assert plan_detail(empty, 3)[0].skipped == "its mask is empty"
        assert plan_detail(empty, 3)[0].work == 0
        assert not plan_detail(empty, 3, DetailOptions(compat=True))[0].skipped

    def test_work_is_frames_and_steps(self):
        assert plan_detail(segs(), 5, DetailOptions(steps=7))[0].work == 17

    def test_places_and_pictures_fit_the_film(self):
        from maskwright.detail import Follow

        moving = replace(seg(), follow=Follow(((32, 16, 96, 80),) * 2, (8, 8)))
        with pytest.raises(ShapeError, match="places of segment 0 must be 3, one a frame, got 2"):
            plan_detail(segs(moving), 3)
        own = seg(image=np.zeros((2, 64, 64, 3)))
        with pytest.raises(ShapeError, match="pictures of segment 0 must be 3, one a frame, got 2"):
            plan_detail(segs(own), 3, DetailOptions(source="segs"))


class TestEcho:
    def test_frames_in_are_frames_out(self):
        result = detail(waves(5), segs(), EchoBackend(), QUICK)
        picture = result[0].cropped_image
        assert picture.shape == (5, 64, 64, 3)
        assert picture.dtype == np.float32
        assert (result[0].confidence, result[0].label, result[0].bbox) == (0.5, "A", (48, 32, 80, 64))
        assert result.size_hw == (96, 128)

    def test_without_resizing_nothing_is_lost(self):
        plain = replace(QUICK, guide_size=8)
        assert np.array_equal(detail(waves(), segs(), EchoBackend(), plain)[0].cropped_image, waves()[:, 16:80, 32:96])

    def test_enlarged_and_back_is_nearly_the_same(self):
        picture = detail(waves(), segs(), EchoBackend(), QUICK)[0].cropped_image
        assert np.abs(picture - waves()[:, 16:80, 32:96]).max() < 0.02

    @pytest.mark.parametrize("chunk", [1, 2, 3, 100])
    def test_chunks_change_nothing(self, chunk):
        whole = detail(waves(5), segs(), EchoBackend(), QUICK)
        parts = detail(waves(5), segs(), EchoBackend(), replace(QUICK, chunk=chunk))
        assert np.array_equal(whole[0].cropped_image, parts[0].cropped_image)

    def test_empty_masks_give_the_crop(self):
        backend = EchoBackend(record=True)
        result = detail(waves(), segs(seg(np.zeros((64, 64)))), backend, QUICK)
        assert np.array_equal(result[0].cropped_image, waves()[:, 16:80, 32:96])
        assert not backend.jobs

    def test_no_frames_and_no_segments(self):
        assert detail(waves(0), segs(), EchoBackend(), QUICK)[0].cropped_image.shape == (0, 64, 64, 3)
        assert len(detail(waves(), Segs((96, 128)), EchoBackend(), QUICK)) == 0

    def test_no_mask_is_all(self):
        backend = EchoBackend(record=True)
        detail(waves(), segs(replace(seg(), cropped_mask=None)), backend, QUICK)
        assert backend.jobs[0].mask.min() == 1

    def test_eight_bits_in_any_storage(self):
        eight = (waves() * 255).round().astype(np.uint8)
        for storage in ("uint8", "float16", "float32"):
            options = replace(QUICK, storage=storage, guide_size=8)
            picture = detail(eight, segs(), EchoBackend(), options)[0].cropped_image
            assert picture.dtype == storage
            scale = 255 if storage != "uint8" else 1
            assert np.array_equal(np.rint(picture.astype(np.float32) * scale), eight[:, 16:80, 32:96])

    def test_opacity_goes_along(self):
        frames = np.concatenate([waves(), np.full((3, 96, 128, 1), 0.25, np.float32)], axis=3)
        result = detail(frames, segs(), EchoBackend(), QUICK)
        assert np.array_equal(result[0].cropped_image[..., 3:], frames[:, 16:80, 32:96, 3:])
        assert paste(frames, result).shape == frames.shape
        compat = detail(frames, segs(), EchoBackend(), replace(QUICK, compat=True, noise_mask_feather=0))
        assert compat[0].cropped_image.shape == (3, 64, 64, 3)

    def test_frames_of_another_size(self):
        result = detail(waves(2, 192, 256), segs(), EchoBackend(), QUICK)
        assert result.size_hw == (192, 256)
        assert result[0].cropped_image.shape == (2, 128, 128, 3)

    def test_the_tuple_of_other_packs(self):
        result = detail(waves(), segs().to_tuple(), EchoBackend(), QUICK)
        assert np.array_equal(result[0].cropped_image, detail(waves(), segs(), EchoBackend(), QUICK)[0].cropped_image)


class TestOtherAspect:
    """Segments of square frames on frames twice as wide."""

    MADE = Segs((96, 96), (seg(region=(16, 16, 80, 80), bbox=(16, 16, 80, 80)),))

    def test_each_axis_has_its_factor(self):
        (found,) = detail(waves(width=192), self.MADE, EchoBackend(), QUICK)
        assert found.crop_region == (32, 16, 160, 80)
        assert found.cropped_image.shape == (3, 64, 128, 3)

    def test_compat_takes_another_place_cut_off_at_the_frame(self):
        options = replace(QUICK, guide_size=8, compat=True, noise_mask_feather=0)
        (found,) = detail(waves(height=192), self.MADE, EchoBackend(), options)
        assert found.crop_region == (21, 21, 160, 160)  # near corner by the width's factor, far one by the height's
        assert found.cropped_image.shape == (3, 139, 107, 3)  # what of it lies in the frame
        pasted = paste(waves(height=192), Segs((192, 128), (found,)), compat=True)
        assert np.abs(pasted - waves(height=192)).mean() < 0.01
        with pytest.raises(RangeError, match="crop_region of segment 0 must be inside the frame of 192 x 128"):
            detail(waves(height=192), Segs((192, 128), (found,)), EchoBackend(), QUICK)


class TestSource:
    def test_the_frames_are_redrawn(self):
        own = np.zeros((3, 64, 64, 3), np.float32)
        result = detail(waves(), segs(seg(image=own)), EchoBackend(), QUICK)
        assert result[0].cropped_image.mean() > 0.3

    def test_or_on_request_the_segments_pictures(self):
        own = np.zeros((3, 64, 64, 3), np.float32)
        result = detail(waves(), segs(seg(image=own)), EchoBackend(), replace(QUICK, source="segs"))
        assert not result[0].cropped_image.any()

    def test_compat_takes_them_once_a_frame(self):
        own = np.zeros((3, 64, 64, 3), np.float32)
        options = replace(QUICK, compat=True, noise_mask_feather=0)
        assert detail(waves(), segs(seg(image=own)), EchoBackend(), options)[0].cropped_image.shape[0] == 9


class TestMasks:
    def _mask(self, mask, **options):
        backend = EchoBackend(record=True)
        detail(waves(), segs(seg(mask)), backend, DetailOptions(guide_size=32, steps=1, **options))
        return backend.jobs[0].mask

    def test_a_small_subject_still_peaks_at_1(self):
        small = np.zeros((64, 64), np.float32)
        small[30:34, 30:34] = 1
        assert self._mask(small).max() == 1
        torch = pytest.importorskip("torch")
        assert torch
        assert self._mask(small, compat=True).max() < 0.1

    def test_feathering_widens_it(self):
        hard, soft = self._mask(None, noise_mask_feather=0), self._mask(None, noise_mask_feather=8)
        assert set(np.unique(hard)) == {0, 1}
        assert (soft > 0).sum() > (hard > 0).sum()

    def test_other_counts_are_united_and_stay_soft(self):
        masks = np.zeros((2, 64, 64), np.float32)
        masks[0, :32], masks[1, 32:] = 1, 1
        assert self._mask(masks).min() == 1
        assert self._mask(masks, noise_mask_feather=0, compat=True)[0, :20].max() == 0  # the original loses the first

    def test_one_for_each_frame(self):
        masks = np.stack([np.zeros((64, 64)), np.ones((64, 64)), np.ones((64, 64))]).astype(np.float32)
        assert [mask.max() for mask in self._mask(masks)] == [0, 1, 1]


class TestControl:
    def test_enlarged_frames_and_what_was_shown(self):
        control = object()
        backend = EchoBackend(record=True)
        (done,) = iter_detail(waves(), segs(seg(control=control)), backend, QUICK)
        job = backend.jobs[0]
        assert job.control is control
        assert job.control_frames.shape == (3, 128, 128, 3)
        assert job.control_mask.shape == (1, 64, 64)
        assert done.control_images[0] is job.control_frames
        assert done.seg.control_net_wrapper is None

    def test_compat_shows_them_as_they_are(self):
        backend = EchoBackend(record=True)
        options = replace(QUICK, compat=True, noise_mask_feather=0)
        detail(waves(), segs(seg(control=object())), backend, options)
        assert backend.jobs[0].control_frames.shape == (3, 64, 64, 3)

    def test_nothing_is_made_for_nobody(self):
        backend = EchoBackend(record=True)
        detail(waves(), segs(), backend, QUICK)
        assert backend.jobs[0].control_frames is backend.jobs[0].control_mask is None


class TestProgress:
    def test_it_rises_to_the_total(self):
        seen = []
        options = replace(QUICK, chunk=2)
        detail(waves(3), segs(seg(), seg()), EchoBackend(), options, progress=lambda *units: seen.append(units))
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert {total for _, total in seen} == {16}
        assert seen[-1] == (16, 16)
        assert len(seen) == 2 * (2 + 2 + 2)

    def test_it_interrupts(self):
        class Stop(Exception):
            pass

        def stop(done, total):
            if done >= 4:
                raise Stop

        backend = EchoBackend(record=True)
        with pytest.raises(Stop):
            detail(waves(3), segs(), backend, replace(QUICK, steps=9), progress=stop)
        assert len(backend.jobs) == 1


class TestRedraw:
    def test_the_frames_come_back(self):
        plain = replace(QUICK, guide_size=8)
        frames = waves()
        out = redraw(frames, segs(seg(), seg()), EchoBackend(), plain)
        assert np.array_equal(out, frames)
        assert out is not frames

    def test_each_sees_what_the_last_one_did(self):
        class Darker(EchoBackend):
            def sample(self, job):
                return Sampled(job.latents / 2)

        full = seg(np.ones((64, 64)))
        out = redraw(np.ones((1, 96, 128, 3)), segs(full, full), Darker(), replace(QUICK, guide_size=8), feather=0)
        assert out[0, 40, 60, 0] == 0.25

    def test_beyond_the_mask_nothing_changes(self):
        class Black(EchoBackend):
            def sample(self, job):
                return Sampled(job.latents * 0)

        frames = waves()
        out = redraw(frames, segs(), Black(), QUICK, feather=0)
        changed = (out != frames).any(axis=(0, 3))
        assert changed.sum() == 32 * 32


class _Wrong(EchoBackend):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def encode(self, images):
        return super().encode(images)[: len(images) - (self.step == "encode")]

    def sample(self, job):
        return Sampled(job.latents[:, : 1 if self.step == "sample" else None])

    def decode(self, latents):
        return super().decode(latents)[:, : 8 if self.step == "decode" else None]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("encode", r"encoded latents must be \(n, C, h, w\), one a frame"),
        ("sample", "sampled latents must be of shape"),
        ("decode", "decoded pictures must be of shape"),
    ],
)
def test_what_a_backend_gives_is_checked(step, message):
    with pytest.raises(DetailError, match=message):
        detail(waves(), segs(), _Wrong(step), QUICK)


def test_frames_are_checked():
    broken = waves()
    broken[1, 40, 60] = np.nan
    with pytest.raises(RangeError, match="frames must be finite, got NaN or infinity"):
        detail(broken, segs(), EchoBackend(), QUICK)
    with pytest.raises(ShapeError, match="frames must be"):
        detail(np.zeros((3, 4)), segs(), EchoBackend(), QUICK)
    with pytest.raises(RangeError, match="bbox of segment 0 must be at least 1 pixel"):
        detail(waves(), segs(seg(bbox=(48, 32, 48, 64))), EchoBackend(), QUICK)


def test_memory_does_not_grow_with_the_number_of_segments():
    import tracemalloc

    def peak(count):
        tracemalloc.start()
        redraw(frames, segs(*(seg() for _ in range(count))), EchoBackend(), replace(QUICK, guide_size=8))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    frames = waves(24)
    peak(1)  # what is loaded or kept once
    assert peak(6) < 1.1 * peak(1)
