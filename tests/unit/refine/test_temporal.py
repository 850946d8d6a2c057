import numpy as np
import pytest

from maskwright.errors import RangeError, ShapeError
from maskwright.metrics import warping_error
from maskwright.refine.temporal import add_change, carry, estimate_motion, follow, glance, steady_changes

RNG = np.random.default_rng(5)
SIZE = (96, 128)


def texture(seed, size_hw):
    """Smooth colours without direction."""
    noise = np.random.default_rng(seed).random((size_hw[0] // 4 + 2, size_hw[1] // 4 + 2, 3))
    fine = noise.repeat(4, axis=0).repeat(4, axis=1)
    fine = (fine + np.roll(fine, 2, 0) + np.roll(fine, 2, 1) + np.roll(fine, (2, 2), (0, 1))) / 4
    return (fine[: size_hw[0], : size_hw[1]] * 255).astype(np.uint8)


FAR, NEAR = texture(1, (120, 220)), texture(2, (40, 30))


def scene(step):
    """A panning background, a square that moves against it, and its exact mask."""
    image = FAR[8 : 8 + SIZE[0], 10 + 3 * step : 10 + 3 * step + SIZE[1]].copy()
    mask = np.zeros(SIZE, np.float32)
    place = np.s_[30:70, 20 + 2 * step : 50 + 2 * step]
    image[place], mask[place] = NEAR, 1
    return image, mask


def kept(frames):
    window = []
    for image, mask in frames:
        window.append(glance(image, {"": mask}, window[-1] if window else None))
    return window


def test_motion_of_a_pan_and_of_what_moves_against_it():
    (old, _), (new, mask) = scene(0), scene(1)
    flow = estimate_motion(old, new)
    inside = np.zeros(SIZE, bool)
    inside[36:64, 28:46] = True
    far = mask == 0
    far[:8], far[-8:], far[:, :12], far[:, -12:] = False, False, False, False
    far[22:78, 8:66] = False
    assert np.abs(np.median(flow[:, inside], axis=1) - [0, -2]).max() < 0.2
    assert np.abs(flow[:, far] - [[0], [3]]).mean() < 0.1


def test_a_carried_mask_lies_where_its_pixels_went():
    (old, before), (new, after) = scene(0), scene(1)
    motion = follow(old, new)
    assert not motion.is_cut
    assert warping_error(after, carry(before, motion), motion.trust) < 0.25 * np.abs(before - after).mean()


@pytest.mark.parametrize("wrong", [0.0, 1.0])
def test_a_mask_that_is_wrong_for_a_frame_is_put_right(wrong):
    frames = [scene(step) for step in range(5)]
    truth = frames[2][1]
    frames[2] = (frames[2][0], np.full(SIZE, wrong, np.float32))
    window = kept(frames)
    steadied = add_change(frames[2][1], steady_changes(window, 2)[""])
    assert np.abs(steadied - truth).mean() < 0.04
    assert np.abs(frames[2][1] - truth).mean() > 0.08


def test_steady_masks_stay_as_they_are():
    window = kept([scene(step) for step in range(5)])
    for at in range(5):
        assert np.abs(steady_changes(window, at)[""]).mean() < 0.004


def test_a_cut_begins_anew():
    other = texture(9, SIZE)
    before, after = [scene(step) for step in range(2)], [(other, np.ones(SIZE, np.float32))] * 2
    window = kept([*before, *after])
    assert [each.before is not None and each.before.is_cut for each in window] == [False, False, True, False]
    assert not steady_changes(window, 2)[""].any()
    assert not steady_changes(window, 1)[""].any()


def test_thin_things_that_moved_are_not_smeared():
    """Where the colours do not agree, a frame's own mask counts alone: hair leaves no trace where it was."""
    frames = []
    for step in range(5):
        image, mask = np.full((*SIZE, 3), 40, np.uint8), np.zeros(SIZE, np.float32)
        image += RNG.integers(0, 6, image.shape, dtype=np.uint8)
        strand = np.s_[10:80, 40 + 9 * step : 42 + 9 * step]
        image[strand], mask[strand] = 200, 1
        frames.append((image, mask))
    window = kept(frames)
    steadied = add_change(frames[2][1], steady_changes(window, 2)[""])
    assert np.abs(steadied - frames[2][1]).max() < 0.05


def test_a_large_frame_is_carried_small_and_keeps_its_detail():
    image = texture(3, (600, 1024))
    mask = RNG.random((600, 1024)).astype(np.float32)
    window = kept([(image, mask)] * 3)
    assert window[0].frame.shape == (300, 512, 3)
    assert np.allclose(add_change(mask, steady_changes(window, 1)[""]), mask, atol=1e-4)


@pytest.mark.parametrize("size_hw", [(1, 1), (2, 3), (17, 31)])
def test_small_frames(size_hw):
    image, mask = RNG.integers(0, 256, (*size_hw, 3), dtype=np.uint8), np.ones(size_hw, np.float32)
    assert np.allclose(add_change(mask, steady_changes(kept([(image, mask)] * 3), 1)[""]), 1)


def test_errors():
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ShapeError, match="after size must be that of before"):
        follow(image, np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(ShapeError, match=r"values must be .* as the motion"):
        carry(np.zeros((3, 3), np.float32), follow(image, image))
    with pytest.raises(RangeError, match="before must be uint8"):
        estimate_motion(image.astype(np.int32), image)
