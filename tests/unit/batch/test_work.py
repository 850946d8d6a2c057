import json

import pytest
from PIL import Image

from maskwright.batch import Choices, Settings, work
from maskwright.cutout_options import CutoutOptions
from maskwright.errors import MediaError, OptionError
from maskwright.pipeline import cutout
from maskwright.segmenters import open_segmenter


@pytest.mark.parametrize(
    ("format_", "options"),
    [
        ("png", {}),
        ("webp", {"alpha_matting": True}),
        ("png", {"only_mask": True, "threshold": 0.5}),
        ("jpeg", {"bgcolor": (1, 2, 3, 255)}),
        ("png", {"crop": True, "depth": 16, "background": "blur:2"}),
    ],
)
def test_the_bytes_are_those_of_one_cut_out(tmp_path, samples, engine, cut_all, format_, options):
    options = CutoutOptions(**options)
    for name in ("astronaut.jpg", "cat.jpg"):
        (tmp_path / "in").mkdir(exist_ok=True)
        with Image.open(samples / name) as photo:
            photo.resize((90, 70)).save(tmp_path / "in" / name)
    assert cut_all(options=options, format=format_).written == 2
    for name in ("astronaut.jpg", "cat.jpg"):
        segmenter = open_segmenter("u2netp", engine=engine)
        alone = cutout(tmp_path / "in" / name, model=segmenter, options=options).to_bytes(format_)
        assert (tmp_path / "out" / name).with_suffix(f".{format_}").read_bytes() == alone


def test_a_manifest_says_what_a_cut_out_is_made_of(tmp_path, fill, cut_all):
    fill(tmp_path / "in", "x.jpg")
    cut_all(manifest=True)
    data = (tmp_path / "out" / "x.png").read_bytes()
    said = json.loads((tmp_path / "out" / "x.png.json").read_bytes())
    assert said["sha256"] == work.digest(data)
    assert said["source_sha256"] == work.digest((tmp_path / "in" / "x.jpg").read_bytes())
    assert (said["height"], said["width"], said["made_by"]["model"]) == (5, 6, "u2netp")


def test_other_options_other_weights_other_recipe(tmp_path):
    options = [{}, {"feather": 2}, {"background": "red"}]
    hashes = {json.dumps(Settings(CutoutOptions(**one)).describe()) for one in options}
    hashes |= {json.dumps(Settings(CutoutOptions(), **one).describe()) for one in ({"manifest": True}, {"quality": 3})}
    assert len(hashes) == 5


def test_settings_that_cannot_be(open_batch):
    with pytest.raises(OptionError, match="format must be one of png"):
        Settings(CutoutOptions(), "pnk")
    with pytest.raises(OptionError, match="--format jpeg must be a background, got none"):
        Settings(CutoutOptions(), "jpeg")


def test_a_picture_is_deleted_when_its_own_cut_out_is_safe(tmp_path, fill, cut_all):
    source = fill(tmp_path / "in", "x.jpg", "y.jpg", "z.jpg", "bad.jpg")
    (source / "bad.jpg").write_bytes(b"no picture")
    cut_all(format="webp")  # an earlier run without -d
    (source / "z.jpg").write_bytes((source / "y.jpg").read_bytes())  # and z changed since
    (tmp_path / "out" / "y.webp").write_bytes(b"?" * (tmp_path / "out" / "y.webp").stat().st_size)
    report = cut_all(format="webp", delete_input=True)
    assert sorted(path.name for path in source.iterdir()) == ["bad.jpg", "y.jpg"]
    assert (report.deleted, report.written, sorted(report.failed)) == (2, 1, ["bad.jpg", "y.jpg"])
    assert "y.webp is not what was written there" in report.failed["y.jpg"]


def test_a_source_of_several_pictures_is_never_deleted(tmp_path, cut_all):
    frames = [Image.new("RGB", (6, 5), (value, value, value)) for value in (0, 200)]
    (tmp_path / "in").mkdir()
    frames[0].save(tmp_path / "in" / "film.gif", save_all=True, append_images=frames[1:])
    for _ in range(2):  # the second time the journal knows it
        report = cut_all(delete_input=True)
        assert (tmp_path / "in" / "film.gif").exists()
        assert "it holds 2 pictures and one was cut" in report.failed["film.gif"]
    assert (tmp_path / "out" / "film.png").is_file()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda place, name: place.write(name, b"other"), "is not what was written there"),
        (lambda place, name: place.delete(name), "must be an existing file"),
    ],
)
def test_a_cut_out_that_cannot_be_read_back_keeps_its_picture(tmp_path, fill, open_batch, monkeypatch, spoil, reason):
    fill(tmp_path / "in", "x.jpg")
    with open_batch(delete_input=True) as batch:
        confirm = work.Writer.confirm
        monkeypatch.setattr(work.Writer, "confirm", lambda *a: (confirm(*a), spoil(batch.target, "x.png")))
        report = batch.run(batch.plan())
    assert (tmp_path / "in" / "x.jpg").exists()
    assert reason in report.failed["x.jpg"]


def test_a_picture_that_changes_while_it_is_cut_is_kept(tmp_path, fill, open_batch, monkeypatch):
    picture = fill(tmp_path / "in", "x.jpg") / "x.jpg"
    real = work.make_cutout
    monkeypatch.setattr(work, "make_cutout", lambda *a, **k: (picture.write_bytes(b"longer" * 99), real(*a, **k))[1])
    with open_batch(delete_input=True) as batch:
        report = batch.run(batch.plan())
    assert picture.exists()
    assert report.failed == {"x.jpg": "the picture was kept: it was changed meanwhile"}


def test_a_picture_that_vanishes_is_told(tmp_path, fill, open_batch):
    source = fill(tmp_path / "in", "x.jpg", "y.jpg")
    with open_batch() as batch:
        plan = batch.plan()
        (source / "x.jpg").unlink()
        report = batch.run(plan)
        assert report.written == 1
        assert "x.jpg must be an existing file, got nothing any more" in report.failed["x.jpg"]


def test_another_folders_picture_of_the_same_size_is_told_apart_by_its_content(tmp_path, fill, cut_all, open_batch):
    fill(tmp_path / "in", "x.jpg")
    cut_all()
    with open_batch(fill(tmp_path / "other", "a.jpg", "x.jpg")) as batch:
        [job] = [job for job in batch.plan().jobs if job.source == "x.jpg"]
        with pytest.raises(MediaError, match="was cut from a picture of"):
            batch._worker.read(job)
    assert cut_all(tmp_path / "other", choices=Choices(overwrite=True)).written == 2
