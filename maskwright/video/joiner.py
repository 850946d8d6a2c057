"""Pieces and sound into one file: packets are copied, and the pictures get their exact times."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import MediaError, OptionError
from .library import load_av, reading, writing
from .reader import start_of

__all__ = ["Piece", "join_pieces", "plan_audio", "sound_codec"]

_OPUS, _AAC = "libopus", "aac"  # what sound is encoded with that a container cannot hold as it is
_SAMPLES = {_OPUS: ("flt", 960), _AAC: ("fltp", 1024)}  # sample format, and samples in a frame
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


def plan_audio(source: Path, target: Path, wanted: str) -> tuple[bool, ...]:
    """Which of the sound streams are copied (True) and which must be encoded anew (False); empty: there is none.

    Args:
        source: The clip.
        target: Its name says what the container can hold.
        wanted: `auto`, `copy` or `none`.

    Raises:
        OptionError: It is to be copied, and the container cannot hold it.
    """
    if wanted == "none":
        return ()
    with reading(source), load_av().open(str(source)) as container:
        names = [stream.codec_context.codec.canonical_name for stream in container.streams.audio]
    plan = tuple(_holds(target.suffix.lower(), name) for name in names)
    if wanted == "copy" and not all(plan):
        raise OptionError(
            f"audio {names[plan.index(False)]}",
            expected=f"what {target.suffix} can hold",
            got="copy",
            hint="use --audio auto, which encodes it anew, or name OUTPUT .mkv",
        )
    return plan


_HELD = {
    ".webm": ("opus", "vorbis"),
    ".mp4": ("aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"),
    ".m4v": ("aac", "ac3", "alac", "eac3"),
    ".mov": ("aac", "ac3", "alac", "eac3", "mp3", "pcm_f32le", "pcm_s16be", "pcm_s16le", "pcm_s24le", "pcm_s32le"),
}


def _holds(suffix: str, codec: str) -> bool:
    return suffix == ".mkv" or codec in _HELD.get(suffix, ())


def sound_codec(target: Path) -> str:
    """What sound is encoded with that this file cannot hold as it is."""
    return _OPUS if target.suffix.lower() == ".webm" else _AAC


def join_pieces(
    pieces: Sequence[Piece],
    target: Path,
    time_base: Fraction,
    *,
    alpha: bool = False,
    sound: tuple[Path, tuple[bool, ...]] | None = None,
) -> None:
    """Write one file with all of the pieces' packets, and the sound.

    Args:
        pieces: In their order, all of one codec and size.
        target: The file; its suffix says the container.
        time_base: Seconds that a unit of the pieces' times stands for.
        alpha: Whether the frames are transparent.
        sound: The clip whose sound is taken, and what `plan_audio` said of it.

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
        if sound is not None and sound[1]:
            sources.append(_sounds(sound[0], output, sound[1], sound_codec(target)))
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


def _sounds(source: Path, output: Any, plan: tuple[bool, ...], codec: str) -> Iterator[_Timed]:
    """The sound's packets in the order of their times; streams are made at once, before the first is asked for."""
    container = load_av().open(str(source))
    start = start_of(container)
    inputs = container.streams.audio
    tracks = [
        _Copied(output.add_stream_from_template(stream), start, output.format.name in _NO_NEGATIVE)
        if copied
        else _Encoded(_add_sound(output, stream, codec), start, codec)
        for stream, copied in zip(inputs, plan, strict=True)
    ]
    return _interleaved(container, inputs, tracks)


def _add_sound(output: Any, stream: Any, codec: str) -> Any:
    return output.add_stream(codec, rate=_OPUS_RATE if codec == _OPUS else stream.rate, layout=stream.layout.name)


def _interleaved(container: Any, inputs: Sequence[Any], tracks: Sequence[_Copied | _Encoded]) -> Iterator[_Timed]:
    numbers = {stream.index: number for number, stream in enumerate(inputs)}
    with container:
        for packet in container.demux(*inputs):
            number = numbers[packet.stream.index]
            for made in tracks[number].take(packet):
                yield float(made.dts * made.time_base), number + 1, made


class _Copied:
    """Sound whose packets are taken as they are; where there is no time before 0, without those that lie there."""

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
