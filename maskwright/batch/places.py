"""Where pictures come from and cut-outs go to: a folder of this machine, or one behind an address (s3://, gs://, …).

Names in a place are relative, with `/` between folders, on every system.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any, NamedTuple, Protocol

from ..encode import write_bytes
from ..errors import MediaError, OptionError
from ..models.notes import locked

__all__ = ["OWN_FOLDER", "LocalPlace", "Place", "RemotePlace", "Stamp", "open_place"]

OWN_FOLDER = ".maskwright"  # in a folder of cut-outs: the journal, the lock, and files on their way
_SCRATCH = "tmp"
# Stores in which an object is there whole or not at all; elsewhere it is written under another name and moved.
_ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"})
_REACH = (OSError, ImportError, ValueError, RuntimeError)  # what libraries raise when an address cannot be opened


class Stamp(NamedTuple):
    """What tells without reading whether a file is another one.

    Attributes:
        size: Bytes.
        mark: Its time of change, or what a store says instead.
    """

    size: int
    mark: str


class Place(Protocol):
    """A folder, wherever it is.

    Attributes:
        title: How a user names it.
        root: The same by which two can be compared.
        exclusive: Whether `held` keeps others out.
    """

    title: str
    root: str
    exclusive: bool

    def absence(self) -> str | None:
        """What there is instead of a folder; None: it is there."""
        ...

    def walk(self, unreadable: Callable[[str, str], None]) -> Iterator[tuple[str, Stamp]]:
        """Every file below but Maskwright's own; a folder that cannot be read is told with its reason."""
        ...

    def names(self, folder: str) -> list[str]:
        """The files directly in a folder, sorted; none where there is no such folder."""
        ...

    def stamp(self, name: str) -> Stamp | None:
        """What is known of a file; None where there is none."""
        ...

    def read(self, name: str) -> bytes:
        """All of a file.

        Raises:
            MediaError: It cannot be read.
        """
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all, in a folder that is made where it is missing.

        Raises:
            MediaError: It cannot be written.
        """
        ...

    def append(self, name: str, data: bytes) -> None:
        """Put bytes behind those of a file, safe on the disk when this returns.

        Raises:
            MediaError: It cannot be written.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete a file that is there."""
        ...

    def held(self) -> contextlib.AbstractContextManager[None]:
        """A block in which no other run writes to this folder, as far as its system can say so.

        Raises:
            MediaError: Another run does, or the folder cannot be written.
        """
        ...


def open_place(text: str | os.PathLike[str]) -> Place:
    """The place that a user names.

    Args:
        text: A path, or an address such as `s3://bucket/photos`.

    Raises:
        OptionError: An address that no installed library can open.
    """
    address = str(text)
    if "://" not in address:
        return LocalPlace(Path(text))
    if address.startswith(("file://", "local://")):
        return LocalPlace(Path(address.partition("://")[2]))
    return RemotePlace(address)


class LocalPlace:
    """A folder of this machine.

    Args:
        folder: The folder; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.title = str(folder)
        self.root = folder.resolve().as_posix()
        self.exclusive = True

    def absence(self) -> str | None:
        """What there is instead of a folder; None: it is there."""
        if self._folder.is_dir():
            return None
        return "a file" if self._folder.exists() else "no such folder"

    def path(self, name: str) -> Path:
        """Where a file of this name lies."""
        return self._folder / name

    def walk(self, unreadable: Callable[[str, str], None]) -> Iterator[tuple[str, Stamp]]:
        """Every file below but Maskwright's own; links to folders are not followed."""

        def tell(error: OSError) -> None:
            unreadable(str(error.filename), error.strerror or type(error).__name__)

        for folder, folders, files in os.walk(self._folder, onerror=tell):
            folders[:] = sorted(name for name in folders if name != OWN_FOLDER)
            below = Path(folder).relative_to(self._folder).as_posix()
            start = "" if below == "." else f"{below}/"
            for file in sorted(files):
                name = f"{start}{file}"
                stamp = self.stamp(name)
                if stamp is not None:
                    yield name, stamp

    def names(self, folder: str) -> list[str]:
        """The files directly in a folder, sorted."""
        try:
            return sorted(f"{folder}/{path.name}" for path in self.path(folder).iterdir() if path.is_file())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def stamp(self, name: str) -> Stamp | None:
        """Size and time of change in nanoseconds."""
        try:
            found = os.stat(f"{self._folder}/{name}")  # noqa: PTH116 - a path object costs more than the look itself
        except OSError:
            return None
        return Stamp(found.st_size, str(found.st_mtime_ns)) if S_ISREG(found.st_mode) else None

    def read(self, name: str) -> bytes:
        """All of a file."""
        path = self.path(name)
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise _vanished(str(path)) from error
        except OSError as error:
            raise _unreadable(str(path), error) from error

    def write(self, name: str, data: bytes) -> None:
        """Write a file by way of Maskwright's own folder, where what a killed run left is found again."""
        path = self.path(name)
        scratch = self.path(f"{OWN_FOLDER}/{_SCRATCH}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(str(path), error) from error
        write_bytes(path, data, scratch=scratch)

    def append(self, name: str, data: bytes) -> None:
        """Put bytes behind those of a file."""
        path = self.path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(str(path), error) from error

    def delete(self, name: str) -> None:
        """Delete a file that is there."""
        self.path(name).unlink()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A lock that ends with its process, however that ends; what an earlier run left half written is removed."""
        own = self.path(OWN_FOLDER)
        with contextlib.ExitStack() as stack:
            try:
                ours = stack.enter_context(locked(own, "batch", wait=False))
            except OSError as error:
                raise _unwritable(self.title, error) from error
            if not ours:
                raise MediaError(
                    f"another run writes to {self.title}", hint="wait until it is done, or name another folder"
                )
            for name in self.names(f"{OWN_FOLDER}/{_SCRATCH}"):
                self.delete(name)
            yield


class RemotePlace:
    """A folder behind an address that fsspec opens.

    Args:
        address: Such as `s3://bucket/photos`.

    Raises:
        OptionError: fsspec or the library for such addresses is not installed, or the address is none.
    """

    def __init__(self, address: str) -> None:
        self.title = self.root = address.rstrip("/")
        self.exclusive = False
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise OptionError(
                f"{address} needs fsspec, which is not installed", hint='pip install "maskwright[remote]"'
            ) from error
        try:
            self._system, self._folder = url_to_fs(self.title)
        except _REACH as error:
            raise OptionError(
                f"{address} cannot be opened ({' '.join(str(error).split())})", hint="check the address"
            ) from error
        self._atomic = address.partition("://")[0] in _ATOMIC
        self._appended: dict[str, bytes] = {}

    def _path(self, name: str) -> str:
        return f"{self._folder.rstrip('/')}/{name}"

    def absence(self) -> str | None:
        """What there is instead of a folder, which in an object store means something in it; None: it is there."""
        return None if self._system.isdir(self._folder) else "nothing below it"

    def walk(self, unreadable: Callable[[str, str], None]) -> Iterator[tuple[str, Stamp]]:
        """Every file below but Maskwright's own."""
        del unreadable  # a store has no folders that could be closed
        self._system.invalidate_cache()
        start = len(self._path(""))
        for path, found in sorted(self._system.find(self._folder, detail=True).items()):
            name = path[start:]
            if OWN_FOLDER not in PurePosixPath(name).parts:
                yield name, _remote_stamp(found)

    def names(self, folder: str) -> list[str]:
        """The files directly in a folder, sorted."""
        self._system.invalidate_cache()
        try:
            found = self._system.ls(self._path(folder), detail=True)
        except FileNotFoundError:
            return []
        return sorted(f"{folder}/{PurePosixPath(one['name']).name}" for one in found if one["type"] == "file")

    def stamp(self, name: str) -> Stamp | None:
        """Size, and the store's tag or time."""
        try:
            found = self._system.info(self._path(name))
        except FileNotFoundError:
            return None
        return _remote_stamp(found) if found["type"] == "file" else None

    def read(self, name: str) -> bytes:
        """All of a file."""
        try:
            return bytes(self._system.cat_file(self._path(name)))
        except FileNotFoundError as error:
            raise _vanished(f"{self.title}/{name}") from error
        except OSError as error:
            raise _unreadable(f"{self.title}/{name}", error) from error

    def write(self, name: str, data: bytes) -> None:
        """Write a file; where the system could leave half of one, under another name first."""
        path = self._path(name)
        try:
            if self._atomic:
                self._system.pipe_file(path, data)
                return
            scratch = self._path(f"{OWN_FOLDER}/{_SCRATCH}/{os.urandom(8).hex()}")
            self._system.makedirs(scratch.rpartition("/")[0], exist_ok=True)
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._system.pipe_file(scratch, data)
            self._system.mv(scratch, path)
        except OSError as error:
            raise _unwritable(f"{self.title}/{name}", error) from error

    def append(self, name: str, data: bytes) -> None:
        """Write the file anew with what came before, as far as this process wrote it: stores know no appending."""
        whole = self._appended.get(name, b"") + data
        self.write(name, whole)
        self._appended = {name: whole}

    def delete(self, name: str) -> None:
        """Delete a file that is there."""
        self._system.rm_file(self._path(name))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """No lock: stores have none. Two runs may do some pictures twice, to the same bytes, and lose nothing."""
        yield


def _remote_stamp(found: dict[str, Any]) -> Stamp:
    """What a store says of a file: the first of its words for a change that is there."""
    marks = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "modified", "created", "mtime")
    mark = next((found[word] for word in marks if found.get(word)), "")
    mark = mark.timestamp() if isinstance(mark, datetime) else mark  # the same time, listed and asked for
    return Stamp(int(found.get("size") or 0), str(mark).strip('"'))


def _vanished(name: str) -> MediaError:
    return MediaError(name, expected="an existing file", got="nothing any more", hint="was it moved meanwhile?")


def _unreadable(name: str, error: OSError) -> MediaError:
    return MediaError(f"{name} cannot be read ({error.strerror or error})", hint="check who may read it")


def _unwritable(name: str, error: OSError) -> MediaError:
    return MediaError(
        f"{name} cannot be written ({error.strerror or error})",
        hint="choose a folder you may write to with room on its disk",
    )
