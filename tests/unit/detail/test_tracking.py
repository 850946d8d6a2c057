from __future__ import annotations

import numpy as np
import pytest

from maskwright.detail import EchoBackend, detail, paste, redraw, segs_to_masks, track_subject
from maskwright.errors import RangeError


def _walk(frames=12, hidden=(), stranger=True, shaking=2):
    """A box that walks to the right and shakes, and a stranger that stays."""
    shake = np.random.default_rng(0).integers(-shaking, shaking + 1, frames)
    film = np.zeros((frames, 64, 40 + 10 * frames), np.float32)
    for index in range(frames):
        if index not in hidden:
            x = 12 + 9 * index + shake[index]
            film[index, 20:44, x : x + 14] = 1
        if stranger:
            film[index, 2:10, 60:70] = 1
    return film


def _only_walker(film):
    own = film.copy()
    own[:, 2:10, 60:70] = 0
    return own


def test_the_crop_follows_and_has_one_size():
    film = _walk()
    seg = track_subject(film).check()[0]
    regions = np.array(seg.follow.regions)
    assert seg.size_hw == (40, 24)
    assert (np.diff(regions[:, 0]) > 0).all()
    assert np.array_equal(segs_to_masks(track_subject(film)), _only_walker(film))


def test_smoothing_takes_the_shake_out():
    film = _walk(24, stranger=False)
    shaky, calm = (np.array(track_subject(film, smoothing=s, crop_factor=2)[0].follow.regions)[:, 0] for s in (0, 3))
    assert np.abs(np.diff(calm, 2)).mean() < 0.5 * np.abs(np.diff(shaky, 2)).mean()


@pytest.mark.parametrize("frames", [2, 5, 24])
@pytest.mark.parametrize("smoothing", [0.1, 4.0, 100.0])
def test_a_steady_walk_is_in_the_middle_from_the_first_frame_to_the_last(frames, smoothing):
    film = _walk(frames, stranger=False, shaking=0)
    film = np.pad(film, ((0, 0), (0, 0), (40, 40)))  # so that the frame's border does not stop the crop
    lefts = np.array(track_subject(film, smoothing=smoothing, crop_factor=3)[0].follow.regions)[:, 0]
    middles = 40 + 12 + 9 * np.arange(frames) + 7
    assert np.abs(lefts + 24 - middles).max() <= 1


def test_hidden_frames_are_bridged():
    film = _walk(hidden=(4, 5))
    seg = track_subject(film)[0]
    lefts = np.array(seg.follow.regions)[:, 0]
    assert (np.diff(lefts) > 0).all()
    assert not seg.masks()[4].any()
    assert seg.masks()[6].sum() == 24 * 14


def test_the_subject_can_be_pointed_at():
    seg = track_subject(_walk(), point=(64, 5))[0]
    assert seg.bbox == (60, 2, 70, 10)
    assert len(set(seg.follow.regions)) == 1


def test_the_whole_mask_can_be_the_subject():
    assert np.array_equal(segs_to_masks(track_subject(_walk(), whole=True)), _walk())


def test_redrawing_moves_with_it():
    film = _walk()
    frames = np.random.default_rng(1).random((12, 64, 160, 3)).astype(np.float32)
    segs = detail(frames, track_subject(film), EchoBackend())
    assert segs[0].cropped_image.shape == (12, 40, 24, 3)
    for index, (x1, y1, x2, y2) in enumerate(segs[0].follow.regions):
        assert np.abs(segs[0].cropped_image[index] - frames[index, y1:y2, x1:x2]).mean() < 0.1
    painted = paste(frames, type(segs)(segs.size_hw, (_painted(segs[0]),)), feather=0)
    assert np.array_equal(painted == 1, np.repeat(_only_walker(film)[..., None] == 1, 3, 3))
    assert redraw(frames, track_subject(film), EchoBackend()).shape == frames.shape


def _painted(seg):
    from dataclasses import replace

    return replace(seg, cropped_image=np.ones_like(seg.cropped_image))


def test_nothing_to_follow_is_no_segment():
    segs = track_subject(np.zeros((3, 8, 9)))
    assert (segs.size_hw, len(segs)) == ((8, 9), 0)


@pytest.mark.parametrize("wrong", [{"crop_factor": 0.5}, {"crop_factor": np.nan}, {"smoothing": -1}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(RangeError, match="crop_factor and smoothing must be 1 or more, and 0 or more"):
        track_subject(_walk(), **wrong)
