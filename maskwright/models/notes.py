"""Small facts on disk that several processes read and write: JSON objects, and locks."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Notes", "locked"]

_logger = logging.getLogger(__name__)


class Notes:
    """A JSON object on disk, entry by entry. Whatever cannot be read is as if it had not been written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unwritten: dict[str, Mapping[str, object]] = {}

    def get(self, key: str) -> Mapping[str, object]:
        """One entry; an empty one where there is none."""
        entry = self._read().get(key)
        return entry if isinstance(entry, dict) else self._unwritten.get(key, {})

    def put(self, key: str, entry: Mapping[str, object]) -> None:
        """Write one entry; where that fails, it holds in this process all the same."""
        self._unwritten[key] = entry
        with locked(self.path.parent, self.path.name):
            temporary = self.path.with_name(f"{self.path.name}.tmp")
            text = json.dumps({**self._read(), key: entry}, indent=1, sort_keys=True)
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.path)
        self._unwritten.pop(key, None)

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


@contextmanager
def locked(home: Path, name: str, *, wait: bool = True) -> Iterator[bool]:
    """One process, and one thread, at a time; whether it is the caller's turn, which it is unless `wait` is False.

    Args:
        home: Its folder `locks` holds the lock.
        name: What is worked on.
        wait: Wait for one's turn.
    """
    from filelock import FileLock, Timeout

    folder = home / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=1 if wait else 0)
    except Timeout:
        if not wait:
            yield False
            return
        _logger.info("waiting for another process that works on %s", name)
        lock.acquire()
    try:
        yield True
    finally:
        lock.release()
