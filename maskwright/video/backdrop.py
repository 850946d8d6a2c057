"""A clip under another one: which of its frames belongs to a time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from ..geometry import cover
from ..imageio import LoadedImage
from .reader import Frame, VideoReader

__all__ = ["Backdrop"]


class Backdrop:
    """A clip that is looked at at ever later times and begins again at its end; use it as a context manager.

    Args:
        path: The clip.
        size_hw: Height and width that its frames are to fill.

    Raises:
        MediaError: It is not there, or no clip that can be read.
    """

    def __init__(self, path: str | Path, size_hw: tuple[int, int]) -> None:
        self._path, self._size_hw = path, size_hw
        self._base = Fraction(0)  # when the pass through the clip began, in seconds
        self._reader, self._frames, self._frame = self._begin()
        self._shown: LoadedImage | None = None

    def __enter__(self) -> Backdrop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    def at(self, seconds: Fraction) -> LoadedImage:
        """The frame that is shown at a time, which is no earlier than that of the call before."""
        while seconds >= (end := self._end()):
            following = next(self._frames, None)
            if following is None:
                self._reader.close()
                self._base = end
                self._reader, self._frames, following = self._begin()
            self._frame, self._shown = following, None
        if self._shown is None:
            image = cover(self._frame.image.image, self._size_hw)
            self._shown = LoadedImage(image=image, alpha=None, icc_profile=None, exif=None, format=None)
        return self._shown

    def _begin(self) -> tuple[VideoReader, Iterator[Frame], Frame]:
        reader = VideoReader(self._path)
        frames = reader.frames()
        return reader, frames, next(frames)

    def _end(self) -> Fraction:
        return self._base + (self._frame.time + self._frame.duration) * self._reader.info.time_base
