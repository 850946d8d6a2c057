from __future__ import annotations

import sys

import numpy as np
import pytest

from maskwright.detail.resample import (
    as_array,
    as_frames,
    as_masks,
    blur_masks,
    resize_frames,
    resize_masks,
    to_float,
    to_storage,
    unite_masks,
)
from maskwright.errors import EngineUnavailable, RangeError, ShapeError


def _box():
    mask = np.zeros((1, 64, 64), np.float32)
    mask[:, 16:48, 16:48] = 1
    return mask


class TestForms:
    def test_one_picture_is_one_frame(self):
        assert as_frames(np.zeros((4, 5, 3))).shape == (1, 4, 5, 3)
        assert as_frames(np.zeros((2, 4, 5, 4), np.uint8)).dtype == np.uint8

    def test_torch_tensors(self):
        torch = pytest.importorskip("torch")
        frames = torch.rand(2, 4, 5, 3, requires_grad=True)
        assert np.array_equal(as_frames(frames), frames.detach().numpy())
        assert as_array(torch.ones(2)).tolist() == [1, 1]

    @pytest.mark.parametrize("shape", [(4, 5), (2, 4, 5, 2), (2, 0, 5, 3), (1, 2, 4, 5, 3)])
    def test_other_frames_are_refused(self, shape):
        with pytest.raises(ShapeError, match=r"frames must be \(F, H, W, 3\) or \(F, H, W, 4\)"):
            as_frames(np.zeros(shape))

    def test_other_numbers_are_refused(self):
        with pytest.raises(RangeError, match=r"frames must be uint8 or float in \[0, 1\], got int64"):
            as_frames(np.zeros((2, 4, 5, 3), np.int64))
        with pytest.raises(RangeError, match=r"mask must be float in \[0, 1\] or bool, got uint8"):
            as_masks(np.zeros((4, 5), np.uint8))

    def test_masks(self):
        assert as_masks(np.ones((4, 5), bool)).dtype == np.float32
        with pytest.raises(ShapeError, match=r"mask must be \(H, W\) or \(F, H, W\)"):
            as_masks(np.zeros((1, 4, 5, 1)))
        for wrong in (2.0, -0.5, np.nan):
            with pytest.raises(RangeError, match=r"mask must be in \[0, 1\]"):
                as_masks(np.full((4, 5), wrong))

    def test_what_others_rounding_went_past_is_cut_off(self):
        assert as_masks(np.array([[-1e-7, 1.0000001]])).tolist() == [[[0, 1]]]
        with pytest.raises(RangeError, match=r"mask must be in \[0, 1\], got \[0, 1.001\]"):
            as_masks(np.array([[0, 1.001]]))

    def test_half_as_some_models_have_it(self):
        torch = pytest.importorskip("torch")
        assert as_frames(torch.full((1, 2, 2, 3), 0.5).bfloat16()).tolist() == np.full((1, 2, 2, 3), 0.5).tolist()

    def test_frames_of_several_sizes(self):
        with pytest.raises(ShapeError, match="arrays must be of one size, got several"):
            as_frames([np.zeros((4, 5, 3)), np.zeros((6, 5, 3))])

    def test_storage_and_back(self):
        levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
        assert np.array_equal(to_storage(to_float(levels), "uint8"), levels)
        assert to_storage(np.ones((1, 1, 1, 3), np.float32), "float16").dtype == np.float16


class TestResize:
    def test_the_same_size_is_untouched(self):
        frames = np.random.default_rng(0).random((2, 5, 6, 3)).astype(np.float32)
        assert np.array_equal(resize_frames(frames, (5, 6)), frames)

    def test_eight_bits_cut_off(self):
        frames = np.full((1, 2, 2, 3), 0.999, np.float32)
        assert np.allclose(resize_frames(frames, (2, 2), eight_bit=True), 254 / 255)
        assert resize_frames(np.full((1, 2, 2, 3), 1.2), (2, 2), eight_bit=True).max() == 1

    def test_float_keeps_what_eight_bits_lose(self):
        frames = np.full((1, 4, 4, 4), 0.3333, np.float32)
        assert np.allclose(resize_frames(frames, (9, 7)), 0.3333, atol=1e-6)
        edge = np.zeros((1, 8, 8, 3), np.float32)
        edge[:, :, 4:] = 1
        grown = resize_frames(edge, (32, 32))
        assert (grown.min(), grown.max()) == (0, 1)  # the overshoot is cut off

    def test_masks_are_torchs_bilinear(self):
        torch = pytest.importorskip("torch")
        masks = np.random.default_rng(1).random((2, 13, 17)).astype(np.float32)
        for size in ((40, 50), (8, 9), (13, 40)):
            theirs = torch.nn.functional.interpolate(torch.from_numpy(masks)[None], size=size, mode="bilinear")[0]
            assert np.abs(resize_masks(masks, size) - theirs.numpy()).max() < 1e-6
            assert np.array_equal(resize_masks(masks, size, compat=True), theirs.numpy())


class TestBlur:
    # Values of the original for a square of ones in columns 16 to 47 of 64, in the middle row.
    K5 = (0, 0, 0, 0.084259, 0.172396, 0.263672, 0.35726, 0.452261, 0.547739, 0.64274, 0.736328, 0.827604, 0.915741, 1)
    K20 = (0.077993, 0.106527, 0.199456, 0.331447, 0.483009, 0.631608, 0.756005, 0.839705, 0.860193)
    K40 = (0.024313, 0.082825, 0.194133, 0.343823, 0.515708, 0.68423, 0.825308, 0.926148, 0.975534)

    @pytest.mark.parametrize("compat", [False, True])
    def test_the_originals_vectors(self, compat):
        if compat:
            pytest.importorskip("torch")
        five, twenty, forty = (blur_masks(_box(), reach, compat=compat)[0, 32] for reach in (5, 20, 40))
        assert np.allclose(five[8:22], self.K5, atol=2e-6)
        assert np.allclose(twenty[[0, *range(4, 33, 4)]], self.K20, atol=3e-6)
        assert np.allclose(forty[[0, *range(4, 33, 4)]], self.K40, atol=3e-6)

    def test_inside_stays_exactly_one(self):
        assert blur_masks(_box(), 5)[0, 32, 32] == 1

    def test_nothing_to_blur(self):
        assert np.array_equal(blur_masks(_box(), 0), _box())
        tiny = np.ones((1, 3, 3), np.float32)
        assert np.array_equal(blur_masks(tiny, 9), tiny)


class TestUnite:
    def test_one_or_as_many_stay(self):
        one, three = np.ones((1, 2, 2), np.float32), np.ones((3, 2, 2), np.float32)
        assert unite_masks(one, 3) is one
        assert unite_masks(three, 3) is three

    def test_others_become_one_hard_mask(self):
        masks = np.zeros((2, 1, 3), np.float32)
        masks[0, 0, 0], masks[1, 0, 1], masks[1, 0, 2] = 1, 0.5, 0.05
        assert unite_masks(masks, 3).tolist() == [[[1, 1, 0]]]

    def test_compat_loses_the_first(self):
        masks = np.zeros((2, 1, 3), np.float32)
        masks[0, 0, 0], masks[1, 0, 1] = 1, 0.5
        assert unite_masks(masks, 3, compat=True).tolist() == [[[0, 1, 0]]]


def test_without_torch_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(EngineUnavailable, match=r"torch is not installed; pip install .maskwright\[torch\]"):
        blur_masks(_box(), 5, compat=True)
