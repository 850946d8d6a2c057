"""From frame to frame: models that remember, steady masks, warm-started matting."""

import numpy as np
import pytest

from maskwright.cutout_options import CutoutOptions
from maskwright.metrics import iou, temporal_error
from maskwright.person import PersonOptions
from maskwright.types import Provenance, SegmentResult
from maskwright.video import RecurrentSegmenter, VideoOptions, cut_video
from tests.support.clips import read_clip, write_clip


class Remembering:
    """A recurrent network of one hidden map: h' = g h + (1 - g) x, with a gate g that opens where much changes."""

    provenance = Provenance(model="remembering", engine="numpy", device="cpu")

    def step(self, image, state):
        seen = 1 / (1 + np.exp(-(image[..., 0].astype(np.float32) - 110) / 20))
        hidden = state.get("hidden", seen)
        gate = 0.6 * np.exp(-4 * np.abs(seen - hidden))
        hidden = (gate * hidden + (1 - gate) * seen).astype(np.float32)
        steps = state.get("steps", np.zeros((), np.int64)) + 1
        return SegmentResult(mask=hidden, provenance=self.provenance), {"hidden": hidden, "steps": steps}


def test_a_model_that_remembers_is_given_what_it_left(clip, disc, tmp_path):
    model = Remembering()
    assert isinstance(model, RecurrentSegmenter)
    report = cut_video(clip, tmp_path / "out.mkv", model=model, options=CutoutOptions(only_mask=True))
    frames, _ = read_clip(tmp_path / "out.mkv", "gray")
    state = {}
    for step, frame in enumerate(frames):
        result, state = model.step(disc(step), state)
        mask = np.where(result.mask < 2 / 255, 0, result.mask)
        assert np.array_equal(frame, np.rint(mask * 255)), step
    assert state["steps"] == 8
    assert report.provenance.model == "remembering"


class Blinking:
    """Finds the disc, but in every fourth frame everything."""

    provenance = Provenance(model="blinking")

    def step(self, image, state):
        count = state.get("count", np.zeros((), np.int64))
        mask = (image[..., 0] > 110).astype(np.float32)
        mask = np.ones_like(mask) if count % 4 == 3 else mask
        return SegmentResult(mask=mask, provenance=self.provenance), {"count": count + 1}


def textured(disc, step):
    noise = np.random.default_rng(3).integers(0, 50, (48, 64, 1))
    return np.where(disc(step)[..., :1] > 110, disc(step), disc(step) + noise).astype(np.uint8)


def test_masks_are_steadied_and_the_report_says_how_much(disc, tmp_path):
    source = write_clip(tmp_path / "in.mkv", [textured(disc, step) for step in range(12)])
    truths = [(disc(step)[..., 0] > 110).astype(np.float32) for step in range(12)]
    found, reports = [], []
    for stabilize in (False, True):
        report = cut_video(
            source, tmp_path / f"{stabilize}.mkv", model=Blinking(), options=CutoutOptions(only_mask=True),
            video=VideoOptions(stabilize=stabilize),
        )  # fmt: skip
        reports.append(report)
        found.append([frame / 255 for frame in read_clip(tmp_path / f"{stabilize}.mkv", "gray")[0]])
    assert min(iou(mask, truth) for mask, truth in zip(found[1], truths, strict=True)) > 0.8
    assert min(iou(mask, truth) for mask, truth in zip(found[0], truths, strict=True)) < 0.3
    assert temporal_error(found[1], truths) < 0.3 * temporal_error(found[0], truths)
    assert reports[0].flicker_before is None
    assert reports[1].flicker_after < 0.1 * reports[1].flicker_before
    assert reports[1].cuts == 0


def test_warm_started_matting_is_steadier(tmp_path, disc):
    """An edge under noise: what was found before has a say, and after a cut it has none."""
    from maskwright.imageio import load_image
    from maskwright.refine import refine_alpha
    from maskwright.video import Frame
    from maskwright.video.steps import FrameCutter, Seen

    rng = np.random.default_rng(1)
    frames = [(disc(0) + rng.normal(0, 8, (48, 64, 3))).clip(0, 255).astype(np.uint8) for _ in range(6)]
    mask = np.clip((13.4 - np.hypot(*np.mgrid[-24:24, -20:44])) / 8 + 0.5, 0, 1).astype(np.float32)
    cutter = FrameCutter(Remembering(), CutoutOptions(alpha_matting=True))
    state, warm = {}, []
    for index, image in enumerate(frames):
        result = SegmentResult(mask=mask, provenance=Provenance(""))
        step = cutter.cut(Seen(Frame(load_image(image), index, index, 1), result), state)
        state = step.state
        warm.append(step.cutout.alpha)
    cold = [refine_alpha(image, mask) for image in frames]
    change = [np.abs(np.diff(each, axis=0)).mean() for each in (np.stack(cold), np.stack(warm))]
    assert np.allclose(warm[0][cold[0] > 2 / 255], cold[0][cold[0] > 2 / 255])
    assert change[1] < change[0]
    other = Frame(load_image(255 - frames[0]), 6, 6, 1)
    after_cut = cutter.cut(Seen(other, SegmentResult(mask=mask, provenance=Provenance(""))), state).cutout.alpha
    again = cutter.cut(Seen(other, SegmentResult(mask=mask, provenance=Provenance(""))), {}).cutout.alpha
    assert np.array_equal(after_cut, again)


def test_parts_of_people_and_their_masks(clip, tmp_path):
    from maskwright.engines import FakeEngine
    from maskwright.person import PersonSegmenter
    from maskwright.segmenters import open_segmenter

    def maps(batch):
        """Bright is face, dark background: six logits of the selfie model."""
        logits = np.zeros((len(batch), 6, *batch.shape[2:]), np.float32)
        logits[:, 0], logits[:, 3] = 20, 60 * batch[:, 0]
        return [logits]

    model = PersonSegmenter(open_segmenter("selfie-multiclass", engine=FakeEngine(maps)))
    report = cut_video(
        clip, tmp_path / "out.mkv", model=model, person=PersonOptions(("face", "background"), soft=True),
        options=CutoutOptions(only_mask=True), video=VideoOptions(separate=True, stabilize=True, chunk=3),
    )  # fmt: skip
    assert [path.name for path in report.outputs] == ["out.mkv", "out-face.mkv", "out-background.mkv"]
    face, back = (read_clip(path, "gray")[0] for path in report.outputs[1:])
    assert face[5][24, 30] > 250 > 5 > face[5][2, 2]
    assert back[5][24, 30] < 5 < 250 < back[5][2, 2]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_clips_of_a_few_frames(tmp_path, disc, count, cut):
    source = write_clip(tmp_path / "in.mkv", [disc(step) for step in range(count)])
    assert cut(source, tmp_path / "out.mkv", stabilize=True, chunk=1).frames == count
