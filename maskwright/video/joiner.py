"""Pieces, sound and subtitles into one file: packets are copied, and the pictures get their exact times."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import MediaError
from .companions import Companions, copy_texts, sound_codec
from .library import load_av, writing
from .reader import start_of

__all__ = ["Piece", "join_pieces"]

_SAMPLES = {"libopus": ("flt", 960), "aac": ("fltp", 1024)}  # sample format, and samples in a frame
_OPUS_RATE = 48_000
_NO_NEGATIVE = ("matroska", "webm")  # here a packet before 0 would move all the others
_Timed = tuple[float, int, Any]  # when a packet is decoded in seconds, number of its stream, packet


@dataclass(frozen=True)
class Piece:
    """A file of encoded frames, and when they are shown.

    Attributes:
        path: The file.
        times: In units of the clip's time base, one for each frame.
        durations: In the same units.
    """

    path: Path
    times: tuple[int, ...]
    durations: tuple[int, ...]


def join_pieces(
    pieces: Sequence[Piece],
    target: Path,
    time_base: Fraction,
    *,
    alpha: bool = False,
    companions: Companions | None = None,
) -> None:
    """Write one file with all of the pieces' packets, and what goes along with them.

    Args:
        pieces: In their order, all of one codec and size.
        target: The file; its suffix says the container.
        time_base: Seconds that a unit of the pieces' times stands for.
        alpha: Whether the frames are transparent.
        companions: What goes along with the pictures; None: nothing.

    Raises:
        MediaError: A piece does not hold as many frames as it should, or the file cannot be written.
    """
    av = load_av()
    with writing(target), av.open(str(target), "w", options={"fflags": "bitexact"}) as output:
        with av.open(str(pieces[0].path)) as first:
            stream = output.add_stream_from_template(first.streams.video[0])
        stream.time_base = time_base
        if alpha and target.suffix.lower() in (".webm", ".mkv"):
            stream.metadata["alpha_mode"] = "1"
        sources = [_pictures(pieces, stream, time_base)]
        if companions is not None:
            sources.append(_others(companions, output, sound_codec(target)))
        output.start_encoding()
        for _, _, packet in heapq.merge(*sources, key=lambda timed: timed[:2]):
            output.mux_one(packet)


def _pictures(pieces: Iterable[Piece], stream: Any, time_base: Fraction) -> Iterator[_Timed]:
    for piece in pieces:
        count = len(piece.times)
        with load_av().open(str(piece.path)) as container:
            found = 0
            for packet in container.demux(video=0):
                if not packet.size:  # the end
                    continue
                if found < count:
                    packet.time_base = time_base
                    packet.pts = packet.dts = piece.times[found]
                    packet.duration = piece.durations[found]
                    packet.stream = stream
                    yield float(packet.pts * time_base), 0, packet
                found += 1
        if found != count:
            raise MediaError(
                str(piece.path), expected=f"{count} frames", got=str(found), hint="delete it and run again"
            )


def _others(companions: Companions, output: Any, codec: str) -> Iterator[_Timed]:
    """Packets of sound and subtitles in the order of their times; streams are made now, before the first is wanted."""
    container = load_av().open(str(companions.source))
    start = start_of(container)
    copy_texts(container, output, companions, round(start * 1_000_000))
    tracks: dict[int, _Copied | _Encoded] = {}
    for stream, copied in zip(container.streams.audio, companions.sound, strict=False):  # without sound: of none
        made = _named(stream, output.add_stream_from_template(stream) if copied else _add_sound(output, stream, codec))
        drop = output.format.name in _NO_NEGATIVE
        tracks[stream.index] = _Copied(made, start, drop) if copied else _Encoded(made, start, codec)
    for index in companions.subtitles:
        made = _named(container.streams[index], output.add_stream_from_template(container.streams[index]))
        tracks[index] = _Copied(made, start, drop=True)
    return _interleaved(container, tracks)


def _named(stream: Any, made: Any) -> Any:
    """The new stream with the old one's language, title and rank."""
    texts = stream.metadata
    kept = {"language": texts.get("language"), "title": texts.get("title") or texts.get("name")}  # name: in MOV, MP4
    made.metadata.update({name: text for name, text in kept.items() if text})
    made.disposition = stream.disposition
    return made


def _add_sound(output: Any, stream: Any, codec: str) -> Any:
    return output.add_stream(codec, rate=_OPUS_RATE if codec == "libopus" else stream.rate, layout=stream.layout.name)


def _interleaved(container: Any, tracks: Mapping[int, _Copied | _Encoded]) -> Iterator[_Timed]:
    with container:
        for packet in container.demux([container.streams[index] for index in tracks]) if tracks else ():
            index = packet.stream.index
            for made in tracks[index].take(packet):
                yield float(made.dts * made.time_base), index + 1, made


class _Copied:
    """A stream whose packets are taken as they are; where there is no time before 0, without those that lie there."""

    def __init__(self, stream: Any, start: Fraction, drop: bool) -> None:
        self._stream, self._start, self._drop = stream, start, drop

    def take(self, packet: Any) -> Iterator[Any]:
        if packet.dts is None:  # the end
            return
        shift = round(self._start / packet.time_base)
        packet.dts -= shift
        packet.pts = packet.dts if packet.pts is None else packet.pts - shift
        if self._drop and packet.pts + (packet.duration or 0) <= 0:
            return
        packet.stream = self._stream
        yield packet


class _Encoded:
    """Sound that is encoded anew."""

    def __init__(self, stream: Any, start: Fraction, codec: str) -> None:
        self._stream, self._start = stream, start
        kind, size = _SAMPLES[codec]
        self._resampler = load_av().AudioResampler(
            format=kind, layout=stream.layout.name, rate=stream.rate, frame_size=size
        )

    def take(self, packet: Any) -> Iterator[Any]:
        for frame in [*packet.decode(), *([None] if packet.dts is None else [])]:
            for sound in self._resampler.resample(frame):
                yield from self._shifted(self._stream.encode(sound))
        if packet.dts is None:
            yield from self._shifted(self._stream.encode(None))

    def _shifted(self, packets: Iterable[Any]) -> Iterator[Any]:
        for packet in packets:
            shift = round(self._start / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            yield packet
