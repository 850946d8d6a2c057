"""What is read of a clip, held against what is known of how it was written."""

from fractions import Fraction

import numpy as np
import pytest

from maskwright.errors import EngineUnavailable, MediaError
from maskwright.video import VideoReader
from tests.support.clips import read_clip, write_clip


@pytest.mark.parametrize("turn", [0, 90, 180, 270, -90])
def test_frames_stand_upright(tmp_path, turn):
    """A display matrix that turns to the left by so many degrees."""
    frame = np.zeros((32, 48, 3), np.uint8)
    frame[:16, :24] = 255  # upper left
    path = write_clip(tmp_path / "in.mp4", [frame] * 2, codec="libx264", pix_fmt="yuv444p", turn=turn)
    with VideoReader(path) as reader:
        image = next(reader.frames()).image.image
        assert reader.info.size_hw == image.shape[:2]
    assert np.abs(image.astype(int) - np.rot90(frame, turn // 90)).mean() < 3


def test_a_mirrored_clip(tmp_path):
    """The matrix of a front camera: each row read from right to left. It is written into the file by hand."""
    frame = np.zeros((32, 48, 3), np.uint8)
    frame[:16, :24] = 255
    path = write_clip(tmp_path / "in.mp4", [frame] * 2, codec="libx264", pix_fmt="yuv444p")
    data = path.read_bytes()
    one = (1 << 16).to_bytes(4, "big")
    place = data.index(one + bytes(12) + one, data.index(b"tkhd"))
    path.write_bytes(data[:place] + (-(1 << 16)).to_bytes(4, "big", signed=True) + data[place + 4 :])
    with VideoReader(path) as reader:
        assert np.abs(next(reader.frames()).image.image.astype(int) - frame[:, ::-1]).mean() < 3


@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv", "avi", "ts"])
def test_times_start_and_number(tmp_path, disc, suffix):
    codec = "libx264" if suffix in ("mp4", "ts") else "mpeg4"
    frames = [disc(step) for step in range(6)]
    path = write_clip(tmp_path / f"in.{suffix}", frames, codec=codec, pix_fmt="yuv420p", time_base=Fraction(1, 25))
    with VideoReader(path) as reader:
        read = list(reader.frames())
        unit = reader.info.time_base
    assert [frame.time * unit for frame in read] == [Fraction(number, 25) for number in range(6)]
    assert [frame.duration * unit for frame in read] == [Fraction(1, 25)] * 6
    with VideoReader(path) as reader:
        rest = list(reader.frames(4))
    assert [frame.index for frame in rest] == [4, 5]
    assert np.array_equal(rest[0].image.image, read[4].image.image)
    assert [frame.time for frame in rest] == [frame.time for frame in read[4:]]


def test_transparent_clips_keep_their_alpha(tmp_path, disc, bright, cut):
    source = write_clip(tmp_path / "in.mkv", [disc(step) for step in range(3)])
    for name in ("alpha.webm", "alpha.mov"):
        cut(source, tmp_path / name)
        with VideoReader(tmp_path / name) as reader:
            frame = list(reader.frames())[2].image
        assert reader.info.has_alpha
        assert frame.alpha[24, 24] > 240
        assert frame.alpha[2, 2] < 10


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "avi"])
def test_a_clip_that_was_cut_off(tmp_path, disc, suffix):
    noise = np.random.default_rng(0)
    frames = [disc(step) ^ noise.integers(0, 64, (48, 64, 3), dtype=np.uint8) for step in range(16)]
    codec = {"webm": "libvpx-vp9", "avi": "mpeg4"}.get(suffix, "libx264")
    options = {"movflags": "faststart"}
    path = write_clip(
        tmp_path / f"in.{suffix}", frames, codec=codec, pix_fmt="yuv420p", time_base=Fraction(1, 25), form=options
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(MediaError, match=r"must be .* s long|damaged|cannot be read"), VideoReader(path) as reader:
        list(reader.frames())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "must be an existing file"),
        (lambda path: path.mkdir(), "must be a clip, got a folder|cannot be read as a video"),
        (lambda path: path.write_bytes(b"no clip at all" * 100), "cannot be read as a video"),
        (lambda path: path.write_bytes(b""), "cannot be read as a video"),
        (lambda path: _write_sound(path), "holds no video"),
    ],
)
def test_what_is_no_clip(tmp_path, make, message):
    path = tmp_path / "in.mkv"
    make(path)
    with pytest.raises(MediaError, match=message):
        VideoReader(path)


def _write_sound(path):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_a_clip_whose_size_changes(tmp_path, disc):
    """Two clips of different sizes, one after the other in one stream, as some recorders write them."""
    small = write_clip(
        tmp_path / "a.m2v", [disc(0)] * 3, codec="mpeg2video", pix_fmt="yuv420p", time_base=Fraction(1, 25)
    )
    large = write_clip(
        tmp_path / "b.m2v", [disc(0, (64, 96))] * 3, codec="mpeg2video", pix_fmt="yuv420p", time_base=Fraction(1, 25)
    )
    both = tmp_path / "both.m2v"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    with VideoReader(both) as reader, pytest.raises(MediaError, match=r"frame \d of .* must be 64 × 48, got 96 × 64"):
        list(reader.frames())


def test_without_pyav(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(EngineUnavailable, match=r"PyAV is not installed; pip install \"maskwright\[video\]\""):
        VideoReader(tmp_path / "in.mp4")


def test_colours_without_a_stated_matrix(tmp_path):
    """BT.601 below 720 rows, BT.709 from there on."""
    for height, matrix in ((48, 5), (720, 1)):
        red = np.full((height, 64, 3), (200, 30, 40), np.uint8)
        path = write_clip(tmp_path / f"{height}.avi", [red], codec="ffv1", pix_fmt="yuv444p", matrix=matrix)
        assert np.abs(read_clip(path, matrix=matrix)[0][0].astype(int) - red).max() <= 2
        with VideoReader(path) as reader:
            assert np.abs(next(reader.frames()).image.image.astype(int) - red).max() <= 2
