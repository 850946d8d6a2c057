"""The sound beside the pictures: the same packets, at the same times."""

from fractions import Fraction

import av
import numpy as np
import pytest

from maskwright.cutout_options import CutoutOptions
from maskwright.errors import MediaError, OptionError
from maskwright.video.joiner import Piece, join_pieces
from tests.support.clips import packet_bytes, read_clip, write_clip

WHITE = CutoutOptions(bgcolor=(255, 255, 255, 255))


@pytest.fixture
def speaking(tmp_path, disc):
    def make(suffix, audio, **more):
        frames = [disc(step) for step in range(15)]
        return write_clip(tmp_path / f"in.{suffix}", frames, codec="mpeg4", pix_fmt="yuv420p", audio=audio, **more)

    return make


@pytest.mark.parametrize(
    ("before", "audio", "after"),
    [
        ("mp4", "aac", "mov"),
        ("mp4", "aac", "mp4"),
        ("mov", "pcm_s16le", "mov"),
        ("mkv", "libopus", "webm"),
        ("mp4", "aac", "mkv"),
    ],
)
def test_sound_is_copied_packet_by_packet(speaking, cut, tmp_path, before, audio, after):
    source = speaking(before, audio)
    report = cut(source, tmp_path / f"out.{after}", WHITE, chunk=4, codec="h264" if after == "mov" else None)
    wanted, got = packet_bytes(source), packet_bytes(tmp_path / f"out.{after}")
    if after == "mkv":  # where nothing lies before 0
        wanted = [each for each in wanted if each[1] >= 0]
    if audio == "pcm_s16le":  # readers cut its samples into packets of their own
        wanted, got = ([(b"".join(data for data, _ in each), each[0][1])] for each in (wanted, got))
    assert [data for data, _ in got] == [data for data, _ in wanted]
    assert max(abs(a - b) for (_, a), (_, b) in zip(got, wanted, strict=True)) <= Fraction(1, 1000)
    assert report.audio == "copied"


def test_a_late_start_moves_pictures_and_sound_alike(disc, cut, tmp_path):
    """A broadcast's clock shows hours; the result begins at 0, and sound and pictures stay together."""
    frames = [disc(step) for step in range(10)]
    source = write_clip(
        tmp_path / "in.ts", frames, codec="mpeg2video", pix_fmt="yuv420p", audio="mp2", time_base=Fraction(1, 25),
        form={"output_ts_offset": "7200"},
    )  # fmt: skip
    cut(source, tmp_path / "out.mkv", WHITE)
    before, after = read_clip(source)[1], read_clip(tmp_path / "out.mkv")[1]
    shift = before[0] - after[0]
    assert shift > 7000
    assert after[0] < Fraction(1, 10)
    sound = packet_bytes(source)[0][1] - packet_bytes(tmp_path / "out.mkv")[0][1]
    assert abs(sound - shift) <= Fraction(1, 1000)


def test_sound_that_a_webm_cannot_hold_becomes_opus(speaking, cut, tmp_path):
    report = cut(speaking("mp4", "aac"), tmp_path / "out.webm")
    assert report.audio == "encoded as opus"
    assert any("opus" in note for note in report.notes)
    with av.open(str(tmp_path / "out.webm")) as container:
        assert container.streams.audio[0].codec_context.name == "opus"
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert abs(len(heard) / 48000 - 15 * 1001 / 30000) < 0.05
    spectrum = np.abs(np.fft.rfft(heard[4800:19200]))
    assert abs(np.argmax(spectrum) * 48000 / 14400 - 440) < 4


def test_sound_that_a_mov_cannot_hold_becomes_aac(speaking, cut, tmp_path):
    assert cut(speaking("mkv", "libopus"), tmp_path / "out.mov").audio == "encoded as aac"
    with av.open(str(tmp_path / "out.mov")) as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert abs(len(heard) / 48000 - 15 * 1001 / 30000) < 0.05


def test_sound_may_be_left_out_or_must_be_copied(speaking, cut, tmp_path):
    source = speaking("mp4", "aac")
    assert cut(source, tmp_path / "out.webm", audio="none").audio == "none"
    with av.open(str(tmp_path / "out.webm")) as container:
        assert not container.streams.audio
    assert any("no sound" in note for note in cut(source, tmp_path / "frames").notes)
    with pytest.raises(OptionError, match=r"audio aac must be what .webm can hold, got copy; use --audio auto"):
        cut(source, tmp_path / "out.webm", audio="copy")


def test_a_piece_with_too_few_frames_is_found(clip, tmp_path):
    piece = Piece(clip, times=(0, 1), durations=(1, 1))
    with pytest.raises(MediaError, match=r"in.mov must be 2 frames, got 8"):
        join_pieces([piece], tmp_path / "out.mov", Fraction(1, 25))


def test_two_turns_through_the_same_pieces_give_the_same_bytes(speaking, cut, tmp_path):
    source = speaking("mkv", "libopus")
    for name in ("a.webm", "b.webm"):
        cut(source, tmp_path / name, chunk=6)
    assert (tmp_path / "a.webm").read_bytes() == (tmp_path / "b.webm").read_bytes()
