"""How a clip's numbers stand for colours: the matrix between YUV and RGB, the range, and the display's own facts.

Every frame is converted with the matrix and range that its clip states. Where it states none, the matrix is BT.709
from 720 rows on and BT.601 below, and the range is limited, which is what players assume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..types import AnyArray
from .library import load_av

__all__ = ["Colors", "frame_to_array", "make_frame", "read_colors"]

_RGB, _BT709, _UNSPECIFIED, _BT601 = 0, 1, 2, 6  # numbers of ITU-T H.273
_LIMITED, _FULL = 1, 2  # numbers of FFmpeg
_SD_ROWS = 720  # below, a clip that states no matrix has that of BT.601
_EXACT = 4 | 0x2000 | 0x4000 | 0x40000 | 0x80000  # bicubic, all chroma in and out, exact rounding, the same everywhere


@dataclass(frozen=True)
class Colors:
    """What is stated of a clip's colours, as the numbers of ITU-T H.273.

    Attributes:
        matrix: Between YUV and RGB.
        primaries: Which red, green and blue.
        transfer: From values to light.
        range: 1 = limited, 16 to 235 of 8 bits; 2 = full.
    """

    matrix: int = _BT709
    primaries: int = _UNSPECIFIED
    transfer: int = _UNSPECIFIED
    range: int = _LIMITED

    @property
    def output_matrix(self) -> int:
        """The matrix to write with: the clip's own, BT.709 where it is RGB."""
        return self.matrix if self.matrix != _RGB else _BT709


def read_colors(frame: Any) -> Colors:
    """What a decoded frame states, and what is assumed where it does not."""
    stated = frame.color_range
    is_rgb = frame.format.is_rgb
    range_ = stated if stated in (_LIMITED, _FULL) else _FULL if is_rgb or frame.format.name[:4] == "yuvj" else _LIMITED
    matrix = frame.colorspace
    if is_rgb:
        matrix = _RGB
    elif matrix in (_RGB, _UNSPECIFIED, 3):
        matrix = _BT709 if frame.height >= _SD_ROWS else _BT601
    return Colors(int(matrix), int(frame.color_primaries), int(frame.color_trc), int(range_))


def frame_to_array(frame: Any, colors: Colors, format_: str) -> AnyArray:
    """The pixels of a decoded frame.

    Args:
        frame: PyAV's.
        colors: From `read_colors`.
        format_: `rgb24`, `rgba`, `rgb48le` or `rgba64le`.

    Returns:
        (H, W, 3 or 4) uint8 or uint16.
    """
    converted = frame.reformat(
        format=format_,
        src_colorspace=colors.output_matrix,
        src_color_range=colors.range,
        dst_color_range=_FULL,
        interpolation=_EXACT,
    )
    pixels: AnyArray = converted.to_ndarray()
    return pixels


def make_frame(pixels: AnyArray, colors: Colors, format_: str) -> Any:
    """PyAV's frame of the pixels, in limited range, or as they are where the format is gray or RGB.

    Args:
        pixels: (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA; uint8 or uint16.
        colors: The matrix to use.
        format_: What the codec takes, such as `yuv420p`.
    """
    deep = pixels.dtype.itemsize == 2
    names = {2: "gray16le" if deep else "gray"}
    name = (
        names.get(pixels.ndim)
        or {3: "rgb48le" if deep else "rgb24", 4: "rgba64le" if deep else "rgba"}[pixels.shape[2]]
    )
    frame = load_av().VideoFrame.from_ndarray(pixels, format=name)
    if format_ == name:
        return frame
    return frame.reformat(
        format=format_,
        dst_colorspace=colors.output_matrix,
        src_color_range=_FULL,
        dst_color_range=_LIMITED if format_.startswith("yuv") else _FULL,
        interpolation=_EXACT,
    )
