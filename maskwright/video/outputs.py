"""What is written: a clip made of pieces, or pictures; under its own name only once it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from ..encode import encode_picture
from ..errors import MediaError, OptionError
from ..imageio import Cutout, write_bytes
from ..refine.compose import extend_colors
from ..types import AnyArray, to_8_bit
from .codecs import Codec
from .companions import Companions
from .encoder import PieceWriter
from .joiner import Piece, join_pieces
from .journal import Entry
from .library import writing
from .reader import ClipInfo

__all__ = ["ClipOutput", "Output", "Pick", "PictureOutput", "Write", "pick_part", "pick_whole"]

Pick = Callable[[Cutout], AnyArray]
Write = Callable[[Cutout], None]
_NAME = "%06d.png"
_LIST = "frames.ffconcat"


class Output(Protocol):
    """Somewhere frames go, piece by piece.

    Attributes:
        target: Its name.
    """

    target: Path

    def piece(self, number: int, first: int) -> AbstractContextManager[Write]:
        """What writes the frames of a piece; at its end they are safe on the disk.

        Args:
            number: Of the piece.
            first: Number of its first frame.
        """

    def finish(self, entries: Sequence[Entry]) -> None:
        """Put everything under its own name.

        Args:
            entries: All of the pieces.
        """


def pick_whole(cutout: Cutout) -> AnyArray:
    """The cut-out's pixels, or its mask where only that is wanted."""
    return np.asarray(cutout.to_pil()) if cutout.only_mask else cutout.rgba


def pick_part(part: str) -> Pick:
    """What gives the mask of one part, (H, W) uint8."""
    return lambda cutout: np.rint(cutout.masks[part] * 255).astype(np.uint8)


class ClipOutput:
    """One file of a video codec.

    Args:
        target: Its name.
        folder: Where pieces lie until they are joined.
        codec: How it is encoded.
        info: Of the clip that is cut.
        pick: What is written of each cut-out.
        quality: 1 to 100; None: the codec's usual.

    Attributes:
        alpha: Whether transparency is kept.
        companions: What goes along with the pictures; None: nothing.
    """

    def __init__(
        self,
        target: Path,
        folder: Path,
        codec: Codec,
        info: ClipInfo,
        pick: Pick = pick_whole,
        *,
        quality: int | None = None,
    ) -> None:
        self.target, self._folder, self._codec, self._info, self._pick = target, folder, codec, info, pick
        self._quality = quality
        self.alpha = False
        self.companions: Companions | None = None

    @contextmanager
    def piece(self, number: int, first: int) -> Iterator[Write]:  # noqa: ARG002 - pictures need it
        """What writes the frames of a piece; at its end they are safe on the disk."""
        path = self._piece(number)
        with PieceWriter(path, self._codec, self._info.colors, self._info.aspect, self._quality) as writer:
            yield lambda cutout: writer.write(self._pixels(cutout))
        _sync(path)

    def finish(self, entries: Sequence[Entry]) -> None:
        """Join the pieces, with the sound, and put the file under its name."""
        whole = self._folder / self.target.name
        pieces = [Piece(self._piece(number), each.times, each.durations) for number, each in enumerate(entries)]
        join_pieces(pieces, whole, self._info.time_base, alpha=self.alpha, companions=self.companions)
        _sync(whole)
        with writing(self.target):
            whole.replace(self.target)

    def _piece(self, number: int) -> Path:
        return self._folder / f"{number:05d}-{self.target.name}"

    def _pixels(self, cutout: Cutout) -> AnyArray:
        pixels = self._pick(cutout)
        if pixels.ndim == 2:
            return pixels
        if not self.alpha:
            return np.ascontiguousarray(pixels[..., :3])
        if self._codec.encoder == "ffv1":
            return to_8_bit(pixels)
        return extend_colors(pixels)


class PictureOutput:
    """A folder of PNG files, or files by a pattern, with a list of their times for FFmpeg's `concat`.

    Args:
        target: The folder, which is made; or a pattern such as `out-%05d.png`, counting from 0.
        folder: Where they lie until all are there.
        time_base: Seconds that a unit of time stands for.
        pick: What is written of each cut-out.

    Raises:
        OptionError: The pattern holds no number, or not one alone.
        MediaError: The folder holds something.
    """

    def __init__(self, target: Path, folder: Path, time_base: Fraction, pick: Pick = pick_whole) -> None:
        self.target, self._folder, self._time_base, self._pick = target, folder / target.name, time_base, pick
        self._is_pattern = "%" in target.name
        self._name = target.name if self._is_pattern else _NAME
        if self._name_of(0) == self._name_of(1):
            raise _no_pattern(target, "no number")
        if not self._is_pattern and target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise MediaError(str(target), expected="a new or empty folder", got="something else", hint="name a new one")

    @contextmanager
    def piece(self, number: int, first: int) -> Iterator[Write]:  # noqa: ARG002 - clips need it
        """What writes the frames of a piece; each is safe on the disk at once."""
        self._folder.mkdir(exist_ok=True)
        index = first

        def write(cutout: Cutout) -> None:
            nonlocal index
            write_bytes(self._folder / self._name_of(index), encode_picture(self._pick(cutout), "png"))
            index += 1

        yield write

    def finish(self, entries: Sequence[Entry]) -> None:
        """Write the list of times and put all under their names."""
        durations = [duration for entry in entries for duration in entry.durations]
        lines = ["ffconcat version 1.0"]
        for index, duration in enumerate(durations):
            lines += [f"file '{self._name_of(index)}'", f"duration {float(duration * self._time_base):.9f}"]
        stem = self._name.partition("%")[0]
        name = f"{stem}{_LIST}" if self._is_pattern else _LIST
        write_bytes(self._folder / name, "\n".join([*lines, ""]).encode())
        with writing(self.target):
            if not self._is_pattern:
                self._folder.replace(self.target)
                return
            for path in sorted(self._folder.iterdir()):
                path.replace(self.target.with_name(path.name))

    def _name_of(self, index: int) -> str:
        try:
            return self._name % index
        except (TypeError, ValueError) as error:
            raise _no_pattern(self.target, str(error)) from error


def _no_pattern(target: Path, got: str) -> OptionError:
    return OptionError(str(target), expected="a name with one number in it, like out-%05d.png", got=got)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
