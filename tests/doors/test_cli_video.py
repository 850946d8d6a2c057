"""`maskwright video`, as a user meets it."""

import io
import json
import sys

import numpy as np
import pytest

from maskwright.cli import main
from maskwright.engines import release_engines
from tests.support.clips import read_clip, write_clip
from tests.support.graphs import write_graph


@pytest.fixture
def run(capsysbinary, tmp_path):
    """A command's exit code, stdout and stderr, with a small graph: bright is selected."""
    weights = write_graph(tmp_path / "small.onnx", size_hw=(40, 60))

    def call(*arguments):
        small = ["-m", "u2net_custom", "--weights", str(weights), "--device", "cpu"]
        with pytest.raises(SystemExit) as leaving:
            main(["video", *map(str, arguments), *small])
        out, err = capsysbinary.readouterr()
        return leaving.value.code or 0, out.decode(), err.decode()

    yield call
    release_engines()


@pytest.fixture
def clip(tmp_path):
    y, x = np.mgrid[:48, :64]
    frames = [np.where(((y - 24) ** 2 + (x - 20 - 2 * k) ** 2 < 150)[..., None], 230, 15) for k in range(6)]
    frames = [np.repeat(frame.astype(np.uint8), 3, axis=2) for frame in frames]
    return write_clip(tmp_path / "in.mp4", frames, codec="libx264", pix_fmt="yuv420p", audio="aac")


def test_a_clip(run, clip, tmp_path):
    code, out, err = run(clip, tmp_path / "out.webm", "--stabilize", "--json")
    report = json.loads(out)
    assert code == 0, err
    assert (report["frames"], report["height"], report["width"], report["resumed"]) == (6, 48, 64, 0)
    assert report["outputs"] == [str(tmp_path / "out.webm")]
    assert report["flicker_after"] <= report["flicker_before"]
    assert report["audio"] == "encoded as opus"
    assert report["model"] == "u2net_custom"
    frames, _ = read_clip(tmp_path / "out.webm", "rgba", decoder="libvpx-vp9")
    assert frames[3][24, 26, 3] > 150 > frames[3][2, 2, 3]


def test_a_line_about_it(run, clip, tmp_path):
    code, out, err = run(clip, tmp_path / "out.mp4", "--mask-only", "--chunk", "2", "--jobs", "2")
    assert (code, out) == (0, "")
    assert "out.mp4  6 frames  h264, sound copied" in err


def test_a_clip_as_background(run, clip, tmp_path):
    code, _, err = run(clip, tmp_path / "out.mp4", "--background", clip, "-q")
    assert (code, err) == (0, "")
    assert len(read_clip(tmp_path / "out.mp4")[0]) == 6


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["in.mp4", "out.mp4"], 2, "codec h264 holds no transparency"),
        (["in.mp4", "out.webm", "--background", "no.mp4"], 2, "no.mp4 must be an existing file"),
        (["none.mp4", "out.webm"], 2, "none.mp4 must be an existing file"),
        (["small.onnx", "out.webm"], 2, "cannot be read as a video"),
        (["broken.mp4", "out.webm"], 2, "cannot be read as a video|must be .* s long|damaged"),
        (["in.mp4", "out.webm", "--separate"], 2, "separate must be parts"),
        (["in.mp4", "out.webm", "--parts", "nose"], 2, "parts must be one or more of"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(run, clip, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    before = sorted(path.name for path in tmp_path.iterdir())
    got, _, err = run(*arguments)
    assert got == code
    assert len(err.splitlines()) == 1
    assert __import__("re").search(message, err)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_without_pyav(run, clip, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    code, _, err = run(clip, tmp_path / "out.webm")
    assert code == 1
    assert err == 'maskwright: PyAV is not installed; pip install "maskwright[video]"\n'


def test_the_help_names_what_there_is(capsysbinary):
    with pytest.raises(SystemExit):
        main(["video", "--help"])
    out = capsysbinary.readouterr().out.decode()
    for flag in ("--stabilize", "--background", "--codec", "--mask-only", "--jobs", "--parts", "--audio"):
        assert flag in out


@pytest.mark.parametrize(("flags", "channels"), [([], 4), (["-om"], 1)])
def test_raw_frames_by_pipe(capsysbinary, monkeypatch, tmp_path, flags, channels):
    weights = write_graph(tmp_path / "small.onnx", size_hw=(40, 60))
    frames = np.random.default_rng(0).integers(0, 256, (3, 8, 10, 3), dtype=np.uint8)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(frames.tobytes())))
    with pytest.raises(SystemExit) as leaving:
        main(["stream", "10", "8", "--raw", *flags, "-m", "u2net_custom", "--weights", str(weights), "--device", "cpu"])
    release_engines()
    out = np.frombuffer(capsysbinary.readouterr().out, np.uint8).reshape(3, 8, 10, channels)
    assert not leaving.value.code
    assert len(np.unique(out[..., -1])) > 1
    if channels == 4:
        seen = out[..., 3] > 0
        assert np.array_equal(out[..., :3][seen], frames[seen])
