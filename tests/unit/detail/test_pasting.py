from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from maskwright.detail import Seg, Segs, crop_pictures, paste, previews, segs_to_masks, track_subject
from maskwright.errors import OptionError, RangeError, ShapeError


def waves(count=3, height=96, width=128):
    f, y, x, c = np.meshgrid(*(np.arange(n) for n in (count, height, width, 3)), indexing="ij")
    return (0.5 + 0.4 * np.sin(0.11 * x + 0.7 * c + 0.3 * f) * np.cos(0.07 * y - 0.2 * f)).astype(np.float32)


def _mask():
    mask = np.zeros((64, 64), np.float32)
    mask[16:48, 16:48] = 1
    return mask


def _segs(image, mask=None, size_hw=(96, 128)):
    mask = _mask() if mask is None else mask
    return Segs(size_hw, (Seg(image, mask, 1.0, (32, 16, 96, 80), (48, 32, 80, 64), "A"),))


def _red(count=3, channels=3):
    red = np.zeros((count, 64, 64, channels), np.float32)
    red[..., 0] = 1
    return red


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("options", "value"), [({"feather": 0}, 1.0), ({}, 0.696814), ({"alpha": 128}, 0.513938)])
def test_the_originals_values(options, value, count):
    assert paste(waves(), _segs(_red(count)), **options)[0, 32, 64, 0] == pytest.approx(value, abs=2e-6)


def test_an_untouched_crop_reproduces_the_frames():
    frames = waves()
    segs = _segs(frames[:, 16:80, 32:96])
    for options in ({"feather": 0}, {"feather": 9}, {"alpha": 77}):
        assert np.array_equal(paste(frames, segs, **options), frames)
    eight = (frames * 255).astype(np.uint8)
    assert np.array_equal(paste(eight, _segs(eight[:, 16:80, 32:96])), eight)


def test_where_the_mask_is_0_nothing_changes():
    frames = waves()
    out = paste(frames, _segs(_red()), feather=0)
    changed = (out != frames).any(axis=(0, 3))
    assert changed.sum() == 32 * 32
    assert np.array_equal(out[:, 32:64, 48:80], _red()[:, :32, :32])


def test_mask_per_frame():
    masks = np.zeros((3, 64, 64), np.float32)
    masks[1] = _mask()
    frames = waves()
    assert [(a != b).any() for a, b in zip(paste(frames, _segs(_red(), masks)), frames, strict=True)] == [
        False,
        True,
        False,
    ]


def test_other_counts_of_masks_are_united():
    masks = np.zeros((2, 64, 64), np.float32)
    masks[0] = _mask()
    assert (paste(waves(), _segs(_red(), masks), feather=0)[2, 40, 60] == [1, 0, 0]).all()


def test_other_counts_of_pictures_are_refused():
    with pytest.raises(ShapeError, match="pictures of segment 'A' must be 1 or 3 pictures, got 2"):
        paste(waves(), _segs(_red(2)))
    with pytest.raises(ShapeError, match="reference must be 1 or 3 pictures, got 2"):
        paste(waves(), _segs(None), reference=waves(2))


def test_a_reference_goes_first():
    out = paste(waves(), _segs(_red()), feather=0, reference=np.zeros((1, 96, 128, 3), np.float32))
    assert out[2, 40, 60].tolist() == [0, 0, 0]


def test_opacity_of_frames():
    frames = np.concatenate([waves(), np.full((3, 96, 128, 1), 0.25, np.float32)], axis=3)
    assert paste(frames, _segs(_red()), feather=0)[0, 40, 60].tolist() == [1, 0, 0, 0.25]
    assert paste(frames, _segs(_red(channels=4)), feather=0)[0, 40, 60].tolist() == [1, 0, 0, 0]
    assert paste(waves(), _segs(_red(channels=4)), feather=0)[0, 40, 60].tolist() == [1, 0, 0]


def test_segments_of_another_size_are_scaled():
    small = Segs((48, 64), (Seg(None, np.ones((32, 32)), 1.0, (16, 8, 48, 40), (16, 8, 48, 40), "A"),))
    out = paste(waves(), small, feather=0, reference=np.ones((1, 96, 128, 3), np.float32))
    assert (out == 1).all(axis=3)[0].sum() == 64 * 64


def test_a_picture_of_another_size_lies_at_the_corner():
    out = paste(waves(), _segs(np.ones((1, 90, 100, 3)), np.ones((64, 64))), feather=0)
    assert (out == 1).all(axis=3)[0].sum() == 80 * 96


def test_in_place():
    frames = waves()
    assert paste(frames, _segs(_red()), out=frames) is frames
    other = np.zeros_like(frames)
    assert np.array_equal(paste(waves(), _segs(_red()), out=other), frames)
    with pytest.raises(ShapeError, match=r"out must be float32 \(3, 96, 128, 3\)"):
        paste(waves(), _segs(_red()), out=np.zeros((1, 2)))


def test_nothing_to_paste():
    frames = waves()
    assert np.array_equal(paste(frames, _segs(None)), frames)
    assert np.array_equal(paste(frames, Segs((96, 128))), frames)


@pytest.mark.parametrize("options", [{"feather": -1}, {"feather": np.nan}, {"alpha": 256}, {"alpha": -1}])
def test_options_are_checked(options):
    with pytest.raises(OptionError, match="feather and alpha must be 0 or more, and 0 to 255"):
        paste(waves(), _segs(_red()), **options)


def test_crops_lie_inside():
    outside = Segs((96, 128), (Seg(_red(1), None, 1.0, (-5, 16, 59, 80), (8, 16, 40, 48), "A"),))
    for use in (lambda: paste(waves(), outside), lambda: segs_to_masks(outside)):
        with pytest.raises(RangeError, match="crop_region of segment 0 must be inside the frame of 96 x 128"):
            use()


def test_torch_frames():
    torch = pytest.importorskip("torch")
    segs = _segs(torch.from_numpy(_red()), torch.from_numpy(_mask()))
    assert np.array_equal(paste(torch.from_numpy(waves()), segs), paste(waves(), _segs(_red())))


def test_crops():
    own, crop, black = (crop_pictures(_segs(*given), frames)[0] for given, frames in _crop_cases())
    assert np.array_equal(own, _red())
    assert np.array_equal(crop, waves()[:, 16:80, 32:96])
    assert black.shape == (1, 64, 64, 3)
    assert not black.any()


def _crop_cases():
    return ((_red(),), waves()), ((None,), waves()), ((None,), None)


def test_previews_are_as_opaque_as_the_mask():
    (shown,) = previews(_segs(None), waves())
    assert shown.shape == (3, 64, 64, 4)
    assert sorted({float(value) for value in np.unique(shown[..., 3])}) == [np.float32(0.2), 1]
    masks = np.stack([_mask()] * 3)
    assert previews(_segs(None, masks))[0].shape == (3, 64, 64, 4)


def test_compat_scales_by_the_originals_rule():
    segs = Segs((96, 96), (Seg(_red(1), None, 1.0, (8, 16, 72, 80), (16, 16, 48, 48), "A"),))
    changed = [
        np.argwhere((paste(waves(), segs, feather=0, compat=compat) != waves()).any(axis=(0, 3))).min(axis=0).tolist()
        for compat in (False, True)
    ]
    assert changed == [[16, 11], [21, 10]]  # x by the width's factor, y by the height's; both by the width's


def test_the_reference_has_the_frames_size():
    with pytest.raises(ShapeError, match=r"reference size must be that of frames, \(96, 128\), got \(95, 128\)"):
        paste(waves(), _segs(None), reference=waves()[:, 1:])


def test_a_segment_moves_in_the_frames_it_was_tracked_in():
    masks = np.zeros((3, 96, 128), np.float32)
    for frame in range(3):
        masks[frame, 20:40, 10 + 20 * frame : 30 + 20 * frame] = 1
    segs = track_subject(masks, smoothing=0)
    with pytest.raises(ShapeError, match="frames for segment 'A', which moves must be 3, got 2"):
        crop_pictures(segs, waves(2))
    pictures = crop_pictures(segs, waves())
    moved = Segs(segs.size_hw, (replace(segs[0], cropped_image=pictures[0]),))
    assert np.array_equal(paste(waves(), moved), waves())
