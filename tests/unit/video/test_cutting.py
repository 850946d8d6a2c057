"""Whole clips through `cut_video`: what players and editors see of them afterwards."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from maskwright.cutout_options import CutoutOptions
from maskwright.engines import FakeEngine
from maskwright.errors import MediaError, OptionError
from maskwright.pipeline import cutout
from maskwright.segmenters import open_segmenter
from maskwright.video import VideoOptions, cut_video
from tests.support.clips import packet_bytes, read_clip, write_clip

BRIGHT = open_segmenter("u2netp", engine=FakeEngine(lambda batch: [(batch[:, :1] > 0).astype(np.float32)]))
SIZE = (48, 64)


def disc(step, size_hw=SIZE):
    """An orange disc that moves over dark blue."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    inside = (y - 24) ** 2 + (x - 20 - 2 * step) ** 2 < 180
    return np.where(inside[..., None], (230, 140, 40), (10, 20, 60)).astype(np.uint8)


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "in.mkv", [disc(step) for step in range(8)])


def cut(source, target, options=None, **video):
    return cut_video(source, target, model=BRIGHT, options=options, video=VideoOptions(**video))


@pytest.mark.parametrize(
    ("name", "decoder", "close"),
    [("out.mkv", None, (0, 0)), ("out.mov", None, (2, 2)), ("out.webm", "libvpx-vp9", (12, 14))],
)
def test_colours_and_alpha_come_back(clip, tmp_path, name, decoder, close):
    report = cut(clip, tmp_path / name, chunk=3)
    frames, _ = read_clip(tmp_path / name, "rgba", decoder=decoder)
    assert report.frames == len(frames) == 8
    for step, rgba in enumerate(frames):
        wanted = cutout(disc(step), model=BRIGHT).rgba.astype(int)
        assert np.abs(wanted[..., 3] - rgba[..., 3]).max() <= close[1]
        seen = wanted[..., 3] == 255
        assert seen.any()
        assert np.abs(wanted[..., :3] - rgba[..., :3])[seen].mean(axis=0).max() <= close[0] / 4
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("container", ["mov", "mkv"])
@pytest.mark.parametrize(
    ("times", "time_base"),
    [
        (None, Fraction(1001, 30000)),
        ([0, 1000, 1500, 4001, 9000, 9100], Fraction(1, 30000)),
        ([3, 5, 6, 11], Fraction(1, 1000)),
    ],
)
def test_frame_times_are_kept(tmp_path, container, times, time_base):
    count = len(times) if times else 6
    source = write_clip(
        tmp_path / "in.mov", [disc(step) for step in range(count)], times=times, time_base=time_base, codec="qtrle",
        pix_fmt="rgb24",
    )  # fmt: skip
    _, before = read_clip(source)
    cut(source, tmp_path / f"out.{container}", CutoutOptions(bgcolor=(0, 0, 0, 255)), chunk=2)
    _, after = read_clip(tmp_path / f"out.{container}")
    if container == "mkv":  # which counts milliseconds
        before = [Fraction(round(time * 1000), 1000) for time in before]
    assert [time - after[0] for time in after] == [time - before[0] for time in before]
