"""A clip, frame by frame: upright, RGB, each with its exact time."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import MediaError
from ..imageio import LoadedImage
from ..types import AnyArray
from .colors import Colors, frame_to_array, read_colors
from .library import load_av, main_stream, reading

__all__ = ["ClipInfo", "Frame", "VideoReader", "start_of"]

_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # the usual decoders leave the alpha out
_MATRIX = "DISPLAYMATRIX"
_MICROSECOND = 1_000_000  # in one second


@dataclass(frozen=True)
class ClipInfo:
    """What is known of a clip before its frames are read.

    Attributes:
        size_hw: Height and width of the upright frames, in pixels.
        rate: Frames per second on average; 0 where unknown.
        time_base: Seconds that a unit of time stands for.
        start: Seconds that were taken off all times, so that a broadcast that began hours ago starts at 0.
        frames: How many there are, as far as the file says; else 0.
        end: Time by which the file says that it ends, in units; else 0.
        colors: Matrix, primaries, transfer and range.
        aspect: Width to height of one pixel.
        turn: How the coded frames are turned to stand upright: rotations by 90 degrees to the left, then whether
            they are mirrored.
        has_alpha: Whether frames may be transparent.
        has_audio: Whether there is sound.
    """

    size_hw: tuple[int, int]
    rate: Fraction
    time_base: Fraction
    start: Fraction
    frames: int
    end: int
    colors: Colors
    aspect: Fraction
    turn: tuple[int, bool]
    has_alpha: bool
    has_audio: bool


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes:
        image: The picture, upright.
        index: Its number, from 0.
        time: When it is shown, in units of the clip's time base.
        duration: For how long, in the same units.
    """

    image: LoadedImage
    index: int
    time: int
    duration: int


class VideoReader:
    """The first video stream of a file. Frames are decoded as they are asked for; use it as a context manager.

    Args:
        path: The file.
        depth: Bits per channel of the frames: 8, or 16 for clips of more than 8.

    Raises:
        MediaError: It is not there, or no clip that can be read.
        EngineUnavailable: PyAV is not installed.
    """

    def __init__(self, path: str | Path, *, depth: int = 8) -> None:
        self.path = Path(path)
        self._av = load_av()
        with reading(path):
            self._container = self._av.open(str(path))
            self._stream = main_stream(self._container)
            if self._stream is None:
                raise MediaError(f"{path} holds no video", hint="check that it is the right file")
            self._decoder = self._choose_decoder()
            self._packets = self._container.demux(self._stream)
            self._decoded = self._decode()
            self._ahead: Any = next(self._decoded, None)
        if self._ahead is None:
            raise MediaError(f"{path} holds no frame that can be decoded", hint="see whether a player shows it")
        self.info = self._look(self._ahead)
        deep = depth == 16 and max(part.bits for part in self._ahead.format.components) > 8
        self._format = {(0, 0): "rgb24", (0, 1): "rgba", (1, 0): "rgb48le", (1, 1): "rgba64le"}[
            deep, self.info.has_alpha
        ]

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._container.close()

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """The frames in their order; once.

        Args:
            start: The number of the first one wanted. Those before it are decoded and passed over, since only what
                was decoded from the beginning is sure to be the same.

        Raises:
            MediaError: The file is damaged, ends too early, or changes its size.
        """
        info, after = self.info, 0
        usual = round(1 / info.rate / info.time_base) if info.rate else 1
        offset = round(info.start / info.time_base)
        with reading(self.path):
            index = 0
            while self._ahead is not None:
                frame, self._ahead = self._ahead, next(self._decoded, None)
                time = after if frame.pts is None else max(frame.pts - offset, after)
                following = None if self._ahead is None else self._ahead.pts
                until = following - offset - time if following is not None else 0
                duration = until if until > 0 else frame.duration or usual
                after = time + 1
                if index >= start:
                    yield Frame(self._picture(frame, index), index, time, duration)
                index += 1
            self._check_end(after - 1 + duration, 2 * max(usual, duration))

    def _check_end(self, end: int, margin: int) -> None:
        """See that the frames last as long as the file says, or at least something else in it does.

        Args:
            end: Of the last frame, in units.
            margin: By which it may be too early.
        """
        info = self.info
        if end >= info.end - margin:
            return
        if self._stream.duration is None:  # what is stated is then that of whatever is longest
            timed = (packet for packet in self._other_packets() if packet.pts is not None)
            ends = ((packet.pts + (packet.duration or 0)) * packet.time_base for packet in timed)
            if max(ends, default=Fraction(0)) - info.start >= (info.end - margin) * info.time_base:
                return
        got, whole = (float(units * info.time_base) for units in (end, info.end))
        raise MediaError(
            str(self.path), expected=f"{whole:.2f} s long", got=f"{got:.2f} s", hint="it was cut off: copy it again"
        )

    def _other_packets(self) -> Iterator[Any]:
        with self._av.open(str(self.path)) as container:
            others = [*container.streams.audio, *container.streams.subtitles]
            if others:
                yield from container.demux(others)

    def _decode(self) -> Iterator[Any]:
        for packet in self._packets:
            if packet.is_corrupt:
                raise MediaError(f"{self.path} is damaged or cut off", hint="copy or download it again")
            if self._decoder is self._stream.codec_context:
                yield from packet.decode()
            else:
                yield from self._decoder.decode(packet if packet.size else None)

    def _choose_decoder(self) -> Any:
        context = self._stream.codec_context
        context.thread_type = "AUTO"
        name = _ALPHA_DECODERS.get(context.codec.canonical_name)
        stated = {key.lower(): value for key, value in self._stream.metadata.items()}
        if name and stated.get("alpha_mode") == "1":
            return self._av.CodecContext.create(name, "r")
        return context

    def _look(self, frame: Any) -> ClipInfo:
        stream = self._stream
        turn = _read_turn(frame)
        size = (frame.width, frame.height) if turn[0] % 2 else (frame.height, frame.width)
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        start = start_of(self._container)
        seconds = Fraction(self._container.duration or 0, _MICROSECOND)
        rate = Fraction(stream.average_rate or stream.guessed_rate or 0)
        if stream.duration:
            end = stream.duration + (stream.start_time or 0) - round(start / stream.time_base)
        else:  # files that say how long they are as a whole count from 0, many of them
            end = max(0, round((seconds - start) / stream.time_base))
        return ClipInfo(
            size_hw=size,
            rate=rate,
            time_base=stream.time_base,
            start=start,
            frames=stream.frames or round(seconds * rate),
            end=end,
            colors=read_colors(frame),
            aspect=1 / aspect if turn[0] % 2 else aspect,
            turn=turn,
            has_alpha=len(frame.format.components) in (2, 4) and "a" in frame.format.name,
            has_audio=bool(self._container.streams.audio),
        )

    def _picture(self, frame: Any, index: int) -> LoadedImage:
        pixels = _turned(frame_to_array(frame, self.info.colors, self._format), self.info.turn)
        if pixels.shape[:2] != self.info.size_hw or frame.is_corrupt:
            got = "damaged" if frame.is_corrupt else f"{pixels.shape[1]} × {pixels.shape[0]}"
            height, width = self.info.size_hw
            raise MediaError(
                f"frame {index} of {self.path}", expected=f"{width} × {height}", got=got, hint="encode the clip anew"
            )
        alpha = np.ascontiguousarray(pixels[..., 3]) if self.info.has_alpha else None
        image = np.ascontiguousarray(pixels[..., :3])
        return LoadedImage(image=image, alpha=alpha, icc_profile=None, exif=None, format=None)


def start_of(container: Any) -> Fraction:
    """The earliest time of a file's sound and pictures in seconds, in whole units of the video; 0 where it is below."""
    main = main_stream(container)
    streams = [main, *container.streams.audio]
    starts = [stream.start_time * stream.time_base for stream in streams if stream.start_time is not None]
    unit = main.time_base
    return max(Fraction(0), Fraction(math.floor(min(starts, default=0) / unit) * unit))


def _read_turn(frame: Any) -> tuple[int, bool]:
    """How the display matrix turns a frame: by 90 degrees to the left so many times, and then mirrored or not."""
    side = frame.side_data.get(_MATRIX)
    if side is None:
        return 0, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(side))
    # Pixels (x, y) are shown at (a x + c y, b x + d y); what mirrors has a negative determinant.
    mirrored = a * d - b * c < 0
    if mirrored:
        a, c = -a, -c
    degrees = math.degrees(math.atan2(b, a))  # clockwise, since y points down
    return round(-degrees / 90) % 4, mirrored


def _turned(pixels: AnyArray, turn: tuple[int, bool]) -> AnyArray:
    pixels = np.rot90(pixels, turn[0]) if turn[0] else pixels
    return pixels[:, ::-1] if turn[1] else pixels
