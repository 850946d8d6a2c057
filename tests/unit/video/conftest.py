"""A clip of a bright disc, and a model that finds what is bright."""

import numpy as np
import pytest

from maskwright.engines import FakeEngine
from maskwright.segmenters import open_segmenter
from maskwright.video import VideoOptions, cut_video
from tests.support.clips import write_clip

SIZE = (48, 64)


def draw_disc(step, size_hw=SIZE):
    """An orange disc that moves over dark blue."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    inside = (y - 24) ** 2 + (x - 20 - 2 * step) ** 2 < 180
    return np.where(inside[..., None], (230, 140, 40), (10, 20, 60)).astype(np.uint8)


@pytest.fixture
def disc():
    return draw_disc


@pytest.fixture(scope="session")
def bright():
    return open_segmenter("u2netp", engine=FakeEngine(lambda batch: [(batch[:, :1] > 0).astype(np.float32)]))


@pytest.fixture
def clip(tmp_path):
    """Eight frames without loss, at 29.97 frames per second."""
    return write_clip(tmp_path / "in.mov", [draw_disc(step) for step in range(8)], codec="qtrle", pix_fmt="rgb24")


@pytest.fixture
def cut(bright):
    def call(source, target, options=None, **video):
        return cut_video(source, target, model=bright, options=options, video=VideoOptions(**video))

    return call
