"""A PNG encoder on numpy and zlib-ng: a big cut-out in a fraction of the time a general encoder takes.

A PNG is rows, each predicted from its neighbours by a *filter*, then deflated. Two things make this encoder fast.
The picture is cut into strips that are filtered and deflated on several threads. Each may look back into the strip
before it and ends at a whole byte, so that their deflate streams, put behind each other, are one stream that has
lost nothing. And the filter and the effort of deflate are chosen for the whole picture on a few sample strips.

The bytes depend on the pixels, on the library that deflates and its version; never on the number of cores. Where
zlib-ng is not installed, Python's own zlib takes its place: the same pixels, other bytes, twice the time.

Reference: Portable Network Graphics (PNG) Specification (Third Edition), W3C.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TypeVar

import numpy as np

from .errors import RangeError, ShapeError
from .types import AnyArray

deflater: ModuleType = zlib
with contextlib.suppress(ImportError):  # there are machines without a wheel of it
    from zlib_ng import zlib_ng

    deflater = zlib_ng

__all__ = ["encode_png"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels: gray, gray + alpha, RGB, RGBA
UP, AVERAGE, PAETH = 2, 3, 4

STRIP_BYTES = 1 << 19  # of filtered rows: what stays in a core's cache
SAMPLES = 6  # sample strips a picture is judged by, together at most a third of it
WINDOW = 1 << 15  # what deflate can look back
SAMPLE_BYTES = 1 << 16  # at most, of one sample strip: twice what deflate can look back
SMALL_BYTES = 1 << 18  # a picture up to here is its own sample
# A picture that deflates by this factor is flat: a mask, a drawing, much that is transparent. It deflates quickly at
# any level; and it may differ so much from strip to strip that run lengths, if the samples say that they are not much
# longer, are tried on each.
FLAT = 13
NEAR = 1.3
MAX_THREADS = 8

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class _Method:
    """One way to write rows: a filter, how hard deflate tries, and what its time is worth in size."""

    filter_type: int
    level: int
    strategy: int = zlib.Z_DEFAULT_STRATEGY
    price: float = 1.0


# Up suits masks and pictures that were JPEGs, Average noise, Paeth smooth colours. Noise holds no matches to be found:
# run lengths alone do as well in a third of the time. The filter Paeth takes as long as a search at level 5.
RUN_METHODS = (
    _Method(UP, 1, zlib.Z_RLE),
    _Method(AVERAGE, 1, zlib.Z_RLE),
    _Method(PAETH, 1, zlib.Z_RLE, price=1.02),
)
FAST_METHODS = (*RUN_METHODS, _Method(UP, 5), _Method(PAETH, 5, price=1.04))
SLOW_METHODS = (*RUN_METHODS, _Method(UP, 4, price=1.04), _Method(PAETH, 4, price=1.05))  # zlib searches half as fast


def encode_png(pixels: AnyArray, *, icc_profile: bytes | None = None, exif: bytes | None = None) -> bytes:
    r"""The bytes of a PNG file that holds exactly these pixels.

    Args:
        pixels: (H, W) or (H, W, C) uint8 or uint16, with C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA; alpha is
            straight, the largest value is opaque. It need not be contiguous and is not changed.
        icc_profile: An ICC profile that fits the pixels' colours.
        exif: EXIF data, with or without its leading `Exif` mark.

    Returns:
        The whole file. 16-bit pixels stay 16 bit. The same pixels always give the same bytes.

    Raises:
        ShapeError: Another number of axes or channels, or no pixels.
        RangeError: Another dtype.

    Examples:
        >>> encode_png(np.zeros((2, 3, 4), np.uint8))[:8]
        b'\x89PNG\r\n\x1a\n'
    """
    rows = _check_pixels(pixels)
    return b"".join([SIGNATURE, *_head(rows, icc_profile, exif), *_data(rows), _chunk(b"IEND", b"")])


def _check_pixels(pixels: AnyArray) -> AnyArray:
    """The same pixels with three axes."""
    rows = pixels[:, :, None] if pixels.ndim == 2 else pixels  # (H, W, C)
    if rows.ndim != 3 or rows.shape[2] not in COLOR_TYPES or rows.size == 0:
        raise ShapeError(
            "PNG pixels",
            expected="(H, W) or (H, W, 1 to 4) with at least one pixel",
            got=str(pixels.shape),
            hint="save each picture of a stack by itself",
        )
    if rows.dtype not in (np.uint8, np.uint16):
        raise RangeError(
            "PNG pixels",
            expected="uint8 or uint16",
            got=str(pixels.dtype),
            hint="for floats in [0, 1] use np.rint(255 * pixels).astype('uint8')",
        )
    return rows


def _head(rows: AnyArray, icc_profile: bytes | None, exif: bytes | None) -> Iterator[bytes]:
    height, width, channels = rows.shape
    depth = 8 * rows.dtype.itemsize
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, COLOR_TYPES[channels], 0, 0, 0))
    if icc_profile:
        yield _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc_profile))
    if exif:
        yield _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = deflater.crc32(data, zlib.crc32(kind))
    return b"".join([struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)])


def _data(rows: AnyArray) -> list[bytes]:
    """The rows as IDAT chunks, one for each strip, so that no chunk comes near the format's 2 GiB."""
    strips = _strips(len(rows), 1 + rows[0].nbytes)
    methods = _choose_methods(rows)
    packed = _in_threads(lambda strip: _pack(rows, strip, methods), strips)
    streams = [stream for stream, _, _ in packed]
    streams[0] = b"\x78\x01" + streams[0]  # the zlib header: deflate, 32 KiB window
    streams[-1] += struct.pack(">I", _joined_adler([(adler, size) for _, adler, size in packed]))
    return [_chunk(b"IDAT", stream) for stream in streams]


def _pack(rows: AnyArray, strip: tuple[int, int], methods: Sequence[_Method]) -> tuple[bytes, int, int]:
    """The shortest stream the methods make of a strip, and the Adler-32 and size in bytes of what it holds.

    Args:
        rows: The picture.
        strip: First and last + 1 row.
        methods: Of one filter.
    """
    top, bottom = strip
    before = min(top, -(-WINDOW // (1 + rows[0].nbytes)))  # rows that deflate can look back to
    filtered = _filtered(rows, (top - before, bottom), methods[0].filter_type)
    window, content = filtered[:before].reshape(-1)[-WINDOW:], filtered[before:]
    last = bottom == len(rows)
    tries = [_deflate(content, method, window=window, last=last) for method in methods]
    return min(tries, key=len), deflater.adler32(content.data), content.size


def _strips(height: int, row_bytes: int) -> list[tuple[int, int]]:
    """First and last + 1 row of each strip; a matter of the picture's size alone."""
    step = max(1, STRIP_BYTES // row_bytes)
    return [(top, min(top + step, height)) for top in range(0, height, step)]


def _choose_methods(rows: AnyArray) -> Sequence[_Method]:
    """The one method that serves best on sample strips, or those to try on each strip where the picture is flat."""
    samples = _samples(len(rows), 1 + rows[0].nbytes)

    def size(method: _Method) -> int:
        parts = (_filtered(rows, sample, method.filter_type) for sample in samples)
        return sum(len(_deflate(part, method)) for part in parts)

    methods = SLOW_METHODS if deflater is zlib else FAST_METHODS
    sizes = dict(zip(methods, _in_threads(size, methods), strict=True))
    best = min(methods, key=lambda method: sizes[method] * method.price)
    sampled = sum(bottom - top for top, bottom in samples) * rows[0].nbytes
    least = min(sizes.values())
    if FLAT * least >= sampled:
        return [best]
    runs = next(method for method in RUN_METHODS if method.filter_type == best.filter_type)
    thorough = replace(runs, level=6, strategy=zlib.Z_DEFAULT_STRATEGY)
    return [runs, thorough] if sizes[runs] < NEAR * least else [thorough]


def _samples(height: int, row_bytes: int) -> list[tuple[int, int]]:
    """Strips spread over the picture; all of it where it is small."""
    if height * row_bytes <= SMALL_BYTES:
        return [(0, height)]
    step = max(1, min(SAMPLE_BYTES // row_bytes, height // (3 * SAMPLES)))
    tops = (((2 * k + 1) * height // SAMPLES - step) // 2 for k in range(SAMPLES))
    return [(max(0, top), min(top + step, height)) for top in tops]


def _deflate(filtered: AnyArray, method: _Method, *, window: AnyArray | None = None, last: bool = False) -> bytes:
    """A piece of a deflate stream, up to a whole byte.

    Args:
        filtered: What it holds.
        method: How hard to try.
        window: What stands before it in the stream: it may be looked back to.
        last: Whether nothing follows.
    """
    before = {} if window is None or not window.size else {"zdict": window.data}
    memory = zlib.DEF_MEM_LEVEL + 1
    packer = deflater.compressobj(method.level, zlib.DEFLATED, -zlib.MAX_WBITS, memory, method.strategy, **before)
    return b"".join([packer.compress(filtered.data), packer.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)])


def _joined_adler(parts: Sequence[tuple[int, int]]) -> int:
    """The Adler-32 of all parts behind each other, from that of each and its size in bytes."""
    low, high = 1, 0
    for adler, size in parts:
        # The sums of a part count from 1; behind others they count from `low`, once for each byte in the high sum.
        high = (high + (adler >> 16) + size * (low - 1)) % 65521
        low = (low + (adler & 0xFFFF) - 1) % 65521
    return high << 16 | low


def _in_threads(work: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    """The work on each item, in order; numpy and zlib let go of the interpreter while they compute."""
    threads = min(len(items), os.cpu_count() or 1, MAX_THREADS)
    if threads == 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def _filtered(rows: AnyArray, strip: tuple[int, int], filter_type: int) -> AnyArray:
    """(rows, 1 + bytes of a row) uint8: each row's filter number, then its bytes less their prediction."""
    step = rows.shape[2] * rows.dtype.itemsize
    block = _row_bytes(rows, strip)
    above, current = block[:-1], block[1:]
    filtered = np.empty((len(current), 1 + current.shape[1]), np.uint8)
    filtered[:, 0] = filter_type
    _FILTERS[filter_type](current, above, step, filtered[:, 1:])
    return filtered


def _row_bytes(rows: AnyArray, strip: tuple[int, int]) -> AnyArray:
    """(1 + rows of the strip, bytes of a row) uint8, high byte first, led by the row above (zeros above the first)."""
    top, bottom = strip
    block = rows[max(top - 1, 0) : bottom]
    if block.dtype == np.uint16:
        block = block.astype(">u2")
    block = np.ascontiguousarray(block).reshape(len(block), -1).view(np.uint8)  # (rows, bytes)
    if top > 0:
        return block
    return np.concatenate([np.zeros_like(block[:1]), block])


def _subtract_up(current: AnyArray, above: AnyArray, step: int, out: AnyArray) -> None:
    del step
    np.subtract(current, above, out=out)


def _subtract_average(current: AnyArray, above: AnyArray, step: int, out: AnyArray) -> None:
    np.subtract(current[:, :step], above[:, :step] >> 1, out=out[:, :step])  # nothing stands left of the first pixel
    up, left = above[:, step:], current[:, :-step]
    average = up ^ left  # (up + left) // 2 as (up & left) + (up ^ left) // 2, which never leaves 8 bits
    np.right_shift(average, 1, out=average)
    np.add(average, up & left, out=average)
    np.subtract(current[:, step:], average, out=out[:, step:])


def _subtract_paeth(current: AnyArray, above: AnyArray, step: int, out: AnyArray) -> None:
    np.subtract(current[:, :step], above[:, :step], out=out[:, :step])  # with nothing left of it, Paeth is Up
    up, left, corner = above[:, step:], current[:, :-step], above[:, :-step]
    to_left = up.astype(np.int16) - corner
    to_up = left.astype(np.int16) - corner
    to_corner = np.abs(to_left + to_up)
    np.abs(to_left, out=to_left)
    np.abs(to_up, out=to_up)
    nearest = np.where(to_up <= to_corner, up, corner)
    np.copyto(nearest, left, where=(to_left <= to_up) & (to_left <= to_corner))
    np.subtract(current[:, step:], nearest, out=out[:, step:])


_FILTERS = {UP: _subtract_up, AVERAGE: _subtract_average, PAETH: _subtract_paeth}
