from pathlib import Path

import pytest
from PIL import Image

from maskwright.batch import Job, plan_batch, run_batch, watch_batch
from maskwright.engines import FakeEngine
from maskwright.errors import MediaError, OptionError
from maskwright.pipeline import cutout
from maskwright.segmenters import open_segmenter

SEGMENTER = open_segmenter("u2netp", engine=FakeEngine())


def cut(path):
    return cutout(path, model=SEGMENTER)


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 5), (200, 100, 50)).save(folder / name, "PNG")
    return folder


@pytest.mark.parametrize(
    ("names", "flat", "targets"),
    [
        (["x.jpg"], False, ["x.png"]),
        (["a/x.jpg", "b/x.jpg"], False, ["a/x.png", "b/x.png"]),
        (["x.jpg", "x.webp"], False, ["x.jpg.png", "x.webp.png"]),
        (["a/x.jpg", "b/x.webp"], True, ["x.jpg.png", "x.webp.png"]),
        (["a/x.jpg", "b/x.jpg"], True, ["a_x.jpg.png", "b_x.jpg.png"]),
        (["a/b_x.jpg", "a_b/x.jpg", "c/b_x.jpg", "c/x.jpg"], True, None),
        (["notes.txt", "x.JPG"], False, ["x.png"]),
    ],
)
def test_which_picture_becomes_which_file(tmp_path, names, flat, targets):
    source = fill(tmp_path / "in", *names)
    jobs = plan_batch(source, tmp_path / "out", flat=flat)
    found = [job.target.relative_to(tmp_path / "out").as_posix() for job in jobs]
    assert len(set(found)) == len(found)
    assert targets is None or sorted(found) == targets


def test_cut_outs_inside_the_folder_are_not_cut_again(tmp_path):
    fill(tmp_path, "x.jpg", "out/x.png")
    assert [job.source.name for job in plan_batch(tmp_path, tmp_path / "out")] == ["x.jpg"]


def test_cut_outs_may_go_into_a_folder_round_the_pictures(tmp_path):
    fill(tmp_path / "in", "x.jpg")
    assert [job.target for job in plan_batch(tmp_path / "in", tmp_path)] == [tmp_path / "x.png"]


@pytest.mark.parametrize("flat", [False, True])
def test_no_two_pictures_share_a_file_even_where_case_does_not_count(tmp_path, flat):
    source = fill(tmp_path / "in", "a/x.png", "a_x.png", "b/x.png", "x-0.png", "c/X.png", "c/x.jpg")
    targets = [str(job.target).lower() for job in plan_batch(source, tmp_path / "out", flat=flat)]
    assert len(set(targets)) == len(targets) == 6


def test_a_name_does_not_change_when_other_pictures_go(tmp_path):
    source = fill(tmp_path / "in", "0.png", "a/x.png", "a_x.png", "b/x.png")

    def names():
        return {job.source: job.target for job in plan_batch(source, tmp_path / "out", flat=True)}

    before = names()
    (source / "0.png").unlink()
    assert names().items() <= before.items()


def test_a_source_of_several_pictures_is_never_deleted(tmp_path):
    frames = [Image.new("RGB", (6, 5), (value, value, value)) for value in (0, 200)]
    (tmp_path / "in").mkdir()
    frames[0].save(tmp_path / "in" / "film.gif", save_all=True, append_images=frames[1:])
    report = run_batch(plan_batch(tmp_path / "in", tmp_path / "out"), cut, delete_input=True)
    assert (tmp_path / "in" / "film.gif").exists()
    assert "it holds 2 pictures and one was cut" in report.failed[tmp_path / "in" / "film.gif"]
    assert report.written == [tmp_path / "out" / "film.png"]
    assert "first of 2 frames" in report.notes[tmp_path / "in" / "film.gif"][0]


def test_an_unexpected_error_is_noted_and_the_rest_goes_on(tmp_path):
    def stumble(path):
        if path.name == "x.jpg":
            raise MemoryError("too large")
        return cut(path)

    source = fill(tmp_path / "in", "x.jpg", "y.jpg")
    report = run_batch(plan_batch(source, tmp_path / "out"), stumble)
    assert report.failed[source / "x.jpg"] == "unexpected MemoryError: too large"
    assert len(report.written) == 1


def test_folders_are_checked(tmp_path):
    with pytest.raises(MediaError, match="must be a folder, got no such folder"):
        plan_batch(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(MediaError, match="must be a folder, got a file"):
        plan_batch(fill(tmp_path, "x.jpg") / "x.jpg", tmp_path / "out")
    with pytest.raises(OptionError, match="the folder for cut-outs must be another one"):
        plan_batch(tmp_path, tmp_path)


def test_a_cut_out_that_cannot_be_read_back_keeps_its_picture(tmp_path, monkeypatch):
    source = fill(tmp_path, "x.jpg") / "x.jpg"
    from maskwright import batch

    class Other:
        size_hw = (1, 1)

    monkeypatch.setattr(batch, "load_image", lambda *_, **__: Other)
    report = run_batch([Job(source, tmp_path / "out" / "x.png")], cut, delete_input=True)
    assert source.exists()
    assert "kept the input" in report.failed[source]


def test_progress_is_told_of_every_job(tmp_path):
    source = fill(tmp_path / "in", "x.jpg", "y.jpg")
    done = []
    run_batch(plan_batch(source, tmp_path / "out"), cut, progress=done.append)
    assert [job.source.name for job in done] == ["x.jpg", "y.jpg"]


def test_a_watch_waits_until_a_file_has_settled(tmp_path):
    source = fill(tmp_path / "in", "x.jpg")
    rounds = []

    def plan():
        rounds.append(len(rounds))
        if len(rounds) == 2:  # still arriving when it is looked at for the second time
            (source / "x.jpg").write_bytes((source / "x.jpg").read_bytes() + b"more")
        if len(rounds) == 5:
            (source / "stop.txt").touch()
        return plan_batch(source, tmp_path / "out")

    reports = watch_batch(plan, lambda jobs: run_batch(jobs, cut), source, interval=0.001)
    seen = [(rounds[-1], [Path(path).name for path in report.written]) for report in reports]
    assert seen == [(2, ["x.png"])]
    assert not (source / "stop.txt").exists()
