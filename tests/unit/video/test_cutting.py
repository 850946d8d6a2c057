"""Whole clips through `cut_video`: what players and editors see of them afterwards."""

from fractions import Fraction

import numpy as np
import pytest
from av.video.reformatter import Colorspace
from PIL import Image

from maskwright.cutout_options import CutoutOptions
from maskwright.imageio import load_image
from maskwright.pipeline import cutout
from tests.support.clips import read_clip, write_clip

WHITE = CutoutOptions(bgcolor=(255, 255, 255, 255))


@pytest.mark.parametrize(
    ("name", "decoder", "close"),
    [("out.mkv", None, (0, 0)), ("out.mov", None, (1, 1)), ("out.webm", "libvpx-vp9", (3, 14))],
)
def test_colours_and_alpha_come_back(clip, disc, bright, cut, tmp_path, name, decoder, close):
    report = cut(clip, tmp_path / name, chunk=3)
    frames, _ = read_clip(tmp_path / name, "rgba", decoder=decoder)
    assert report.frames == len(frames) == 8
    for step, rgba in enumerate(frames):
        wanted = cutout(disc(step), model=bright).rgba.astype(int)
        assert np.abs(wanted[..., 3] - rgba[..., 3]).max() <= close[1]
        seen = wanted[..., 3] == 255
        assert seen.any()
        assert np.abs(wanted[..., :3] - rgba[..., :3])[seen].mean(axis=0).max() <= close[0]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("container", ["mov", "mkv"])
@pytest.mark.parametrize(
    ("times", "time_base"),
    [
        (None, Fraction(1001, 30000)),
        ([0, 1000, 1500, 4001, 9000, 9100], Fraction(1, 30000)),
        ([3, 5, 6, 11], Fraction(1, 1000)),
    ],
)
def test_frame_times_are_kept(disc, cut, tmp_path, container, times, time_base):
    frames = [disc(step) for step in range(len(times) if times else 6)]
    source = write_clip(tmp_path / "in.mov", frames, times=times, time_base=time_base, codec="qtrle", pix_fmt="rgb24")
    _, before = read_clip(source)
    cut(source, tmp_path / f"out.{container}", WHITE, chunk=2)
    _, after = read_clip(tmp_path / f"out.{container}")
    if container == "mkv":  # which counts milliseconds
        before = [Fraction(round(time * 1000), 1000) for time in before]
    assert [time - after[0] for time in after] == [time - before[0] for time in before]


@pytest.mark.parametrize(
    ("matrix", "full"),
    [
        (1, False),
        (5, False),
        (1, True),
        (5, True),
        pytest.param(9, False, marks=pytest.mark.skipif(not hasattr(Colorspace, "BT2020"), reason="an older PyAV")),
    ],
)
def test_matrix_and_range_are_those_of_the_clip(cut, tmp_path, matrix, full):
    """BT.709, BT.601 and BT.2020, limited and full: colours by their numbers, and stated in the result."""
    bars = np.zeros((16, 48, 3), np.uint8)
    for place, color in enumerate(((200, 30, 40), (30, 180, 60), (40, 60, 220), (250, 250, 250), (128, 128, 128))):
        bars[:, 9 * place : 9 * place + 9] = color
    source = write_clip(
        tmp_path / "in.mp4", [bars] * 2, codec="libx264", pix_fmt="yuv444p", matrix=matrix, full=full,
        options={"crf": "0"},
    )  # fmt: skip
    cut(source, tmp_path / "out.mov", WHITE, codec="prores")
    frames, _ = read_clip(tmp_path / "out.mov", matrix=matrix)
    middles = np.s_[4:12, [4, 13, 22, 31, 40]]
    selected = np.where(bars[..., :1] > 100, bars, 255)  # the model takes what is red; the rest becomes white
    assert np.abs(frames[0][middles].astype(int) - selected[middles]).max() <= 3


def test_a_still_background_and_a_clip_behind(clip, disc, cut, tmp_path):
    """Shorter than the clip and at another rate: each frame at its own time, then again from the beginning."""
    behind = write_clip(
        tmp_path / "behind.mov",
        [np.full((24, 32, 3), 60 * step, np.uint8) for step in range(3)],
        time_base=Fraction(1001, 15000),
        codec="qtrle",
        pix_fmt="rgb24",
    )
    cut(clip, tmp_path / "out.mkv", background_clip=str(behind), chunk=3)
    frames, _ = read_clip(tmp_path / "out.mkv")
    assert [frame[2, 2, 0] for frame in frames] == [0, 0, 60, 60, 120, 120, 0, 0]
    for step, frame in enumerate(frames):
        assert np.abs(frame[24, 20 + 2 * step].astype(int) - [230, 140, 40]).max() < 3
    picture = load_image(np.full((9, 9, 3), (9, 99, 199), np.uint8))
    cut(clip, tmp_path / "over.mkv", CutoutOptions(background=picture))
    assert read_clip(tmp_path / "over.mkv")[0][5][2, 2].tolist() == [9, 99, 199]
    cut(clip, tmp_path / "blur.mp4", CutoutOptions(background="blur:4"))
    assert np.abs(read_clip(tmp_path / "blur.mp4")[0][5][2, 2].astype(int) - [10, 20, 60]).max() < 6


def test_a_matte(clip, cut, bright, disc, tmp_path):
    for name, close in (("matte.mp4", 12), ("matte.mkv", 0), ("matte.webm", 16), ("matte.mov", 2)):
        cut(clip, tmp_path / name, CutoutOptions(only_mask=True))
        frames, _ = read_clip(tmp_path / name)
        mask = np.rint(cutout(disc(6), model=bright).alpha * 255)
        assert np.abs(frames[6] - mask[..., None]).max() <= close, name


@pytest.mark.parametrize("name", ["frames", "still-%03d.png"])
def test_pictures(clip, cut, bright, disc, tmp_path, name):
    report = cut(clip, tmp_path / name, chunk=3)
    folder = tmp_path if "%" in name else tmp_path / name
    last = folder / ("still-007.png" if "%" in name else "000007.png")
    with Image.open(last) as picture:
        assert np.array_equal(np.asarray(picture), cutout(disc(7), model=bright).rgba)
    listed = next(folder.glob("*.ffconcat")).read_text().splitlines()
    assert listed.count(f"file '{last.name}'") == 1
    assert listed.count("duration 0.033366667") == 8
    assert report.frames == 8


@pytest.mark.parametrize("size_hw", [(35, 47), (2, 2)])
@pytest.mark.parametrize("name", ["odd.webm", "odd.mov", "odd.mp4", "odd.mkv"])
def test_odd_sizes(cut, tmp_path, size_hw, name):
    source = write_clip(tmp_path / "in.mkv", [np.full((*size_hw, 3), 200, np.uint8)] * 3)
    report = cut(source, tmp_path / name, WHITE)
    height, width = size_hw
    even = name.endswith("mp4")
    assert read_clip(tmp_path / name)[0][2].shape == (height + height % 2 * even, width + width % 2 * even, 3)
    assert bool(report.notes) == (even and height % 2 == 1)


def test_sixteen_bits_stay(tmp_path, cut):
    """A ramp finer than 8 bits can say goes through ProRes and comes back as fine."""
    ramp = np.tile((np.arange(256) * 8 + 30000).astype(np.uint16)[None, :, None], (32, 1, 3))
    first = write_clip(tmp_path / "in.mov", [ramp] * 2, codec="prores_ks", pix_fmt="yuv444p10le", matrix=1)
    cut(first, tmp_path / "out.mov", CutoutOptions(depth=16, bgcolor=(0, 0, 0, 255)))
    deep = read_clip(tmp_path / "out.mov", "rgb48le")[0][0][16, :, 1]
    assert len(np.unique(deep)) > 16
    assert np.abs(deep.astype(int) - ramp[16, :, 1]).max() < 200


def test_progress_counts_and_may_stop_the_run(clip, cut, bright, tmp_path):
    from maskwright.video import VideoOptions, cut_video

    told = []
    cut_video(
        clip,
        tmp_path / "a.mkv",
        model=bright,
        video=VideoOptions(jobs=3),
        progress=lambda *each: told.append(each),
    )
    assert told == [(number, 8) for number in range(1, 9)]

    def stop(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_video(clip, tmp_path / "b.mkv", model=bright, video=VideoOptions(chunk=2), progress=stop)
    assert not (tmp_path / "b.mkv").exists()
    report = cut_video(clip, tmp_path / "b.mkv", model=bright, video=VideoOptions(chunk=2))
    assert report.resumed == 4
    assert report.frames == 8
