"""What goes along with the pictures: subtitles, fonts, chapters and titles, each where the file can hold it."""

from fractions import Fraction

import av
import numpy as np
import pytest

from maskwright.cutout_options import CutoutOptions
from maskwright.errors import MediaError
from maskwright.video import VideoReader
from maskwright.video.companions import plan_companions
from tests.support.clips import packet_bytes, write_companions

WHITE = CutoutOptions(bgcolor=(255, 255, 255, 255))


@pytest.fixture
def rich(tmp_path, disc):
    """A clip with two languages, subtitles, chapters, a title and a place; in a MKV a font and a letter, too."""
    return lambda suffix: write_companions(tmp_path / f"in.{suffix}", [disc(step) for step in range(30)])


def described(path):
    """Of each stream but the pictures: kind, codec, language, title, whether it is the usual one; and the file's."""
    with av.open(str(path)) as container:
        streams = [
            (
                stream.type,
                stream.codec_context.codec.canonical_name if stream.codec_context else stream.name,
                stream.metadata.get("language"),
                stream.metadata.get("title") or stream.metadata.get("name"),
                bool(stream.disposition & stream.disposition.__class__.default),
            )
            for stream in container.streams
            if stream.type not in ("video", "data")
        ]
        texts = {name.lower(): text for name, text in container.metadata.items()}
        chapters = [
            (each["metadata"].get("title"), each["start"] * each["time_base"], each["end"] * each["time_base"])
            for each in container.chapters()
        ]
    return (
        streams,
        {name: texts[name] for name in ("title", "artist", "location", "software") if name in texts},
        chapters,
    )


CHAPTERS = [("One", 0, 1), ("Two", 1, 3)]


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "webm"])
def test_what_the_file_can_hold_goes_along(rich, cut, tmp_path, suffix):
    source = rich(suffix)
    codec = "h264" if suffix == "mov" else None
    report = cut(source, tmp_path / f"out.{suffix}", WHITE, chunk=8, codec=codec)
    before, after = described(source), described(tmp_path / f"out.{suffix}")
    assert after[0] == [stream for stream in before[0] if stream[1] != "letter.txt"]
    assert [stream[2:4] for stream in after[0][:3]] == [("eng", "Main"), ("spa", None), ("fra", None)]
    assert after[1:] == ({"title": "My film", "artist": "Me"}, CHAPTERS)
    assert packet_bytes(tmp_path / f"out.{suffix}", "subtitles") == packet_bytes(source, "subtitles")
    assert any("not carried over: the attached file letter.txt" in note for note in report.notes) == (suffix == "mkv")


def test_what_it_cannot_hold_is_told(rich, cut, tmp_path):
    report = cut(rich("mkv"), tmp_path / "out.webm", chunk=30)
    assert [stream[:2] for stream in described(tmp_path / "out.webm")[0]] == [("audio", "opus")] * 2
    assert "not carried over: subtitles (subrip fra), the attached file font.ttf, the attached file letter.txt" in (
        report.notes
    )
    report = cut(rich("mp4"), tmp_path / "frames")
    assert "not carried over: subtitles (mov_text fra), chapters" in report.notes


def test_the_place_is_kept_only_where_that_is_wanted(rich, cut, tmp_path):
    source = rich("mp4")
    assert described(source)[1]["location"].startswith("+48")
    assert not plan_companions(source, tmp_path / "out.mp4").keep_gps
    cut(source, tmp_path / "out.mp4", CutoutOptions(bgcolor=(0, 0, 0, 255), keep_gps=True))
    assert described(tmp_path / "out.mp4")[1]["location"].startswith("+48")


def test_an_attached_picture_is_neither_the_clip_nor_carried_over(disc, cut, tmp_path):
    """It may show what was cut away; and it may be the first video stream."""
    source, cover = tmp_path / "in.mp4", disc(0)
    with av.open(str(source), "w") as container:
        streams = [container.add_stream(codec, rate=25) for codec in ("png", "mpeg4")]
        for stream, pix_fmt in zip(streams, ("rgb24", "yuv420p"), strict=True):
            stream.height, stream.width, stream.pix_fmt = *cover.shape[:2], pix_fmt
        streams[0].disposition = av.stream.Disposition.attached_pic
        for stream, count in zip(streams, (1, 10), strict=True):
            for step in range(count):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(disc(step))))
            container.mux(stream.encode(None))
    with VideoReader(source) as reader:
        assert len([*reader.frames()]) == 10
    report = cut(source, tmp_path / "out.mp4", WHITE)
    assert report.frames == 10
    assert "not carried over: an attached picture" in report.notes
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert len(container.streams) == 1


def test_subtitles_longer_than_the_pictures_make_no_clip_cut_off(tmp_path, disc):
    source = write_companions(tmp_path / "in.mkv", [disc(step) for step in range(10)], last_text=60)
    with VideoReader(source) as reader:
        assert len([*reader.frames()]) == 10


def test_a_clip_that_is_none_is_told_before_anything_is_planned(tmp_path):
    (tmp_path / "no.mp4").write_bytes(b"text")
    with pytest.raises(MediaError, match="cannot be read as a video"):
        plan_companions(tmp_path / "no.mp4", tmp_path / "out.mp4")


def test_chapters_move_with_a_late_start(tmp_path, disc, cut):
    source = write_companions(tmp_path / "in.mkv", [disc(step) for step in range(30)], start=Fraction(2))
    cut(source, tmp_path / "out.mkv", WHITE)
    assert described(tmp_path / "out.mkv")[2] == [("One", 0, 1), ("Two", 1, 3)]
    assert np.isclose(float(packet_bytes(tmp_path / "out.mkv", "subtitles")[0][1]), 0.1)
