import os
import subprocess
import sys
import tempfile
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from PIL import Image

from maskwright.batch import LocalPlace, RemotePlace, Stamp, open_place
from maskwright.errors import MediaError, OptionError


class Unsafe(LocalFileSystem):
    """A disk behind an address, whose files can be half written."""

    protocol = "unsafe"


@pytest.fixture(params=["local", "memory", "unsafe"])
def place(request, tmp_path):
    if request.param == "local":
        yield open_place(f"file://{tmp_path}/there")
        return
    if request.param == "unsafe":
        fsspec.register_implementation("unsafe", Unsafe, clobber=True)
        (tmp_path / "there").mkdir()
        yield open_place(f"unsafe://{tmp_path}/there")
        return
    yield open_place("memory://there/below/")
    fsspec.filesystem("memory").rm("/there", recursive=True)


def test_what_is_written_is_found(place):
    place.write("a/b/x.png", b"first")
    place.write("a/b/x.png", b"second")
    place.write("y.jpg", b"")
    place.append(".maskwright/journal/1.jsonl", b"a")
    place.append(".maskwright/journal/1.jsonl", b"b")
    assert place.absence() is None
    assert place.read("a/b/x.png") == b"second"
    assert place.read(".maskwright/journal/1.jsonl") == b"ab"
    found = dict(place.walk(lambda folder, reason: pytest.fail(folder)))
    assert sorted(found) == ["a/b/x.png", "y.jpg"]
    assert found["a/b/x.png"] == place.stamp("a/b/x.png")
    assert found["a/b/x.png"].size == 6
    assert place.names(".maskwright/journal") == [".maskwright/journal/1.jsonl"]
    assert place.names("nowhere") == []
    assert place.names(".maskwright/tmp") == []
    assert place.stamp("a") is None
    place.delete("y.jpg")
    assert place.stamp("y.jpg") is None
    with pytest.raises(MediaError, match=r"y\.jpg must be an existing file, got nothing any more"):
        place.read("y.jpg")


def test_another_file_has_another_stamp(place):
    place.write("x", b"one")
    before = place.stamp("x")
    assert place.stamp("x") == before
    place.write("x", b"two")
    assert place.stamp("x") != before


def test_what_cannot_be_written_is_told(place):
    place.write("file", b"")
    if place.title.startswith("memory"):
        pytest.skip("a store in memory takes any name")
    with pytest.raises(MediaError, match="x cannot be written"):
        place.write("file/x", b"")


def test_addresses_that_cannot_be_opened():
    with pytest.raises(OptionError, match=r"nosuch://x cannot be opened .*; check the address"):
        RemotePlace("nosuch://x")
    assert open_place("memory://nothing/here").absence() == "nothing below it"


def test_without_fsspec_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(OptionError, match=r"s3://bucket/x needs fsspec.*maskwright\[remote\]"):
        open_place("s3://bucket/x")


def test_one_run_at_a_time_holds_a_folder(tmp_path):
    place = LocalPlace(tmp_path / "out")
    for _ in range(2):
        with place.held(), pytest.raises(MediaError, match=r"another run writes to .*; wait until it is done"):
            place.held().__enter__()


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    place = LocalPlace(tmp_path)
    place.write(".maskwright/tmp/.maskwright-12.tmp", b"half")
    with place.held():
        assert place.names(".maskwright/tmp") == []


def test_a_folder_without_write_permission_is_told():
    """In a process of its own: root may write everywhere, so another user is taken."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        code = (
            "import os, sys\n"
            "from maskwright.batch import LocalPlace\n"
            "import maskwright.models.notes, filelock, pathlib\n"
            "if os.getuid() == 0: os.setuid(65534)\n"
            "try:\n"
            "    with LocalPlace(pathlib.Path(sys.argv[1])).held(): print('held')\n"
            "except Exception as error: print(error)\n"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        said = subprocess.run(
            [sys.executable, "-c", code, name], env=environment, capture_output=True, text=True, check=False
        )
        assert f"{name} cannot be written (Permission denied); choose a folder" in said.stdout, said
        Path(name).chmod(0o755)


def test_a_file_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    place = LocalPlace(tmp_path)
    place.write("x", b"")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(MediaError, match=r"x cannot be read \(Permission denied\)"):
        place.read("x")


def test_a_batch_from_store_to_store(tmp_path, cut_all, fill):
    """What comes out of stores is what comes out of folders."""
    fill(tmp_path / "in", "a/x.jpg", "y.png")
    cut_all()
    memory = fsspec.filesystem("memory")
    memory.put(f"{tmp_path}/in/", "/photos/", recursive=True)
    try:
        report = cut_all("memory://photos", "memory://cutouts")
        assert (report.written, report.failed) == (2, {})
        for name in ("a/x.png", "y.png"):
            assert memory.cat_file(f"/cutouts/{name}") == (tmp_path / "out" / name).read_bytes()
        assert cut_all("memory://photos", "memory://cutouts").skipped == 2
        memory.pipe_file("/photos/a/x.jpg", (tmp_path / "in" / "y.png").read_bytes())
        report = cut_all("memory://photos", "memory://cutouts", delete_input=True)
        assert (report.written, report.skipped, report.deleted) == (1, 1, 2)
        assert memory.find("/photos") == []
    finally:
        memory.rm("/", recursive=True)


def test_stamps_are_size_and_a_mark(tmp_path):
    Image.new("L", (1, 1)).save(tmp_path / "x.png")
    stamp = LocalPlace(tmp_path).stamp("x.png")
    assert isinstance(stamp, Stamp)
    assert stamp.size == (tmp_path / "x.png").stat().st_size
