"""What a folder of cut-outs knows of itself: which picture each was made of, by which options and which weights.

    <folder>/.maskwright/journal.jsonl      one line for each cut-out, sorted: the same work gives the same bytes
    <folder>/.maskwright/journal/<run>.jsonl   lines of a run that is going on, or was killed

A cut-out is announced before it gets its name, and confirmed afterwards. What a killed run announced and did not
confirm is looked at: if it is what was announced, it counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

from ..errors import MediaError
from .places import OWN_FOLDER, Place, Stamp

__all__ = ["Entry", "Known", "Recipe", "Writer", "compact_journal", "digest", "has_parts", "load_journal"]

_WHOLE = f"{OWN_FOLDER}/journal.jsonl"
_PARTS = f"{OWN_FOLDER}/journal"
_PART_LINES = 500  # of a part; in stores that cannot append, each line writes its part anew


@dataclass(frozen=True)
class Recipe:
    """What a cut-out depends on besides its picture.

    Attributes:
        root: The folder its picture's name counts from.
        options: Hash of all options that reach the bytes.
        weights: SHA-256 of the weights.
        model: The model's name.
    """

    root: str
    options: str
    weights: str
    model: str

    @property
    def key(self) -> str:
        """A short name for it."""
        return digest(json.dumps(asdict(self), sort_keys=True).encode())[:12]

    def makes_same(self, other: Recipe | None) -> bool:
        """Whether both make the same of a picture."""
        return other is not None and (self.options, self.weights, self.model) == (
            other.options,
            other.weights,
            other.model,
        )


@dataclass(frozen=True)
class Entry:
    """A cut-out that was made.

    Attributes:
        target: Its name.
        source: The name of its picture.
        source_sha256: Hash of the picture's file.
        stamp: The picture's size and mark when it was read.
        sha256: Hash of the cut-out's file.
        size: Bytes of the cut-out's file.
        recipe: Key of what it was made by.
    """

    target: str
    source: str
    source_sha256: str
    stamp: Stamp
    sha256: str
    size: int
    recipe: str

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Entry:
        """The entry that a line of the journal holds."""
        values = {name: line[name] for name in cls.__dataclass_fields__}
        return cls(**{**values, "stamp": Stamp(*line["stamp"])})


@dataclass
class Known:
    """A journal as it was read.

    Attributes:
        recipes: Key to recipe.
        entries: Cut-out to what is known of it.
        announced: Cut-outs that were announced and not confirmed.
    """

    recipes: dict[str, Recipe]
    entries: dict[str, Entry]
    announced: dict[str, Entry]

    def take(self, line: Mapping[str, Any]) -> None:
        """Let a line of the journal have its say."""
        if "root" in line:
            recipe = Recipe(**line)
            self.recipes[recipe.key] = recipe
        elif "confirmed" in line:
            entry = self.announced.pop(line["confirmed"], None)
            if entry is not None and entry.sha256 == line["sha256"]:
                self.entries[entry.target] = entry
        elif line.get("announced"):
            self.announced[line["target"]] = Entry.from_line(line)
        else:
            self.entries[line["target"]] = Entry.from_line(line)

    def owners(self) -> list[tuple[str, str]]:
        """Cut-outs, each with the name of its picture."""
        return [(entry.target, entry.source) for entry in (*self.entries.values(), *self.announced.values())]

    def targets_of(self, root: str) -> dict[str, str]:
        """Picture to cut-out, for the pictures of a folder."""
        roots = {key: recipe.root for key, recipe in self.recipes.items()}
        entries = (*self.entries.values(), *self.announced.values())
        return {entry.source: entry.target for entry in entries if roots.get(entry.recipe) == root}


def digest(data: bytes) -> str:
    """SHA-256 as lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def load_journal(place: Place) -> Known:
    """What a folder of cut-outs knows of itself; what a killed run left open is settled.

    Raises:
        MediaError: The journal cannot be read.
    """
    known = Known({}, {}, {})
    for name in _journal_files(place):
        for line in _lines(place.read(name)):
            known.take(line)
    for target, entry in [*known.announced.items()]:
        if _holds(place, entry):
            known.entries[target] = known.announced.pop(target)
    return known


def has_parts(place: Place) -> bool:
    """Whether the journal is in pieces, as a run leaves it until it is closed."""
    return bool(place.names(_PARTS))


def _journal_files(place: Place) -> Iterator[str]:
    if place.stamp(_WHOLE) is not None:
        yield _WHOLE
    yield from place.names(_PARTS)


def _lines(data: bytes) -> Iterator[Mapping[str, Any]]:
    """The lines that are whole: a killed run may have left a piece of one."""
    for text in data.splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line


def _holds(place: Place, entry: Entry) -> bool:
    """Whether the cut-out that was announced is there."""
    stamp = place.stamp(entry.target)
    if stamp is None or stamp.size != entry.size:
        return False
    try:
        return digest(place.read(entry.target)) == entry.sha256
    except MediaError:
        return False


def compact_journal(place: Place, known: Known) -> None:
    """Make one sorted file of the journal. Only for whoever holds the place.

    Raises:
        MediaError: It cannot be written; the journal is as it was.
    """
    parts = place.names(_PARTS)
    used = {entry.recipe for entry in known.entries.values()}
    lines: list[Mapping[str, Any]] = [asdict(known.recipes[key]) for key in sorted(used & known.recipes.keys())]
    lines += [_entry_line(known.entries[target]) for target in sorted(known.entries)]
    place.write(_WHOLE, b"".join(map(_encoded, lines)))
    for part in parts:
        place.delete(part)


def _entry_line(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__dataclass_fields__}


def _encoded(line: Mapping[str, Any]) -> bytes:
    return (json.dumps(line, separators=(",", ":")) + "\n").encode()


class Writer:
    """Adds to a journal what one process makes. May be shared between threads.

    Args:
        place: The folder of cut-outs.
        recipe: What they are made by.
    """

    def __init__(self, place: Place, recipe: Recipe) -> None:
        self._place = place
        self._recipe = recipe
        self._lock = Lock()
        self._lines = _PART_LINES
        self._part = ""

    def announce(self, entry: Entry) -> None:
        """Say that a cut-out is about to get its name.

        Raises:
            MediaError: The journal cannot be written; the cut-out must not be.
        """
        self._put([{**_entry_line(entry), "announced": True}])

    def confirm(self, entry: Entry) -> None:
        """Say that it has it.

        Raises:
            MediaError: The journal cannot be written; the next run will look for itself.
        """
        self._put([{"confirmed": entry.target, "sha256": entry.sha256}])

    def note(self, entries: Iterable[Entry]) -> None:
        """Say of cut-outs that are there what they were made of.

        Raises:
            MediaError: The journal cannot be written.
        """
        self._put([_entry_line(entry) for entry in entries])

    def _put(self, lines: list[Mapping[str, Any]]) -> None:
        with self._lock:
            if self._lines >= _PART_LINES:  # parts in the order of time
                self._part = f"{_PARTS}/{time.time_ns():020}-{os.urandom(4).hex()}.jsonl"
                self._lines = 0
                lines = [asdict(self._recipe), *lines]
            self._lines += len(lines)
            try:
                self._place.append(self._part, b"".join(map(_encoded, lines)))
            except MediaError:
                self._lines = _PART_LINES  # a piece of a line may stand at its end: go on in another
                raise
