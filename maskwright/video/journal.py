"""The work folder of a clip: finished pieces, the state after the last one, and a journal that says which are whole.

A piece counts once its entry stands in the journal; whatever a killed run left besides is overwritten. An entry is
made only when the piece and the state after it are safe on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MediaError
from ..imageio import write_bytes
from ..types import AnyArray

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["Entry", "Journal", "State", "digest_facts", "file_facts"]

State = Mapping[str, AnyArray]  # what one frame leaves for the next, by name
_FACTS = "job.json"
_LOCK = "lock"
_EDGE = 1 << 20  # bytes at either end of a file that tell it from another of the same size and time


@dataclass(frozen=True)
class Entry:
    """A finished piece.

    Attributes:
        times: Of its frames, in units of the clip's time base.
        durations: The same.
        sums: What was added up over its frames for the report.
        notes: What there is to say of its frames.
    """

    times: tuple[int, ...]
    durations: tuple[int, ...]
    sums: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Journal:
    """What is done of a clip; use it as a context manager. A folder that was begun with other facts is emptied first.

    Args:
        folder: Where pieces, state and entries lie; beside the output, so that moving it costs nothing.
        facts: The digest of all that the bytes depend on.

    Raises:
        MediaError: Another run works in this folder, or it cannot be made.
    """

    def __init__(self, folder: Path, facts: str) -> None:
        self.folder = folder
        self._lock = _lock(folder)
        if self._read(folder / _FACTS) != {"facts": facts}:
            _empty(folder)
            self._write(_FACTS, {"facts": facts})
        self.entries: list[Entry] = []
        while (found := self._read(self._entry(len(self.entries)))) is not None:
            self.entries.append(Entry(**{key: _frozen(value) for key, value in found.items()}))

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        if kind is None or not self.entries:  # all is done and stands elsewhere, or nothing is
            shutil.rmtree(self.folder)

    @property
    def frames(self) -> int:
        """How many frames are done."""
        return sum(len(entry.times) for entry in self.entries)

    def state(self) -> dict[str, AnyArray]:
        """What the last frame done leaves for the next."""
        if not self.entries:
            return {}
        with np.load(self._state(len(self.entries) - 1)) as stored:
            return dict(stored)

    def add(self, entry: Entry, state: State) -> None:
        """Note that the next piece is whole; its files are on the disk.

        Args:
            entry: What it is.
            state: What its last frame leaves for the next.
        """
        number = len(self.entries)
        with self._state(number).open("wb") as file:
            np.savez(file, **state)  # type: ignore[arg-type]  # names are ours, never `file`
            file.flush()
            os.fsync(file.fileno())
        self._write(self._entry(number).name, asdict(entry))
        self.entries.append(entry)
        if number:
            self._state(number - 1).unlink(missing_ok=True)

    def _entry(self, number: int) -> Path:
        return self.folder / f"{number:05d}.json"

    def _state(self, number: int) -> Path:
        return self.folder / f"{number:05d}.npz"

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_bytes(self.folder / name, json.dumps(content).encode())

    @staticmethod
    def _read(path: Path) -> dict[str, Any] | None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None


def _lock(folder: Path) -> FileLock:
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / _LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise MediaError(f"another run works in {folder}", hint="wait for it, or choose another OUTPUT") from error
    except OSError as error:
        raise MediaError(
            f"{folder} cannot be written ({error.strerror})", hint="choose an OUTPUT in a folder you may write to"
        ) from error
    return lock


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def file_facts(path: Path) -> dict[str, Any]:
    """What tells one version of a file from another without reading all of it: size, time, and both ends."""
    stat = path.stat()
    ends = hashlib.sha256()
    with path.open("rb") as file:
        ends.update(file.read(_EDGE))
        file.seek(max(0, stat.st_size - _EDGE))
        ends.update(file.read(_EDGE))
    return {"path": str(path.resolve()), "size": stat.st_size, "time": stat.st_mtime_ns, "ends": ends.hexdigest()}


def digest_facts(facts: Mapping[str, Any]) -> str:
    """One text for all of the facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=_as_text).encode()).hexdigest()


def _as_text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    return str(value)
