"""Zips of strangers."""

import io
import struct
import zipfile

import pytest

from maskwright.errors import MediaError
from maskwright.server.answers import Refused
from maskwright.server.archives import is_film, is_zip, list_pictures, read_entry, result_names, safe_name


def make_zip(entries, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def listed(data, max_files=10, max_bytes=10_000):
    return list_pictures(io.BytesIO(data), max_files=max_files, max_bytes=max_bytes)


@pytest.mark.parametrize(
    "name", ["../a.png", "/etc/passwd", "a/../../b", "C:/a.png", "a\\..\\b", "a\nb", "", "a//b", "./a", "x" * 201]
)
def test_names_that_lead_elsewhere(name):
    with pytest.raises(Refused, match="a name in the zip must be one below its folder"):
        safe_name(name)


def test_entries_are_read_one_by_one():
    archive, entries = listed(
        make_zip(
            [("a/1.png", b"one"), ("a/", b""), ("__MACOSX/a/._1.png", b"x"), (".DS_Store", b"x"), ("2.jpg", b"two")]
        )
    )
    assert [info.filename for info in entries] == ["a/1.png", "2.jpg"]
    assert [read_entry(archive, info) for info in entries] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (make_zip([(f"{number}.png", b"x") for number in range(11)]), "at most 10 pictures, got 11"),
        (make_zip([("a.png", bytes(10_001))]), "at most 0.01 MB unpacked"),
        (make_zip([("../a.png", b"x")]), "a name in the zip"),
        (make_zip([]), "holds no pictures"),
        (b"PK\x03\x04", "its end is missing"),
        (make_zip([("a.png", b"x")])[:-30], "its end is missing"),
        (b"PK\x05\x06" + bytes(18), "holds no pictures"),
        (b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 1, 1, 46, 9999, 0), "cannot be read"),
        (b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 1, 1, 1 << 30, 0, 0), "at most 10 pictures"),
        (b"PK\x06\x07" + bytes(16) + b"PK\x05\x06" + bytes(18), "very many or very large"),
    ],
)
def test_what_is_refused(data, said):
    with pytest.raises(Refused, match=said.replace(".", r"\.")):
        listed(data)


def test_encrypted():
    data = bytearray(make_zip([("a.png", b"x")]))
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(Refused, match="the zip is encrypted"):
        listed(bytes(data))


def test_an_entry_that_holds_more_than_it_states():
    data = bytearray(make_zip([("a.png", bytes(5000))]))
    place = data.rfind(b"PK\x01\x02") + 24
    data[place : place + 4] = struct.pack("<L", 9)
    archive, entries = listed(bytes(data))
    with pytest.raises(MediaError, match="the zip is damaged here"):
        read_entry(archive, entries[0])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_entries(method):
    """Whatever is changed in it: an error of ours, or the bytes that were put in."""
    good = make_zip([("a.png", bytes(range(200)))], method)
    start = 30 + len("a.png")
    for place in range(start, len(good), 7):
        data = bytearray(good)
        data[place] ^= 0x55
        try:
            archive, entries = listed(bytes(data))
            assert all(read_entry(archive, info) == bytes(range(200)) for info in entries)
        except (Refused, MediaError):
            pass


def test_names_of_results():
    names = ["a.jpg", "a.png", "A.gif", "b/a.jpg", "noending", "x.tar.gz"]
    assert result_names(names, "webp") == ["a.webp", "a-2.webp", "A-3.webp", "b/a.webp", "noending.webp", "x.tar.webp"]


def test_what_a_file_is():
    assert is_zip(make_zip([]))
    assert is_zip(make_zip([("a", b"")]))
    for head in (b"\0\0\0\x20ftypisom....", b"\x1aE\xdf\xa3....", b"OggS............", b"RIFF....AVI ...."):
        assert is_film(head)
        assert not is_zip(head)
    for head in (b"\0\0\0\x20ftypavif....", b"\0\0\0\x20ftypheic....", b"\x89PNG", b"RIFF....WEBP....", b""):
        assert not is_film(head)
