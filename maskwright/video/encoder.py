"""One piece of a clip, encoded by itself: its packets are those of the whole clip, whoever encoded the other pieces."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import MediaError
from ..types import AnyArray
from .codecs import Codec
from .colors import Colors, make_frame
from .library import load_av, writing

__all__ = ["PIECE_RATE", "PieceWriter"]

PIECE_RATE = 25  # frames per second in a piece, whatever the clip's: exact times are given when pieces are joined
_THREADS = 4  # fixed: some encoders divide a frame by them


class PieceWriter:
    """Encodes frames into a file of their own, the n-th at n / 25 seconds; use it as a context manager.

    Args:
        path: The file; its suffix says the container.
        codec: How.
        colors: What to write into it, and the matrix to use.
        aspect: Width to height of a pixel.
        quality: 1 to 100; None: the codec's usual.
    """

    def __init__(self, path: Path, codec: Codec, colors: Colors, aspect: Fraction, quality: int | None) -> None:
        self.path, self._codec, self._colors, self._aspect, self._quality = path, codec, colors, aspect, quality
        self._stream: Any = None
        self._count = 0
        with writing(path):
            self._container = load_av().open(str(path), "w", options={"fflags": "bitexact"})

    def __enter__(self) -> PieceWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with writing(self.path):
            if kind is None and self._stream is not None:
                self._container.mux(self._stream.encode(None))
            self._container.close()

    def write(self, pixels: AnyArray) -> None:
        """Encode one frame.

        Args:
            pixels: (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA; uint8 or uint16.

        Raises:
            MediaError: It has another size than the first, or cannot be encoded.
        """
        pixels = _evened(pixels) if self._codec.even else pixels
        with writing(self.path):
            stream = self._stream or self._open(pixels)
            if pixels.shape[:2] != (stream.height, stream.width):
                raise MediaError(
                    f"frame {self._count} of a piece",
                    expected=f"{stream.width} × {stream.height}",
                    got=f"{pixels.shape[1]} × {pixels.shape[0]}",
                    hint="all frames of a clip have one size",
                )
            frame = make_frame(pixels, self._colors, stream.pix_fmt)
            frame.pts, frame.time_base = self._count, Fraction(1, PIECE_RATE)
            self._count += 1
            self._container.mux(stream.encode(frame))

    def _open(self, pixels: AnyArray) -> Any:
        codec = self._codec
        options = codec.encoder_options(self._quality)
        stream = self._container.add_stream(codec.encoder, rate=PIECE_RATE, options=options)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = codec.gray if pixels.ndim == 2 else codec.alpha if pixels.shape[2] == 4 else codec.opaque
        context = stream.codec_context
        context.time_base = Fraction(1, PIECE_RATE)
        context.sample_aspect_ratio = self._aspect
        context.thread_count = _THREADS
        if stream.pix_fmt.startswith("yuv"):
            context.colorspace = self._colors.output_matrix
            context.color_primaries = self._colors.primaries
            context.color_trc = self._colors.transfer
            context.color_range = 1
        self._stream = stream
        return stream


def _evened(pixels: AnyArray) -> AnyArray:
    """The frame with its last row and column repeated where their number is odd."""
    height, width = pixels.shape[:2]
    if height % 2 == width % 2 == 0:
        return pixels
    margin = ((0, height % 2), (0, width % 2), *(((0, 0),) if pixels.ndim == 3 else ()))
    return np.pad(pixels, margin, mode="edge")
