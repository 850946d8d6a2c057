"""What a TFLite file says about itself: how its input is scaled, and what is still to be applied to its output.

A TFLite file is a FlatBuffer; the publisher's notes are a second one inside it, and the segmenter's a third inside
that. Three tables deep nothing but the wanted fields is read, and no address leaves the file.

Reference: schema.fbs of LiteRT, metadata_schema.fbs of tflite-support, and image_segmenter_metadata_schema.fbs of
MediaPipe.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from ..errors import EngineFailed
from .base import Metadata

__all__ = ["is_tflite", "read_metadata"]

_IDENTIFIER = b"TFL3"
_METADATA, _SEGMENTER = b"TFLITE_METADATA", b"SEGMENTER_METADATA"
_NORMALIZATION = 1  # the place of NormalizationOptions in the union of process units
_ACTIVATIONS: tuple[Literal["none", "sigmoid", "softmax"], ...] = ("none", "sigmoid", "softmax")
_MOST = 256  # entries of a list that are looked at; a file has a handful


_Channels: TypeAlias = tuple[float, float, float]


class _Table:
    """One table of a FlatBuffer.

    Args:
        data: The whole buffer.
        at: Where the table starts; None: where the buffer says its root is.
    """

    def __init__(self, data: bytes, at: int | None = None) -> None:
        self._data = data
        self._at = _read(data, "<I", 0) if at is None else at
        self._fields = self._at - _read(data, "<i", self._at)  # where the list of its fields starts

    def _find(self, slot: int) -> int | None:
        """Where a field stands, or None where it is left out."""
        place = 4 + 2 * slot
        if place >= _read(self._data, "<H", self._fields):
            return None
        offset = _read(self._data, "<H", self._fields + place)
        return self._at + offset if offset else None

    def number(self, slot: int, kind: str) -> int:
        """A number in the form that `struct` knows by this letter; 0 where it is left out."""
        at = self._find(slot)
        return 0 if at is None else _read(self._data, f"<{kind}", at)

    def table(self, slot: int) -> _Table | None:
        """A table, or None where it is left out."""
        at = self._find(slot)
        return None if at is None else _Table(self._data, self._follow(at))

    def tables(self, slot: int) -> Iterator[_Table]:
        """The tables of a list."""
        start, length = self._list(slot)
        for index in range(min(length, _MOST)):
            yield _Table(self._data, self._follow(start + 4 * index))

    def nth(self, slot: int, index: int) -> _Table | None:
        """One table of a list, or None where it has no such entry."""
        start, length = self._list(slot)
        return _Table(self._data, self._follow(start + 4 * index)) if index < length else None

    def raw(self, slot: int) -> bytes:
        """The bytes of a text or a list of bytes."""
        start, length = self._list(slot)
        return self._slice(start, length)

    def floats(self, slot: int) -> tuple[float, ...]:
        """The numbers of a list of floats."""
        start, length = self._list(slot)
        return tuple(np.frombuffer(self._slice(start, 4 * length), "<f4").tolist())

    def outside(self, at_slot: int, size_slot: int) -> bytes:
        """Bytes that stand behind the buffer itself, where large files keep theirs."""
        return self._slice(self.number(at_slot, "Q"), self.number(size_slot, "Q"))

    def _follow(self, at: int) -> int:
        return at + _read(self._data, "<I", at)

    def _list(self, slot: int) -> tuple[int, int]:
        """Where the entries of a list start, and how many there are."""
        at = self._find(slot)
        if at is None:
            return 0, 0
        start = self._follow(at)
        return start + 4, _read(self._data, "<I", start)

    def _slice(self, start: int, length: int) -> bytes:
        if start + length > len(self._data):
            raise struct.error
        return self._data[start : start + length]


def _read(data: bytes, form: str, at: int) -> int:
    if at < 0:
        raise struct.error  # `unpack_from` would count from the end
    return int(struct.unpack_from(form, data, at)[0])


def is_tflite(data: bytes) -> bool:
    """Whether these bytes begin as a TFLite file does."""
    return data[4:8] == _IDENTIFIER


def read_metadata(path: Path, data: bytes) -> Metadata:
    """What the file says of its first input and its output.

    Args:
        path: The file's name, for messages.
        data: Its bytes.

    Raises:
        EngineFailed: The notes are damaged, or say something that is not known here.
    """
    try:
        return _metadata_of(_Table(data), path)
    except struct.error as error:
        raise EngineFailed(f"{path}: the metadata are damaged", hint="fetch the file again") from error


def _metadata_of(model: _Table, path: Path) -> Metadata:
    notes = next((entry for entry in model.tables(6) if entry.raw(0) == _METADATA), None)
    buffer = None if notes is None else model.nth(4, notes.number(1, "I"))
    raw = b"" if buffer is None else buffer.raw(0) or buffer.outside(1, 2)
    if not raw:
        return Metadata()
    graph = _Table(raw).nth(3, 0)
    if graph is None:
        return Metadata()
    mean, std = _normalization(graph.nth(2, 0), path)
    return Metadata(mean, std, _activation(graph, path))


def _normalization(taken: _Table | None, path: Path) -> tuple[_Channels | None, _Channels | None]:
    """Mean and standard deviation of the input, in units of 0 to 255; None where nothing is said."""
    units = () if taken is None else taken.tables(4)
    options = next((unit.table(1) for unit in units if unit.number(0, "B") == _NORMALIZATION), None)
    if options is None:
        return None, None
    mean, std = (_three(options.floats(slot)) for slot in (0, 1))
    if mean is None or std is None or not np.isfinite([*mean, *std]).all() or min(std) <= 0:
        raise EngineFailed(
            f"{path}: normalisation in the metadata",
            expected="1 or 3 numbers, the deviation above 0",
            got=f"mean {options.floats(0)[:4]}, std {options.floats(1)[:4]}",
            hint="fetch the file again",
        )
    return mean, std


def _three(values: tuple[float, ...]) -> _Channels | None:
    """One number for each of R, G, B; None where there are neither 1 nor 3."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    return (values[0], values[1], values[2]) if len(values) == 3 else None


def _activation(graph: _Table, path: Path) -> Literal["none", "sigmoid", "softmax"] | None:
    custom = next((entry for entry in graph.tables(9) if entry.raw(0) == _SEGMENTER), None)
    if custom is None:
        return None
    index = _Table(custom.raw(1)).number(0, "B")
    if index >= len(_ACTIVATIONS):
        raise EngineFailed(
            f"{path}: activation in the metadata",
            expected=" or ".join(_ACTIVATIONS),
            got=f"number {index}",
            hint="use a file of the published kind",
        )
    return _ACTIVATIONS[index]
