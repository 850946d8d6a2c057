"""What is refused before anything is decoded, computed or written."""

from pathlib import Path

import numpy as np
import pytest

from maskwright.cutout_options import CutoutOptions
from maskwright.errors import MediaError, OptionError
from maskwright.video import CODECS, VideoOptions, plan_video
from maskwright.video.codecs import choose_codec
from maskwright.video.colors import Colors
from maskwright.video.encoder import PieceWriter

WHITE = CutoutOptions(bgcolor=(255, 255, 255, 255))


@pytest.mark.parametrize(
    ("name", "codec", "chosen"),
    [
        ("a.webm", None, "vp9"),
        ("a.mov", None, "prores"),
        ("a.MP4", None, "h264"),
        ("a.mkv", None, "ffv1"),
        ("a.mkv", "vp9", "vp9"),
        ("a.mov", "h264", "h264"),
        ("folder", None, "png"),
        ("a-%03d.png", None, "png"),
    ],
)
def test_names_and_codecs(name, codec, chosen):
    assert choose_codec(Path(name), codec) is CODECS[chosen]


@pytest.mark.parametrize(
    ("name", "options", "video", "message"),
    [
        ("out.gif", {}, {}, "OUTPUT must be a name that ends in .webm"),
        ("out.png", {}, {}, "for a still picture use cut"),
        ("out.webm", {}, {"codec": "prores"}, "OUTPUT with codec prores must be .mov"),
        ("out.webm", {}, {"codec": "png"}, "OUTPUT with codec png must be a folder"),
        ("out.webm", {}, {"codec": "av2"}, "codec must be one of vp9, prores"),
        ("out.webm", {}, {"chunk": 0}, "chunk must be 1 or more"),
        ("out.mp4", {}, {}, "codec h264 holds no transparency; name OUTPUT .webm"),
        ("out.webm", {"crop": True}, {}, "a video goes without crop"),
        ("out.webm", {"background": "red"}, {"background_clip": "b.mp4"}, "background_clip goes without another"),
        ("out.webm", {}, {"separate": True}, "separate must be parts of a person besides"),
        ("in.mov", {}, {}, "OUTPUT must be another file than INPUT"),
        ("a%b.png", {}, {}, "must be a name with one number in it"),
        ("a%%.png", {}, {}, "must be a name with one number in it"),
    ],
)
def test_what_does_not_go_together(clip, cut, tmp_path, name, options, video, message):
    with pytest.raises(OptionError, match=message):
        cut(clip, tmp_path / name, CutoutOptions(**options), **video)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mov"]


def test_codecs_are_known(clip, tmp_path):
    with pytest.raises(OptionError, match="codec must be one of vp9"):
        choose_codec(Path("a.webm"), "av2")


def test_places_that_cannot_be_written(clip, cut, tmp_path):
    with pytest.raises(MediaError, match=r"there is no folder .*nowhere; mkdir"):
        plan_video(clip, tmp_path / "nowhere" / "out.webm")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(MediaError, match="full must be a new or empty folder"):
        cut(clip, tmp_path / "full")
    (tmp_path / "out.mkv").mkdir()
    with pytest.raises(MediaError, match=r"out.mkv cannot be written \("):
        cut(clip, tmp_path / "out.mkv")


def test_frames_of_a_piece_have_one_size(tmp_path):
    codec = CODECS["ffv1"]
    with PieceWriter(tmp_path / "a.mkv", codec, Colors(), 1, None) as writer:
        writer.write(np.zeros((8, 8, 3), np.uint8))
        with pytest.raises(MediaError, match="frame 1 of a piece must be 8 × 8, got 9 × 8"):
            writer.write(np.zeros((8, 9, 3), np.uint8))


def test_quality_and_options():
    assert CODECS["vp9"].encoder_options(None)["crf"] == "20"
    assert CODECS["h264"].encoder_options(100)["crf"] == "0"
    assert "crf" not in CODECS["prores"].encoder_options(50)
    assert VideoOptions(codec="vp9").codec == "vp9"
