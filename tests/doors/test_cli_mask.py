"""The `mask` command, in process."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.cli import main
from maskwright.refine import rle_to_mask


@pytest.fixture
def run(capsysbinary, monkeypatch, tmp_path):
    """A command's exit code, stdout and stderr; a.png and b.png lie in the folder it runs in."""
    monkeypatch.chdir(tmp_path)
    a, b = np.zeros((2, 20, 30), np.uint8)
    a[4:14, 5:15] = 255
    a[5, 6] = 100
    b[8:18, 10:25] = 128
    Image.fromarray(a).save("a.png")
    Image.fromarray(b).save("b.png")

    def call(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as leaving:
            main(["mask", *map(str, arguments)])
        out, err = capsysbinary.readouterr()
        return leaving.value.code or 0, out, err.decode()

    return call


def open_file(path):
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


A, B = (lambda: open_file("a.png")), (lambda: open_file("b.png"))


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--union", lambda a, b: np.maximum(a, b)),
        ("--intersect", lambda a, b: np.minimum(a, b)),
        ("--subtract", lambda a, b: np.maximum(a - b, 0)),
        ("--xor", lambda a, b: np.abs(a - b)),
    ],
)
def test_masks_are_combined_and_stay_soft(run, flag, expected):
    assert run("a.png", "out.png", flag, "b.png")[0] == 0
    assert np.array_equal(open_file("out.png"), expected(A(), B()))


def test_combinations_come_in_the_order_that_is_documented(run):
    assert run("a.png", "out.png", "--subtract", "b.png", "--union", "b.png", "--union", "b.png")[0] == 0
    assert np.array_equal(open_file("out.png"), np.maximum(A(), B()) - B())
    assert run("a.png", "out.png", "--intersect", "b.png", "--invert")[0] == 0
    assert np.array_equal(open_file("out.png"), 255 - np.minimum(A(), B()))


def test_no_mask_that_is_read_is_written_over(run):
    before = Path("b.png").read_bytes()
    code, _, err = run("a.png", Path.cwd() / "b.png", "--union", "b.png")
    assert (code, Path("b.png").read_bytes()) == (2, before)
    assert "OUTPUT must be another file than INPUT and the others named" in err


def test_the_limit_of_pixels_holds_for_every_mask(run):
    assert run("a.png", "out.png", "--max-pixels", 600, "--union", "b.png")[0] == 0
    Image.new("L", (30, 21)).save("large.png")
    for masks in (["large.png", "out2.png"], ["a.png", "out2.png", "--union", "large.png"]):
        code, _, err = run(*masks, "--max-pixels", 600)
        assert code == 2
        assert "the size of large.png must be at most 600 pixels, got 30 x 21 = 630" in err
    assert not Path("out2.png").exists()


def test_masks_of_other_sizes_are_refused(run):
    Image.new("L", (3, 4)).save("small.png")
    code, _, err = run("a.png", "out.png", "--union", "small.png")
    assert code == 2
    assert "the second mask size must be that of the first mask, (20, 30), got (4, 3)" in err


@pytest.mark.parametrize(
    ("flags", "check"),
    [
        (["--grow", "2"], lambda a: a[3, 10] == 255 and a[1, 10] == 0),
        (["--shrink", "2"], lambda a: a[5, 10] == 0 and a[6, 10] == 255),
        (["--grow", "3", "--shrink", "1"], lambda a: a[2, 10] == 255 and a[1, 10] == 0),
        (["--feather", "2"], lambda a: 0 < a[3, 10] < 128 <= a[4, 10] < 255),
        (["--feather", "2", "--feather-side", "inside"], lambda a: a[3, 10] == 0 and 0 < a[4, 10] < 255),
        (["--feather", "2", "--feather-side", "outside"], lambda a: 0 < a[3, 10] < 255 and a[4, 10] == 255),
        (["--threshold", "0.3"], lambda a: a[5, 6] == 255),
        (["--fill-holes", "1"], lambda a: a[5, 6] == 255),
        (["--min-area", "200"], lambda a: not a.any()),
        (["--keep-largest"], lambda a: a[5, 10] == 255),
        (["--smooth", "1"], lambda a: a[5, 6] == 255),
        (["-ppm"], lambda a: set(np.unique(a)) == {0, 255}),
        (["--crop"], lambda a: a.shape == (10, 10)),
        (["--crop", "--crop-padding", "2", "--crop-aspect", "2:1"], lambda a: a.shape == (14, 28)),
    ],
)
def test_options(run, flags, check):
    assert run("a.png", "out.png", *flags)[0] == 0
    assert check(open_file("out.png"))


def test_json_says_what_came_out(run):
    code, out, _ = run("a.png", "out.png", "--threshold", "0.5", "--json")
    assert code == 0
    assert json.loads(out) == {
        "input": "a.png",
        "output": "out.png",
        "height": 20,
        "width": 30,
        "coverage": round(99 / 600, 6),
        "bbox": [5, 4, 15, 14],
        "crop_region": None,
    }
    code, out, err = run("a.png", "-", "--crop", "--json")
    assert out.startswith(b"\x89PNG")
    assert json.loads(err)["crop_region"] == [5, 4, 15, 14]
    assert json.loads(err)["bbox"] == [0, 0, 10, 10]


def test_an_empty_mask_is_not_cropped(run):
    Image.new("L", (7, 5)).save("empty.png")
    code, out, err = run("empty.png", "out.png", "--crop", "--json")
    assert code == 0
    assert "nothing is selected" in err
    assert json.loads(out)["bbox"] is None
    assert open_file("out.png").shape == (5, 7)


def test_a_coco_annotation(run):
    assert run("a.png", "out.json")[0] == 0
    record = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert record["area"] == 99
    assert record["bbox"] == [5, 4, 10, 10]
    assert np.array_equal(rle_to_mask(record["segmentation"]), A() >= 128)
    assert run("a.png", "coco.txt", "--format", "coco")[0] == 0
    assert json.loads(Path("coco.txt").read_text(encoding="utf-8")) == record


def test_run_lengths_and_polygons(run):
    code, out, _ = run("a.png", "-", "--format", "rle")
    assert code == 0
    assert np.array_equal(rle_to_mask(json.loads(out)), A() >= 128)
    assert run("a.png", "out.json", "--format", "polygon", "--tolerance", "0")[0] == 0
    (polygon,) = json.loads(Path("out.json").read_text(encoding="utf-8"))["polygons"]
    assert polygon["outer"] == [[5, 4], [15, 4], [15, 14], [5, 14]]
    assert sorted(polygon["holes"][0]) == [[6, 5], [6, 6], [7, 5], [7, 6]]


def test_pictures_of_other_formats_and_pipes(run):
    code, out, _ = run("-", "-", "--format", "webp", stdin=Path("a.png").read_bytes())
    assert code == 0
    assert out[8:12] == b"WEBP"
    code, _, err = run("a.png", "out.docx")
    assert code == 2
    assert "docx" in err


def test_options_of_colours_are_not_options_of_masks(run):
    code, _, err = run("a.png", "out.png", "--outline", "3")
    assert code == 2
    assert "No such option" in err
