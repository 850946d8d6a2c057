"""Files through Pillow, made safe: one error, no warnings, no global switches, and no second copy of a big picture.

This process may not be ours alone, so nothing of Pillow is changed for others: its pixel limit is neither asked nor
set, and no plug-in is registered.
"""

from __future__ import annotations

import contextlib
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image

from .errors import MediaError, TooManyPixels, UnknownFormat
from .metadata import color_converter, exif_orientation
from .types import AnyArray

__all__ = ["PILLOW_ERRORS", "Planes", "check_pixels", "decoding", "open_picture", "quiet", "read_planes"]

# What Pillow raises for broken files: its plug-ins index, unpack, inflate, allocate and convert what a file claims,
# and let through whatever these steps raise.
PILLOW_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

# Pictures made of pixels. Left out on purpose: EPS starts another program, WMF asks the system, others are stubs.
READ_FORMATS = (
    "PNG",
    "JPEG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "AVIF",
    "MPO",
    "ICO",
    "PPM",
    "JPEG2000",
    "DIB",
    "QOI",
    "PSD",
    "DDS",
    "ICNS",
    "CUR",
    "SGI",
    "PCX",
    "TGA",
)

HEIF_BRANDS = frozenset([b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"])
STRIP_PIXELS = 1 << 18

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Layouts whose 16 bits can be had, how the bytes of a sample stand, and where numpy has the high one.
DEEP_LAYOUTS = ("RGB;16", "RGBA;16", "LA;16")
LITTLE = sys.byteorder == "little"
OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if LITTLE else "L"}
HIGH_BYTE = 1 if LITTLE else 0


class Planes(NamedTuple):
    """A decoded picture.

    Attributes:
        image: (H, W, 3) uint8 or uint16 RGB, upright.
        alpha: (H, W) of the same dtype, or None.
        icc_profile: A profile for these RGB values, or None.
        notes: What a user may want to know.
    """

    image: AnyArray
    alpha: AnyArray | None
    icc_profile: bytes | None = None
    notes: tuple[str, ...] = ()


class _Quiet:
    """Silences Pillow's warnings while any thread decodes.

    `warnings.catch_warnings` alone is not for threads: of two that overlap, the one that leaves last would bring back
    the other's filters for good. So the first to enter sets the filter and the last to leave takes it away.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.|pillow_heif")

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._filters.__exit__(None, None, None)


quiet = _Quiet()


@contextlib.contextmanager
def decoding(name: str) -> Iterator[None]:
    """A block in which Pillow's warnings are silent and all its errors become one.

    Raises:
        MediaError: The file is damaged, cut off or too big for the memory.
    """
    with quiet:
        try:
            yield
        except MemoryError as error:
            raise MediaError(f"{name} does not fit into memory", hint="make it smaller first") from error
        except PILLOW_ERRORS as error:
            raise MediaError(
                f"{name} is damaged or cut off ({_reason(error)})", hint="copy or download it again"
            ) from error


def _reason(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def open_picture(file: IO[bytes], name: str, max_pixels: int) -> Image.Image:
    """A picture whose header is read and whose pixels, most often, are not, from a file that must stay open.

    Pillow's own `open` would measure the picture by a limit all users of the process share; this asks the same
    plug-ins directly.

    Raises:
        UnknownFormat: No plug-in knows the file.
        MediaError: The one that does finds it damaged, or it has too many pixels.
    """
    file.seek(0)
    prefix = file.read(16)
    if not prefix:
        raise MediaError(f"{name} is empty (0 bytes)", hint="copy or download it again")
    faults: list[str] = []
    for format_ in _installed_formats():
        image = _open_as(format_, file, prefix, faults)
        if image is not None:
            check_pixels(image.size, name, max_pixels)
            return image
    if prefix[4:8] == b"ftyp" and prefix[8:12] in HEIF_BRANDS:
        return _open_heif(file, name, max_pixels)
    if faults:
        raise MediaError(f"{name} is damaged or cut off ({faults[0]})", hint="copy or download it again")
    raise _not_a_picture(file, name)


def _installed_formats() -> Iterator[str]:
    """Names of formats to try: first those Pillow loads by itself, then, more slowly, the rest."""
    tried: set[str] = set()
    for register in (Image.preinit, Image.init):
        register()
        untried = [name for name in READ_FORMATS if name in Image.OPEN and name not in tried]
        tried.update(untried)
        yield from untried


def _open_as(format_: str, file: IO[bytes], prefix: bytes, faults: list[str]) -> Image.Image | None:
    """The picture, if the plug-in of this format takes the file; a fault is added where it should have and did not."""
    factory, accept = Image.OPEN[format_]
    answer = accept(prefix) if accept else True
    if isinstance(answer, str):  # the format is known, but its library is not built in
        faults.append(answer)
    if answer is False or isinstance(answer, str):
        return None
    file.seek(0)
    try:
        return factory(file, "")
    except (SyntaxError, IndexError, TypeError, struct.error):
        if accept:
            faults.append(f"its {format_} header makes no sense")
        return None


def check_pixels(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Nothing, if a picture of this width and height may be decoded.

    Raises:
        TooManyPixels: It has more pixels.
    """
    width, height = size
    if width * height > max_pixels:
        raise TooManyPixels(
            f"the size of {name}",
            expected=f"at most {max_pixels} pixels",
            got=f"{width} x {height} = {width * height}",
            hint="if you trust it, raise --max-pixels or MASKWRIGHT_MAX_PIXELS",
        )


def _open_heif(file: IO[bytes], name: str, max_pixels: int) -> Image.Image:
    """The main picture of a HEIC or HEIF file, decoded."""
    try:
        import pillow_heif
    except ImportError as error:
        raise UnknownFormat(
            f"{name} is a HEIC picture, and no reader for it is installed", hint='pip install "maskwright[heif]"'
        ) from error
    file.seek(0)
    heif = pillow_heif.open_heif(file)
    check_pixels(heif.size, name, max_pixels)
    image: Image.Image = heif.to_pillow()
    image.format = "HEIF"
    return image


def _not_a_picture(file: IO[bytes], name: str) -> UnknownFormat:
    file.seek(0)
    got, hint = _guess(file.read(1024))
    return UnknownFormat(name, expected="a picture", got=got, hint=hint)


def _guess(head: bytes) -> tuple[str, str]:
    """What the first bytes look like, and what to do about it."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "what looks like HTML", "a download may have saved an error page: fetch the picture itself"
    if b"<svg" in text:
        return "an SVG drawing", "draw it to a PNG first"
    if text.startswith(b"%pdf"):
        return "a PDF", "export the page as a PNG first"
    if head[4:8] == b"ftyp" or head.startswith((b"\x1aE\xdf\xa3", b"OggS")):
        return "a film", "take its frames out first, or pipe them into maskwright stream"
    if not head.strip(b"\0"):
        return "nothing but zero bytes", "copy or download it again"
    if head.isascii() and b"\0" not in head:
        return "text", "is it really a picture?"
    return (
        "bytes of no known format",
        "is it really a picture? PNG, JPEG, WebP, AVIF, TIFF, GIF, BMP, HEIC and others are read",
    )


def read_planes(image: Image.Image, name: str, file: IO[bytes] | None = None) -> Planes:
    """The pixels of a picture as arrays, upright; they are copied strip by strip, so that no third copy arises.

    Args:
        image: A picture in any of Pillow's modes.
        name: What to call it in an error.
        file: What `image` was just opened from, if it was: then 16-bit colours can be had.

    Raises:
        MediaError: Its numbers are not finite or fit no range.
    """
    deep = ";16" in _raw_mode(image) and not image.mode.startswith("I;16")
    if deep and file is not None:
        planes = _read_deep(image, file, name)
        if planes is not None:
            return planes
        image = open_picture(file, name, sys.maxsize)
    image.load()
    if image.mode.startswith("I;16"):
        return _gray_planes(_read_gray(image, np.uint16), image.info.get("transparency"))
    if image.mode in ("I", "F"):
        return _gray_planes(_scaled(_read_gray(image, np.float64), name), None)
    planes = _read_colors(image)
    return planes._replace(notes=(*planes.notes, "read at 8 of its 16 bits")) if deep else planes


def _read_colors(image: Image.Image) -> Planes:
    """What Pillow holds at 8 bits."""
    transparent = image.has_transparency_data
    convert, profile, notes = color_converter(image.mode, image.info.get("icc_profile"), transparent=transparent)
    pixels, alpha = _empty_planes(image, np.uint8, alpha=transparent)
    for rows, strip in _strips(image):
        values = np.asarray(convert(strip))  # (rows, W, 3 or 4)
        pixels[rows] = values[..., :3]
        if alpha is not None:
            alpha[rows] = values[..., 3]
    return Planes(pixels, alpha, profile, notes)


def _orientation(image: Image.Image) -> int:
    """How the rows of a loaded picture lie, EXIF's 1 to 8. Before it is loaded it may yet be turned by Pillow."""
    try:
        return exif_orientation(image.getexif())
    except PILLOW_ERRORS:
        return 1


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Rows of the upright picture and the piece of the stored one that holds them, turned."""
    orientation = _orientation(image)
    width, height = image.size
    sideways = orientation >= 5
    from_end = orientation in (3, 4, 7, 8)  # the first upright rows are the last that are stored
    rows, columns = (width, height) if sideways else (height, width)
    step = max(1, STRIP_PIXELS // columns)
    for top in range(0, rows, step):
        bottom = min(top + step, rows)
        start, end = (rows - bottom, rows - top) if from_end else (top, bottom)
        strip = image.crop((start, 0, end, height) if sideways else (0, start, width, end))
        yield slice(top, bottom), strip.transpose(TURNS[orientation]) if orientation in TURNS else strip


def _empty_planes(image: Image.Image, dtype: type[np.generic], *, alpha: bool) -> tuple[AnyArray, AnyArray | None]:
    """Room for the upright picture."""
    width, height = image.size
    size_hw = (width, height) if _orientation(image) >= 5 else (height, width)
    return np.empty((*size_hw, 3), dtype), np.empty(size_hw, dtype) if alpha else None


def _read_gray(image: Image.Image, dtype: type[np.generic]) -> AnyArray:
    """(H, W), upright: the only channel."""
    return np.concatenate([np.asarray(strip).astype(dtype) for _, strip in _strips(image)])


def _gray_planes(gray: AnyArray, clear: int | None) -> Planes:
    """Gray as RGB; the gray value that is `clear` becomes transparent."""
    alpha = None if clear is None else np.where(gray == clear, 0, np.iinfo(gray.dtype).max).astype(gray.dtype)
    return Planes(np.repeat(gray[..., None], 3, axis=2), alpha)  # (H, W, 3)


def _scaled(values: AnyArray, name: str) -> AnyArray:
    """(H, W) uint16 of values whose range is written nowhere: [0, 1], else [0, 255], else [0, 65535]."""
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise MediaError(f"the values of {name}", expected="finite", got="NaN or infinity", hint="mend them first")
    if low < 0 or high > 65535:
        raise MediaError(
            f"the values of {name}", expected="in [0, 65535]", got=f"[{low:g}, {high:g}]", hint="scale them to [0, 1]"
        )
    unit = 1 if high <= 1 else 255 if high <= 255 else 65535
    return np.rint(values * (65535 / unit)).astype(np.uint16)


def _raw_mode(image: Image.Image) -> str:
    """How the samples lie in the file, in Pillow's words; "" where it does not say or has read them."""
    tiles = getattr(image, "tile", [])
    if not tiles:
        return ""
    args = tiles[0].args
    return str(args[0] if isinstance(args, tuple) else args)


def _read_deep(image: Image.Image, file: IO[bytes], name: str) -> Planes | None:
    """The 16-bit colours of a picture Pillow reduces to 8 bits, or None where that cannot be had.

    Pillow keeps one byte of each 16-bit sample, the high one. Its raw modes say which that is: told that the bytes
    stand the other way round it keeps the low one, so that two passes give both.
    """
    layout, order = _raw_mode(image)[:-1], _raw_mode(image)[-1]
    if getattr(image, "n_frames", 1) > 1 or layout not in DEEP_LAYOUTS:
        return None
    profile = color_converter(image.mode, image.info.get("icc_profile"), transparent=False)[1]
    try:
        if layout == "LA;16":
            return _read_deep_gray(image)
        _load_as(image, layout + order)
        low = open_picture(file, name, sys.maxsize)
        _load_as(low, layout + OTHER_ORDER[order])
    except ValueError:  # another Pillow has no such raw mode
        return None
    pixels, alpha = _empty_planes(image, np.uint16, alpha=image.mode == "RGBA")
    _put_bytes(pixels, alpha, image, HIGH_BYTE)
    _put_bytes(pixels, alpha, low, 1 - HIGH_BYTE)
    clear = image.info.get("transparency")
    if alpha is None and clear is not None:
        alpha = np.where((pixels == np.array(clear)).all(axis=2), 0, 65535).astype(np.uint16)  # (H, W)
    return Planes(pixels, alpha, profile)


def _load_as(image: Any, raw_mode: str) -> None:
    """Read the pixels as if they lay in the file in this way."""
    image.tile = [
        tile._replace(args=(raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode)
        for tile in image.tile
    ]
    image.load()


def _put_bytes(pixels: AnyArray, alpha: AnyArray | None, image: Image.Image, byte: int) -> None:
    """Fill one of the two bytes of each 16-bit sample."""
    for rows, strip in _strips(image):
        values = np.asarray(strip)  # (rows, W, 3 or 4)
        pixels.view(np.uint8)[rows, :, byte::2] = values[..., :3]
        if alpha is not None:
            alpha.view(np.uint8)[rows, byte::2] = values[..., 3]


def _read_deep_gray(image: Any) -> Planes:
    """Gray and alpha of 16 bits are four bytes a pixel: read as if they were RGBA of 8."""
    image._mode = "RGBA"
    _load_as(image, "RGBA")
    pixels, _ = _empty_planes(image, np.uint16, alpha=False)
    alpha = np.empty(pixels.shape[:2], np.uint16)
    for rows, strip in _strips(image):
        values = np.ascontiguousarray(strip).view(">u2")  # (rows, W, 2)
        pixels[rows], alpha[rows] = values[..., :1], values[..., 1]
    return Planes(pixels, alpha)
