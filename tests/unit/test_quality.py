import json
import math

import numpy as np
import pytest
from PIL import Image

from maskwright import metrics
from maskwright.engines import FakeEngine
from maskwright.errors import MediaError, OptionError
from maskwright.imageio import load_mask
from maskwright.pipeline import CutoutOptions, cutout
from maskwright.quality import (
    MEASURES,
    Contestant,
    find_pairs,
    make_table,
    measure_quality,
    read_refinement,
    write_report,
)
from maskwright.segmenters import open_segmenter


def contestant(text="none", model="bright", engine=None):
    options = read_refinement(text)
    segmenter = open_segmenter("u2netp", engine=engine or FakeEngine(), compat=options.compat)
    return Contestant(model, text, segmenter, options)


def put(path, size=(40, 30), mode="RGB", box=(10, 5, 30, 25)):
    """A bright box on black; as a mask, the box."""
    image = Image.new(mode, size)
    image.paste("white" if mode != "I;16" else 65535, box)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def put_pair(folder, name, group=".", **truth):
    put(folder / group / "image" / f"{name}.png")
    put(folder / group / "gt" / f"{name}.png", **{"mode": "L", **truth})


def names(found):
    return [(pair.name, pair.group, pair.truth.name) for pair in found.pairs]


class TestFindPairs:
    @pytest.mark.parametrize(
        ("image", "truth", "group"),
        [
            ("image/x.jpg", "gt/x.png", "here"),
            ("im/x.jpg", "gt/x.png", "here"),
            ("images/x.JPG", "masks/X.png", "here"),
            ("DIS-VD/im/x.jpg", "DIS-VD/gt/x.png", "DIS-VD"),
            ("a/b/Image/x.webp", "a/b/GT/x.bmp", "a/b"),
            ("image/dog/x.jpg", "gt/dog/x.png", "dog"),
            ("x.jpg", "x_mask.png", "here"),
            ("x.png", "x_gt.png", "here"),
            ("sub/x.jpg", "sub/x.png", "sub"),
            ("image/v1.2.jpg", "gt/v1.2.png", "here"),
        ],
    )
    def test_layouts(self, tmp_path, image, truth, group):
        folder = tmp_path / "here"
        for name in (image, truth):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"")
        found = find_pairs(folder)
        assert names(found) == [(image, group, truth.rpartition("/")[2])]
        assert found.pairs[0].truth == folder / truth
        assert found.alone == ()

    def test_many_groups_and_what_has_no_truth(self, tmp_path):
        for name in ("b/im/1.jpg", "b/im/2.jpg", "b/gt/1.png", "a/x.jpg", "a/x_mask.png", "a/y.jpg", "c/z.jpg"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"")
        found = find_pairs(tmp_path)
        assert [pair.name for pair in found.pairs] == ["a/x.jpg", "b/im/1.jpg"]
        assert found.alone == (tmp_path / "a/y.jpg", tmp_path / "b/im/2.jpg")  # c has nothing to do with it

    def test_nothing_there(self, tmp_path):
        put(tmp_path / "x.png")
        with pytest.raises(MediaError, match=r"holds no picture with ground truth; .*image\|.*gt\|.*x_mask"):
            find_pairs(tmp_path)
        with pytest.raises(MediaError, match="must be a folder, got a file"):
            find_pairs(tmp_path / "x.png")
        with pytest.raises(MediaError, match="must be a folder, got no such folder"):
            find_pairs(tmp_path / "y")


class TestReadRefinement:
    @pytest.mark.parametrize(
        ("text", "options"),
        [
            ("none", CutoutOptions()),
            ("alpha-matting", CutoutOptions(alpha_matting=True)),
            ("post_process_mask+decontaminate", CutoutOptions(post_process_mask=True, decontaminate=True)),
            ("grow=-2.5 + min-area=9", CutoutOptions(grow=-2.5, min_area=9)),
            ("threshold=0.5", CutoutOptions(threshold=0.5)),
            ("compat", CutoutOptions(compat=True)),
        ],
    )
    def test_options(self, text, options):
        assert read_refinement(text) == options

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("matting", "a refinement must be made of none, alpha-matting, .*, got 'matting'"),
            ("bgcolor=1", "a refinement must be made of"),
            ("alpha-matting+", "a refinement must be made of"),
            ("alpha-matting=1", "a refinement must be alpha-matting alone"),
            ("grow", "a refinement must be grow=NUMBER, got 'grow'"),
            ("min-area=much", "min-area=much in a refinement must be a number, got 'much'"),
            ("feather=-1", "feather must be 0 or more"),
        ],
    )
    def test_refused(self, text, message):
        with pytest.raises(OptionError, match=message):
            read_refinement(text)


class TestMeasure:
    def test_the_numbers_are_those_of_the_cut_out(self, tmp_path):
        put_pair(tmp_path, "x", box=(12, 5, 32, 25))
        plain, hard = contestant(), contestant("threshold=0.6")
        report = measure_quality(find_pairs(tmp_path).pairs, [plain, hard])
        truth = load_mask(tmp_path / "gt" / "x.png")
        assert [(each.model, each.refinement) for each in report.measured] == [
            ("bright", "none"),
            ("bright", "threshold=0.6"),
        ]
        for one, each in zip((plain, hard), report.measured, strict=True):
            alpha = cutout(tmp_path / "image" / "x.png", model=one.segmenter, options=one.options).alpha
            expected = {name: getattr(metrics, name)(alpha, truth) for name in MEASURES}
            assert each.values == expected
            assert each.seconds > 0
        assert report.measured[0].values != report.measured[1].values

    def test_a_model_runs_once_for_all_its_refinements(self, tmp_path):
        put_pair(tmp_path, "x")
        plain = contestant()
        grown = Contestant("bright", "grow=1", plain.segmenter, read_refinement("grow=1"))
        measure_quality(find_pairs(tmp_path).pairs, [plain, grown])
        assert len(plain.segmenter.engine.calls) == 1

    def test_sixteen_bits_of_truth(self, tmp_path):
        put_pair(tmp_path, "x", mode="I;16")
        put_pair(tmp_path, "y", mode="L")
        first, second = measure_quality(find_pairs(tmp_path).pairs, [contestant()]).measured
        assert first.values == second.values

    def test_a_failure_is_noted_and_the_rest_go_on(self, tmp_path):
        put_pair(tmp_path, "a", size=(41, 30))
        put_pair(tmp_path, "b")
        put_pair(tmp_path, "c")
        (tmp_path / "image" / "c.png").write_bytes(b"no picture")
        seen = []
        report = measure_quality(find_pairs(tmp_path).pairs, [contestant()], progress=seen.append)
        assert [each.name for each in report.measured] == ["image/b.png"]
        assert (
            "ground truth a.png size must be that of the picture, (30, 40), got (30, 41)"
            in report.failed["image/a.png"]
        )
        assert set(report.failed) == {"image/a.png", "image/c.png"}
        assert len(seen) == 3

    def test_a_picture_that_fails_for_one_counts_for_none(self, tmp_path):
        put_pair(tmp_path, "x")
        four_maps = FakeEngine(lambda batch: [np.zeros((1, 4, *batch.shape[2:]), np.float32)])
        clothes = open_segmenter("u2net_cloth_seg", engine=four_maps, compat=True)  # three masks on top of each other
        parts = Contestant("clothes", "compat", clothes, read_refinement("compat"))
        report = measure_quality(find_pairs(tmp_path).pairs, [contestant(), parts])
        assert report.measured == []
        assert "prediction size" in report.failed["image/x.png"]

    def test_the_worst_come_first(self, tmp_path):
        for name, left in (("good", 10), ("bad", 25), ("worse", 28), ("fair", 12)):
            put_pair(tmp_path, name, box=(left, 5, left + 20, 25))
        report = measure_quality(find_pairs(tmp_path).pairs, [contestant()], sheet=2)
        assert [name for _, name, _ in report.worst] == ["image/worse.png", "image/bad.png"]
        assert report.worst[0][0] == max(each.values["mae"] for each in report.measured)
        _, _, row = report.worst[0]
        assert row.title.startswith("image/worse.png   worst MAE 0.")
        assert len(row.cells) == 3
        assert measure_quality(find_pairs(tmp_path).pairs, [contestant()], sheet=0).worst == []


@pytest.fixture
def measured(tmp_path):
    put_pair(tmp_path / "in", "a", "one", box=(12, 5, 32, 25))
    put_pair(tmp_path / "in", "b", "two", box=(0, 0, 40, 30))  # no edge
    put_pair(tmp_path / "in", "c", "two", size=(9, 9), box=(0, 0, 9, 9))
    put(tmp_path / "in" / "two" / "image" / "d.png")
    found = find_pairs(tmp_path / "in")
    return found, measure_quality(found.pairs, [contestant(), contestant("grow=2")])


class TestReport:
    def test_the_table_holds_means(self, measured):
        _, report = measured
        header, rule, first, second = make_table(report).splitlines()
        columns = [cell.strip() for cell in header.strip("|").split("|")]
        assert columns == ["model", "refinement", "pictures", *(name for name, _ in MEASURES.values()), "seconds"]
        assert {len(line) for line in (header, rule, first, second)} == {len(header)}
        cells = [cell.strip() for cell in first.strip("|").split("|")]
        values = [each.values["mae"] for each in report.measured if each.refinement == "none"]
        assert cells[:3] == ["bright", "none", "2"]
        assert cells[columns.index("MAE")] == f"{sum(values) / 2:.4f}"

    def test_what_says_nothing_is_left_out_of_means(self, measured):
        _, report = measured
        one, two = (
            next(each for each in report.measured if each.group == group and each.refinement == "none")
            for group in ("one", "two")
        )
        assert math.isnan(two.values["boundary_error"])
        table = make_table(report, by_group=True)
        assert f" {one.values['boundary_error']:.4f} " in make_table(report)
        line = next(line for line in table.splitlines() if line.startswith("| two") and " none " in line)
        assert [cell.strip() for cell in line.split("|")].count("-") == 1

    def test_files(self, measured, tmp_path):
        found, report = measured
        data = write_report(report, tmp_path / "new" / "report", found)
        folder = tmp_path / "new" / "report"
        assert json.loads((folder / "quality.json").read_text(encoding="utf-8")) == json.loads(json.dumps(data))
        assert data["pictures"] == 2
        assert data["contact_sheets"] == ["contact-sheet-1.png"]
        assert list(data["failed"]) == ["two/image/c.png"]
        assert data["without_truth"] == [str(tmp_path / "in" / "two" / "image" / "d.png")]
        assert data["contestants"][1]["options"]["grow"] == 2
        assert data["contestants"][0]["groups"]["two"]["boundary_error"] is None
        assert data["measured"][0]["values"]["mae"] == report.measured[0].values["mae"]
        page = (folder / "quality.md").read_text(encoding="utf-8")
        assert "2 pictures measured, 1 failed, 1 without ground truth" in page
        assert make_table(report) in page
        assert make_table(report, by_group=True) in page
        assert "- two/image/c.png: ground truth c.png size must be" in page
        with Image.open(folder / "contact-sheet-1.png") as sheet:
            assert sheet.width > 4 * 240

    def test_pages(self, tmp_path):
        for number in range(11):
            put_pair(tmp_path / "in", f"{number:02}")
        found = find_pairs(tmp_path / "in")
        data = write_report(measure_quality(found.pairs, [contestant()], sheet=11), tmp_path / "out", found)
        assert data["contact_sheets"] == ["contact-sheet-1.png", "contact-sheet-2.png"]

    def test_nothing_measured(self, tmp_path):
        put_pair(tmp_path / "in", "a", size=(9, 9))
        found = find_pairs(tmp_path / "in")
        report = measure_quality(found.pairs, [contestant()])
        data = write_report(report, tmp_path / "out", found)
        assert data["contact_sheets"] == []
        assert data["contestants"][0]["means"]["mae"] is None
        assert "| bright | none       |        0 |   - |" in make_table(report)
