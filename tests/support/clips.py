"""Small clips, written and read with PyAV alone."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

__all__ = ["packet_bytes", "read_clip", "write_clip", "write_companions"]

_EXACT = 4 | 0x2000 | 0x4000 | 0x40000 | 0x80000


def write_clip(
    path: Path,
    frames,
    *,
    times=None,
    time_base=Fraction(1001, 30000),
    codec="ffv1",
    pix_fmt="bgr0",
    matrix=None,
    full=False,
    audio=None,
    turn=None,
    options=None,
    form=None,
) -> Path:
    """A clip of the frames, (H, W, 3) uint8 each.

    Args:
        path: Its suffix says the container.
        frames: RGB.
        times: In units of the time base; None: 0, 1, 2, …
        time_base: Seconds.
        codec: FFmpeg's name.
        pix_fmt: FFmpeg's name.
        matrix: Number of the matrix to convert with and to state; None: BT.601, not stated.
        full: Full range instead of limited.
        audio: Codec of a tone as long as the pictures; None: no sound.
        turn: Degrees that a player turns it to the left.
        options: For the codec.
        form: Options of the container.
    """
    times = list(range(len(frames)) if times is None else times)
    with av.open(str(path), "w", options=form or {}) as container:
        stream = container.add_stream(codec, rate=1 / time_base, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = time_base
        if matrix is not None:
            stream.codec_context.colorspace = matrix
            stream.codec_context.color_range = 2 if full else 1
        if turn is not None:
            stream.set_display_rotation(turn)
        sound = container.add_stream(audio, rate=48000, layout="mono") if audio else None
        for time, pixels in zip(times, frames, strict=True):
            deep = "rgb48le" if pixels.dtype == np.uint16 else "rgb24"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=deep).reformat(
                format=pix_fmt,
                dst_colorspace=matrix or 5,
                src_color_range=2,
                dst_color_range=2 if full or not pix_fmt.startswith("yuv") else 1,
                interpolation=_EXACT,
            )
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _write_tone(container, sound, float((times[-1] + 1) * time_base))
    return path


def _write_tone(container, stream, seconds, begin=Fraction(0)):
    for start in range(0, int(seconds * 48000), 960):
        wave = 0.3 * np.sin(np.arange(start, start + 960) / 48000 * 2 * np.pi * 440)
        frame = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start + int(begin * 48000), Fraction(1, 48000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def read_clip(path, form="rgb24", *, decoder=None, matrix=None):
    """Frames as arrays, and their exact times in seconds.

    Args:
        path: The clip.
        form: Of the arrays.
        decoder: Another one than the usual; `libvpx-vp9` decodes alpha.
        matrix: To convert with; None: what the frames state, else BT.601.
    """
    frames, times = [], []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = av.CodecContext.create(decoder, "r") if decoder else stream.codec_context
        for packet in container.demux(stream):
            for frame in context.decode(packet if packet.size else None):
                stated = frame.colorspace if frame.colorspace not in (0, 2) else 5
                pixels = frame.reformat(
                    format=form,
                    src_colorspace=matrix or stated,
                    src_color_range=frame.color_range or (2 if frame.format.is_rgb else 1),
                    dst_color_range=2,
                    interpolation=_EXACT,
                )
                frames.append(pixels.to_ndarray())
                times.append(frame.pts * stream.time_base)
    return frames, times


def packet_bytes(path, kind="audio"):
    """The bytes and the times in seconds of every packet of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [
            (bytes(packet), packet.pts * packet.time_base)
            for packet in container.demux(stream)
            if packet.dts is not None
        ]


_SUBTITLE_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, Alignment, Encoding
Style: Default,Arial,16,&Hffffff,2,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
_CODECS = {  # of pictures, sound and subtitles
    ".mkv": ("mpeg4", "libopus", "subrip"),
    ".mp4": ("mpeg4", "aac", "mov_text"),
    ".mov": ("mpeg4", "aac", "mov_text"),
    ".webm": ("libvpx-vp9", "libopus", "webvtt"),
}


def write_companions(path: Path, frames, *, start=Fraction(0), last_text=2) -> Path:
    """A clip at 10 frames per second with all that may go along with its pictures.

    Args:
        path: Its suffix says the container, and the codecs.
        frames: RGB.
        start: When pictures, sound, subtitles and chapters begin, in seconds.
        last_text: When the last subtitle begins, in seconds.
    """
    video, audio, text = _CODECS[path.suffix]
    milliseconds = Fraction(1, 1000)
    shift = int(start * 1000)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream(video, rate=10)
        pictures.height, pictures.width, pictures.pix_fmt = *frames[0].shape[:2], "yuv420p"
        sounds = [container.add_stream(audio, rate=48000, layout="mono") for _ in range(2)]
        sounds[0].metadata.update({"language": "eng", "title": "Main"})
        sounds[1].metadata["language"] = "spa"
        sounds[1].disposition = av.stream.Disposition.default
        texts = container.add_stream(text)
        texts.codec_context.subtitle_header = _SUBTITLE_HEADER
        texts.metadata["language"] = "fra"
        container.metadata.update({"title": "My film", "artist": "Me", "location": "+48.1+011.5/", "software": "x"})
        container.set_chapters(
            [
                {
                    "id": id_,
                    "start": begin + shift,
                    "end": end + shift,
                    "time_base": milliseconds,
                    "metadata": {"title": name},
                }
                for id_, begin, end, name in ((1, 0, 1000, "One"), (2, 1000, 3000, "Two"))
            ]
        )
        if path.suffix == ".mkv":
            container.add_attachment("font.ttf", "application/x-truetype-font", b"FONT")
            container.add_attachment("letter.txt", "text/plain", b"Dear all")
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels))
            frame.pts, frame.time_base = index + int(start * 10), Fraction(1, 10)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        for sound in sounds:
            _write_tone(container, sound, len(frames) / 10, start)
        for seconds in (0, 1, last_text):
            words = f"Hello {seconds}".encode()
            packet = av.Packet(len(words).to_bytes(2, "big") + words if text == "mov_text" else words)
            packet.stream, packet.time_base = texts, milliseconds
            packet.pts = packet.dts = seconds * 1000 + 100 + shift
            packet.duration = 500
            container.mux_one(packet)
    return path
