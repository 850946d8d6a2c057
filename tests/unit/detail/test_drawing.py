from __future__ import annotations

import numpy as np
import pytest

from maskwright.detail import Seg, Segs, draw_segs, track_subject
from maskwright.errors import ShapeError

FRAMES = np.zeros((3, 60, 80, 3), np.float32)


def _segs(size_hw=(60, 80), mask=None):
    mask = np.ones((40, 40), np.float32) if mask is None else mask
    return Segs(size_hw, (Seg(None, mask, 0.5, (20, 10, 60, 50), (30, 20, 50, 40), "face"),))


def test_a_mask_tints_as_much_as_it_is_opaque():
    (frame,) = draw_segs(FRAMES[:1], _segs(), opacity=0.5, names=False)
    assert frame.shape == (60, 80, 3)
    assert frame.dtype == np.float32
    assert np.allclose(frame[15, 40], np.array([230, 159, 0]) / 510, atol=1 / 255)
    assert not frame[:10].any()
    assert np.allclose(frame[20, 30:50], np.array([230, 159, 0]) / 255)  # the box
    assert np.allclose(frame[10, 20:60], np.array([230, 159, 0]) / 255)  # the crop


def test_each_frame_has_its_mask_and_frames_stay_as_they_were():
    masks = np.zeros((3, 40, 40), np.float32)
    masks[1] = 1
    drawn = [frame[25, 40].any() for frame in draw_segs(FRAMES, _segs(mask=masks), names=False)]
    assert drawn == [False, True, False]
    assert not FRAMES.any()


def test_names_change_the_picture_at_the_box_alone():
    (plain,), (named,) = (draw_segs(FRAMES[:1], _segs(), names=names) for names in (False, True))
    rows, columns = np.nonzero((plain != named).any(axis=2))
    assert rows.size
    assert rows.max() <= 20
    assert columns.min() >= 29


@pytest.mark.parametrize("frames", [FRAMES, np.zeros((1, 1, 1, 4), np.uint8), np.zeros((0, 5, 7, 3), np.float32)])
def test_segments_of_another_size_and_frames_of_any(frames):
    drawn = list(draw_segs(frames, _segs((120, 160))))
    assert [frame.shape for frame in drawn] == [(*frames.shape[1:3], 3)] * len(frames)


def test_a_moving_segment_is_drawn_where_it_is():
    masks = np.zeros((3, 60, 80), np.float32)
    for frame in range(3):
        masks[frame, 20:30, 10 + 20 * frame : 20 + 20 * frame] = 1
    segs = track_subject(masks, smoothing=0)
    drawn = list(draw_segs(FRAMES, segs, names=False))
    for frame, (x1, y1, x2, y2) in zip(drawn, segs[0].follow.regions, strict=True):
        assert frame[y1:y2, x1:x2].any()
        frame[y1:y2, x1:x2] = 0
        assert not frame.any()
    with pytest.raises(ShapeError, match="frames for segment 'A', which moves must be 3, got 2"):
        next(draw_segs(FRAMES[:2], segs))
