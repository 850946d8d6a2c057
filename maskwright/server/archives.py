"""Zip files of strangers: how many pictures they may hold, how large, under which names."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import MediaError
from .answers import Refused

__all__ = ["is_film", "is_zip", "list_pictures", "read_entry", "result_names", "safe_name"]

_LONGEST = 200  # characters of a name
_DIRECTORY_BYTES = 1024  # of an entry in a zip's directory, its name and what else it says included
_END = b"PK\x05\x06"
_END_BYTES = 22 + 65535  # the directory's end record, and the longest comment after it
_NO_PICTURES = (".ds_store", "thumbs.db", "desktop.ini")
_STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def is_zip(head: bytes) -> bool:
    """Whether a file that begins like this is a zip."""
    return head.startswith((b"PK\x03\x04", _END))


def is_film(head: bytes) -> bool:
    """Whether a file that begins like this is a film: MP4, MOV, Matroska, WebM, Ogg or AVI."""
    if head[4:8] == b"ftyp":
        return head[8:12] not in _STILL_BRANDS
    return head.startswith((b"\x1aE\xdf\xa3", b"OggS")) or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")


def safe_name(name: str) -> str:
    r"""The name with `/` between its parts, if it names something below a folder.

    >>> safe_name("shoes\\red.jpg")
    'shoes/red.jpg'

    Raises:
        Refused: It leads elsewhere, is too long, or holds characters that no name should.
    """
    name = name.replace("\\", "/")
    parts = name.split("/")
    wrong = not name.isprintable() or len(name) > _LONGEST or ":" in name or {"", ".", ".."} & set(parts)
    if wrong:
        raise Refused(
            422,
            "a name in the zip",
            expected=f"one below its folder, of at most {_LONGEST} characters",
            got=ascii(name[:80]),
            hint="zip the folder again",
        )
    return name


def list_pictures(file: IO[bytes], *, max_files: int, max_bytes: int) -> tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]:
    """The opened zip, and its entries that may be pictures. Nothing is unpacked.

    Args:
        file: The zip.
        max_files: How many there may be.
        max_bytes: How many bytes they may state to have unpacked, together.

    Raises:
        Refused: More, or larger; a name that leads elsewhere; encrypted; no zip; nothing in it.
    """
    _check_directory(file, max_files)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise _broken(str(error)) from error
    entries = [info for info in archive.infolist() if not _is_passed_over(info)]
    for info in entries:
        safe_name(info.filename)
        if info.flag_bits & 1:
            raise Refused(422, "the zip is encrypted", hint="send it without a password")
    unpacked = sum(info.file_size for info in entries)
    if len(entries) > max_files:
        raise too_many(max_files, len(entries))
    if unpacked > max_bytes:
        raise _too_large(max_bytes)
    if not entries:
        raise Refused(422, "the zip holds no pictures", hint="put pictures into it")
    return archive, entries


def too_many(max_files: int, count: int) -> Refused:
    """The error for more pictures than a job may have."""
    return Refused(413, "a job", expected=f"at most {max_files} pictures", got=str(count), hint="send several jobs")


def _too_large(max_bytes: int) -> Refused:
    return Refused(
        413, "the zip", expected=f"at most {max_bytes / 1e6:g} MB unpacked", got="more", hint="send several jobs"
    )


def _broken(reason: str) -> Refused:
    return Refused(400, f"the zip cannot be read ({reason[:120]})", hint="zip it again")


def _check_directory(file: IO[bytes], max_files: int) -> None:
    """The directory is read whole when a zip is opened: see that it is not large before that.

    Raises:
        Refused: It is, or the zip is none, or of the kind for more than 65 535 entries.
    """
    size = file.seek(0, 2)
    start = max(0, size - _END_BYTES)
    file.seek(start)
    tail = file.read()
    file.seek(0)
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        raise _broken("its end is missing")
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    count = int.from_bytes(tail[at + 10 : at + 12], "little")
    if tail[max(0, at - 20) : at].startswith(b"PK\x06\x07"):
        raise Refused(422, "the zip is of the kind for very many or very large files", hint="send several jobs")
    if directory > _DIRECTORY_BYTES * (max_files + 100):
        raise too_many(max_files, count)


def _is_passed_over(info: zipfile.ZipInfo) -> bool:
    """Whether it is no picture of the caller's: a folder, or what systems leave behind."""
    name = PurePosixPath(info.filename.replace("\\", "/"))
    return info.is_dir() or "__MACOSX" in name.parts or name.name.startswith("._") or name.name.lower() in _NO_PICTURES


def read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """What an entry holds; not a byte more than it states.

    Raises:
        MediaError: It is damaged, holds more than it states, or is packed in a way that is not known here.
    """
    try:
        with archive.open(info) as file:
            data = file.read(info.file_size + 1)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError, LookupError) as error:
        raise _damaged(str(error) or type(error).__name__) from error
    except _unpacking_errors() as error:
        raise _damaged(str(error)) from error
    if len(data) != info.file_size:
        raise _damaged("it is not of the size it states")
    return data


def _damaged(reason: str) -> MediaError:
    return MediaError(f"the zip is damaged here ({reason[:120]})", hint="zip it again")


def _unpacking_errors() -> tuple[type[Exception], ...]:
    import lzma
    import zlib

    return zlib.error, lzma.LZMAError


def result_names(names: Iterable[str], suffix: str) -> list[str]:
    """A name for each result: the source's with another ending; where two would be the same, numbered.

    >>> result_names(["a.jpg", "a.png", "b/a.jpg"], "png")
    ['a.png', 'a-2.png', 'b/a.png']
    """
    taken: set[str] = set()
    chosen = []
    for name in names:
        stem = str(Path(name).with_suffix("")) if PurePosixPath(name).suffix else name
        stem = stem.replace("\\", "/")
        candidate, number = stem, 1
        while f"{candidate}.{suffix}".lower() in taken:
            number += 1
            candidate = f"{stem}-{number}"
        taken.add(f"{candidate}.{suffix}".lower())
        chosen.append(f"{candidate}.{suffix}")
    return chosen
