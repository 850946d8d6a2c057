"""Small clips, written and read with PyAV alone."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

__all__ = ["packet_bytes", "read_clip", "write_clip"]

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


def _write_tone(container, stream, seconds):
    for start in range(0, int(seconds * 48000), 960):
        wave = 0.3 * np.sin(np.arange(start, start + 960) / 48000 * 2 * np.pi * 440)
        frame = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
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
