"""A run that is killed and taken up again: the same bytes, and nothing under the output's name before it is whole."""

import json
import signal

import numpy as np
import pytest

from maskwright.cutout_options import CutoutOptions
from maskwright.errors import MediaError
from maskwright.video import VideoOptions, cut_video
from maskwright.video.journal import Entry, Journal
from tests.support.clips import write_clip
from tests.unit.video.test_steps import Remembering

KILLED = """
import json, os, signal, sys
from maskwright.video import VideoOptions, cut_video
from maskwright.cutout_options import CutoutOptions
from tests.unit.video.test_steps import Remembering
source, target, options, video, frame = json.loads(sys.argv[1])
def stop(done, total):
    if done == frame:
        os.kill(os.getpid(), signal.SIGKILL)
how = {"options": CutoutOptions(**options), "video": VideoOptions(**video)}
cut_video(source, target, model=Remembering(), progress=stop, **how)
"""


@pytest.mark.parametrize(
    ("name", "options", "video", "kills"),
    [
        ("out.webm", {}, {"stabilize": True}, [5, 9]),
        ("out.mov", {"alpha_matting": True}, {"stabilize": True, "chunk": 2}, [7]),
        ("frames", {"alpha_matting": True}, {}, [10]),
        ("out.mp4", {"bgcolor": [0, 0, 255, 255]}, {}, [4]),
    ],
)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_and_taken_up_again(tmp_path, disc, run_python, name, options, video, kills):
    """A model that remembers, steady masks and warm-started matting: all that one frame hands to the next."""
    codec = {"codec": "mpeg4", "pix_fmt": "yuv420p", "audio": "libopus"}
    source = write_clip(tmp_path / "in.mkv", [disc(step) for step in range(12)], **codec)
    how = {"chunk": 3, **video}
    whole, target = tmp_path / "whole" / name, tmp_path / "killed" / name
    for path in (whole, target):
        path.parent.mkdir()
    run = {"options": CutoutOptions(**options), "video": VideoOptions(**how)}
    expected = cut_video(source, whole, model=Remembering(), **run)
    for frame in kills:
        told = json.dumps([str(source), str(target), options, how, frame])
        done = run_python("-c", KILLED, told)
        assert done.returncode == -signal.SIGKILL
        assert not target.exists()
    report = cut_video(source, target, model=Remembering(), **run)
    assert report.resumed == (kills[-1] - 1) // how["chunk"] * how["chunk"]
    assert (report.frames, report.flicker_after, report.cuts) == (12, expected.flicker_after, expected.cuts)
    assert _bytes(target) == _bytes(whole)
    assert [path.name for path in target.parent.iterdir()] == [name]


def _bytes(path):
    return [(each.name, each.read_bytes()) for each in sorted(path.iterdir())] if path.is_dir() else path.read_bytes()


def test_other_options_begin_anew(clip, cut, bright, tmp_path):
    def stop(done, total):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_video(clip, tmp_path / "out.mkv", model=bright, video=VideoOptions(chunk=2), progress=stop)
    assert cut(clip, tmp_path / "out.mkv", CutoutOptions(grow=1), chunk=2).resumed == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_state_and_entries_come_back(tmp_path):
    entry = Entry((0, 2), (2, 3), {"cuts": 1.0}, ("a note",))
    state = {"recurrent.h": np.arange(3, dtype=np.float32)}
    begun = Journal(tmp_path / "work", "facts")
    assert begun.state() == {}
    begun.add(entry, state)
    begun.__exit__(KeyboardInterrupt, None, None)
    with Journal(tmp_path / "work", "facts") as journal:
        assert journal.entries == [entry]
        assert journal.frames == 2
        assert np.array_equal(journal.state()["recurrent.h"], state["recurrent.h"])
    assert not (tmp_path / "work").exists()


def test_two_runs_into_one_file(tmp_path):
    with Journal(tmp_path / "work", "facts"), pytest.raises(MediaError, match="another run works in"):
        Journal(tmp_path / "work", "facts")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match=r"work cannot be written \(.*\); choose an OUTPUT"):
        Journal(tmp_path / "file" / "work", "facts")
