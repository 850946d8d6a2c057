import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.batch import Choices, name_targets
from maskwright.errors import MediaError, OptionError


@pytest.mark.parametrize(
    ("names", "flat", "targets"),
    [
        (["x.jpg"], False, ["x.png"]),
        (["a/x.jpg", "b/x.jpg"], False, ["a/x.png", "b/x.png"]),
        (["x.jpg", "x.webp"], False, ["x.jpg.png", "x.webp.png"]),
        (["a/x.jpg", "b/x.webp"], True, ["x.jpg.png", "x.webp.png"]),
        (["a/x.jpg", "b/x.jpg"], True, ["a_x.jpg.png", "b_x.jpg.png"]),
        (["notes.txt", "x.JPG"], False, ["x.png"]),
    ],
)
def test_which_picture_becomes_which_file(tmp_path, fill, open_batch, names, flat, targets):
    fill(tmp_path / "in", *names)
    with open_batch(choices=Choices(flat=flat)) as batch:
        assert sorted(job.target for job in batch.plan().jobs) == targets


NAMES = st.builds(
    "{}{}.{}".format,
    st.sampled_from(["", "a/", "A/", "a_b/", "a/b/", "x.png/"]),
    st.sampled_from(["x", "X", "b_x", "a_x", "x.jpg", "\u00e9", "e\u0301", "ss", "\u00df"]),
    st.sampled_from(["jpg", "png", "JPG"]),
)


@given(st.sets(NAMES, min_size=1, max_size=30), st.booleans())
def test_no_two_pictures_share_a_file_even_where_neither_case_nor_normal_form_counts(names, flat):
    targets = name_targets(names, suffix=".png", flat=flat)
    assert targets.keys() == names
    compared = {unicodedata.normalize("NFD", target).casefold() for target in targets.values()}
    assert len(compared) == len(names)
    assert not any(one.startswith(f"{other}/") for one in compared for other in compared)  # no file where a folder is


def test_a_folder_may_be_called_as_a_cut_out_is(tmp_path, fill, cut_all):
    fill(tmp_path / "in", "x.jpg")
    assert cut_all().written == 1
    fill(tmp_path / "in", "x.png/y.jpg")  # later: x.png is a file among the cut-outs
    assert cut_all().written == 1
    assert sorted(path.suffix for path in (tmp_path / "out").glob("x*")) == [".png", ".png"]


def test_cut_outs_inside_the_folder_are_not_cut_again(tmp_path, fill, open_batch):
    fill(tmp_path, "x.jpg", "out/x.png")
    with open_batch(tmp_path, tmp_path / "out", choices=Choices(overwrite=True)) as batch:
        assert [job.source for job in batch.plan().jobs] == ["x.jpg"]


def test_cut_outs_may_go_into_a_folder_round_the_pictures(tmp_path, fill, cut_all):
    fill(tmp_path / "in", "x.jpg")
    assert cut_all(tmp_path / "in", tmp_path).written == 1
    assert (tmp_path / "x.png").is_file()


def test_a_name_given_once_stays_and_is_not_given_again(tmp_path, fill, cut_all):
    """A picture that arrives later must not take the name of one that is gone: its cut-out would be lost."""
    fill(tmp_path / "in", "x.jpg")
    cut_all()
    first = (tmp_path / "out" / "x.png").read_bytes()
    (tmp_path / "in" / "x.jpg").unlink()
    fill(tmp_path / "in", "y.jpg", "x.webp")
    cut_all()
    assert (tmp_path / "out" / "x.png").read_bytes() == first
    assert (tmp_path / "out" / "x.webp.png").is_file()


def test_folders_are_checked(tmp_path, fill, open_batch):
    with pytest.raises(MediaError, match="must be a folder, got no such folder"):
        open_batch(tmp_path / "nowhere")
    with pytest.raises(MediaError, match="must be a folder, got a file"):
        open_batch(fill(tmp_path / "in", "x.jpg") / "x.jpg")
    with pytest.raises(OptionError, match="the folder for cut-outs must be another one"):
        open_batch(tmp_path, tmp_path)


def test_what_is_not_this_folders_is_not_replaced(tmp_path, fill, cut_all):
    fill(tmp_path / "in", "x.jpg", "y.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.png").write_bytes(b"somebody else's")
    report = cut_all()
    assert (report.written, list(report.failed)) == (1, ["x.jpg"])
    assert "x.png is there, and the journal does not know it" in report.failed["x.jpg"]
    assert (tmp_path / "out" / "x.png").read_bytes() == b"somebody else's"
    fill(tmp_path / "other", "y.jpg")  # another picture
    report = cut_all(tmp_path / "other")
    assert list(report.failed) == ["y.jpg"]
    assert f"y.png was cut from a picture of {(tmp_path / 'in').as_posix()}" in report.failed["y.jpg"]
    assert cut_all(choices=Choices(overwrite=True)).written == 1  # x; y is its own


def test_a_folder_that_was_moved_is_known_by_its_pictures(tmp_path, fill, cut_all):
    fill(tmp_path / "in", "x.jpg", "y.jpg")
    cut_all()
    (tmp_path / "in").rename(tmp_path / "moved")
    report = cut_all(tmp_path / "moved")
    assert (report.written, report.skipped, report.failed) == (0, 2, {})


def test_time_alone_is_no_change_and_a_hidden_one_is_found_by_content(tmp_path, fill, cut_all):
    picture = fill(tmp_path / "in", "x.jpg") / "x.jpg"
    cut_all()
    os.utime(picture, ns=(1, 1))
    assert cut_all().skipped == 1
    data = bytearray(picture.read_bytes())
    data[-1] ^= 1  # the last byte of IEND's checksum: the size stays
    picture.write_bytes(data)
    os.utime(picture, ns=(1, 1))
    assert cut_all().skipped == 1
    assert cut_all(choices=Choices(rehash=True)).skipped == 0


def test_a_folder_that_cannot_be_read_is_told(tmp_path, fill, cut_all, monkeypatch):
    fill(tmp_path / "in", "x.jpg", "closed/y.jpg")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read everything, so a mode would not do
    report = cut_all()
    assert (report.written, report.failed) == (1, {str(tmp_path / "in" / "closed"): "Permission denied"})
