"""Pictures in and out: whatever holds a picture becomes a `LoadedImage`; a `Cutout` saves itself.

What is read is upright, RGB and not premultiplied, in all the bits its file has. What is written is the whole file or
nothing, keeps the colour profile, and tells neither where a picture was taken nor what its background was.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from PIL import Image

from .decode import PILLOW_ERRORS, check_pixels, decoding, open_picture, read_planes
from .encode import (
    ANIMATION_FORMATS,
    OUTPUT_FORMATS,
    choose_format,
    encode_frames,
    encode_picture,
    write_bytes,
)
from .errors import MediaError, OptionError, RangeError, ShapeError
from .metadata import clean_exif
from .types import AnyArray, BBox, FloatArray, Provenance, check_mask, check_same_size, to_8_bit

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "OUTPUT_FORMATS",
    "Cutout",
    "ImageSource",
    "LoadedImage",
    "load_frames",
    "load_image",
    "load_mask",
    "measure_image",
    "save_animation",
    "save_mask",
    "write_bytes",
]

DEFAULT_MAX_PIXELS = 178_956_970  # a quarter gibibyte of RGB, Pillow's own measure of what is no picture any more
ANIMATED_FORMATS = frozenset(["AVIF", "GIF", "PNG", "TIFF", "WEBP"])  # others mean something else by frames


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """A picture as all rooms see it.

    Attributes:
        image: (H, W, 3) uint8 or uint16 RGB, upright, not premultiplied. Not to be written to: it may be the caller's.
        alpha: (H, W) of the same dtype, 0 = transparent; None where the source has no alpha.
        icc_profile: An ICC profile that is valid for these RGB values, or None.
        exif: EXIF data without place, thumbnail and maker's block, or None.
        format: The file's format, such as `PNG`; None for arrays and pictures made in memory.
        frames: How many pictures the source holds; this is one of them.
        notes: What a user may want to know, such as that only the first frame was read.
        mode: Pillow's name for what the source held, such as `L` for one channel.
    """

    image: AnyArray
    alpha: AnyArray | None
    icc_profile: bytes | None
    exif: bytes | None
    format: str | None
    frames: int = 1
    notes: tuple[str, ...] = ()
    mode: str = "RGB"

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.image.shape[:2]
        return height, width


ImageSource: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | AnyArray | LoadedImage | IO[bytes]
)


def load_image(source: ImageSource, *, max_pixels: int | None = None, keep_gps: bool = False) -> LoadedImage:
    """The picture a source holds; of several frames the first.

    Args:
        source: A path, the bytes of a file, a binary file, a PIL image, or an array: (H, W), (H, W, 1), (H, W, 2) gray
            and alpha, (H, W, 3) or (H, W, 4), of uint8, uint16, bool, or float in [0, 1], which becomes uint8.
            A `LoadedImage` comes back as it is.
        max_pixels: Refuse files with more pixels; by default MASKWRIGHT_MAX_PIXELS or 178 956 970.
        keep_gps: Keep in the EXIF data where the picture was taken.

    Raises:
        MediaError: There is no such file, it holds no picture, is damaged, or has too many pixels.
        ShapeError: The array has other axes, or no pixels.
        RangeError: The array has another dtype or is out of range, or the limit is below 1.
        OptionError: The source is of another type, or MASKWRIGHT_MAX_PIXELS is no number.

    Examples:
        >>> load_image(np.zeros((2, 3, 4))).size_hw
        (2, 3)
    """
    if isinstance(source, LoadedImage):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source)
    with _opened(source, _pixel_limit(max_pixels)) as opened:
        frames = opened.count_frames()
        return opened.load(keep_gps=keep_gps, frames=frames)


def measure_image(source: ImageSource, *, max_pixels: int | None = None) -> tuple[int, int]:
    """Height and width of a picture in pixels as its header states them, before it is turned upright.

    Args:
        source: As for `load_image`.
        max_pixels: As for `load_image`.

    Raises:
        MediaError, ShapeError, RangeError, OptionError: As for `load_image`, but for damage behind the header.
    """
    if isinstance(source, (LoadedImage, np.ndarray)):
        return load_image(source).size_hw
    with _opened(source, _pixel_limit(max_pixels)) as opened:
        width, height = opened.image.size
        return height, width


def load_frames(
    source: ImageSource, *, max_pixels: int | None = None, keep_gps: bool = False
) -> Iterator[tuple[LoadedImage, int]]:
    """Every frame, fully composed, with the milliseconds it is shown; a still picture is one frame of 0 ms.

    Args:
        source: As for `load_image`.
        max_pixels: Refuse files with more pixels in a frame.
        keep_gps: Keep in the EXIF data where the picture was taken.

    Raises:
        MediaError: As for `load_image`, also while the frames are read.
        ShapeError, RangeError, OptionError: As for `load_image`.
    """
    if isinstance(source, (LoadedImage, np.ndarray)):
        yield load_image(source), 0
        return
    with _opened(source, _pixel_limit(max_pixels)) as opened:
        frames = opened.count_frames()
        # An APNG may lead with a picture for those who cannot play it.
        first = 1 if frames > 1 and getattr(opened.image, "default_image", False) else 0
        for frame in range(first, frames):
            loaded = opened.load(keep_gps=keep_gps, frames=frames, frame=frame)
            yield loaded, round(opened.image.info.get("duration") or 0) if frames > 1 else 0


def load_mask(source: ImageSource, *, max_pixels: int | None = None) -> FloatArray:
    """A mask, (H, W) float32 in [0, 1]: the alpha of the source where it has one, else its brightness.

    Args:
        source: As for `load_image`.
        max_pixels: As for `load_image`.

    Raises:
        MediaError, ShapeError, RangeError, OptionError: As for `load_image`.
    """
    loaded = load_image(source, max_pixels=max_pixels)
    values = loaded.alpha if loaded.alpha is not None else _brightness(loaded.image)
    return np.asarray(values / np.float32(np.iinfo(loaded.image.dtype).max), np.float32)


def save_mask(mask: FloatArray, path: str | os.PathLike[str] | None = None, *, format: str | None = None) -> bytes:  # noqa: A002
    """The bytes of a mask as a gray picture of 8 bits, which stand at the path too where one is given.

    Args:
        mask: (H, W) float in [0, 1], 1 = selected; white in the picture.
        path: Where to write it.
        format: One of `OUTPUT_FORMATS`; by default what the path's suffix says, else PNG.

    Raises:
        ShapeError, RangeError: It is no mask.
        OptionError: There is no such format.
        MediaError: It cannot be written.
    """
    target = None if path is None else Path(path)
    data = encode_picture(_quantized(check_mask(mask), np.uint8), choose_format(format, target))
    if target is not None:
        write_bytes(target, data)
    return data


def _brightness(image: AnyArray) -> AnyArray:
    """(H, W) luma; of gray exactly the gray, since the weights add up to one."""
    return np.asarray(np.rint(image @ np.array([0.299, 0.587, 0.114])))


def _quantized(values: FloatArray, dtype: Any) -> AnyArray:
    """[0, 1] over the whole range of an integer type, half to even."""
    wide = np.float32 if np.iinfo(dtype).bits == 8 and values.itemsize <= 4 else np.float64
    scaled = np.multiply(values, np.iinfo(dtype).max, dtype=wide)
    return np.rint(scaled, out=scaled).astype(dtype)


def _pixel_limit(max_pixels: int | None) -> int:
    setting = os.environ.get("MASKWRIGHT_MAX_PIXELS", "")
    if max_pixels is None and setting:
        if not setting.strip().isdecimal():
            raise OptionError("MASKWRIGHT_MAX_PIXELS", expected="a whole number", got=repr(setting), hint="unset it")
        max_pixels = int(setting)
    limit = DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels
    if limit < 1:
        raise RangeError("the pixel limit", expected="at least 1", got=str(limit), hint="leave it out for the default")
    return limit


@dataclass
class _Opened:
    """A picture whose header has been read.

    Attributes:
        image: The picture.
        name: What to call it in an error.
        file: What it was opened from; None where it was handed in as a PIL image.
    """

    image: Image.Image
    name: str
    file: IO[bytes] | None

    def count_frames(self) -> int:
        """How many frames there are; one where the picture was handed in with a frame already chosen."""
        with decoding(self.name):
            return int(getattr(self.image, "n_frames", 1)) if self.image.format in ANIMATED_FORMATS else 1

    def load(self, *, keep_gps: bool, frames: int, frame: int | None = None) -> LoadedImage:
        """One frame; without a number the one that stands ready."""
        with decoding(self.name):
            if frame is not None and frames > 1:
                self.image.seek(frame)
            planes = read_planes(self.image, self.name, self.file)
            exif, notes = self._exif(keep_gps=keep_gps)
        if frame is None and frames > 1:
            notes = (f"only the first of {frames} frames was read", *notes)
        return LoadedImage(
            image=planes.image,
            alpha=planes.alpha,
            icc_profile=planes.icc_profile,
            exif=exif,
            format="JPEG" if self.image.format == "MPO" else self.image.format,
            frames=frames,
            notes=(*planes.notes, *notes),
            mode=self.image.mode,
        )

    def _exif(self, *, keep_gps: bool) -> tuple[bytes | None, tuple[str, ...]]:
        try:
            return clean_exif(self.image.getexif(), keep_gps=keep_gps), ()
        except PILLOW_ERRORS:
            return None, ("the EXIF data is damaged and was left out",)


@contextlib.contextmanager
def _opened(source: ImageSource, max_pixels: int) -> Iterator[_Opened]:
    """The picture of a source that is no array; what is the caller's is left open, and at the frame where it stood."""
    if isinstance(source, Image.Image):
        name, frame = str(getattr(source, "filename", "") or "the image"), source.tell()
        check_pixels(source.size, name, max_pixels)
        try:
            yield _Opened(source, name, None)
        finally:
            if source.tell() != frame:
                source.seek(frame)
        return
    with contextlib.ExitStack() as stack:
        file, name = _open_file(source, stack)
        with decoding(name):
            image = open_picture(file, name, max_pixels)
        yield _Opened(image, name, file)


def _open_file(source: Any, stack: contextlib.ExitStack) -> tuple[IO[bytes], str]:
    """A file to read and seek in, and its name."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source), "the picture"
    if isinstance(source, (str, os.PathLike)):
        return stack.enter_context(_open_path(Path(source))), str(source)
    if not hasattr(source, "read"):
        raise OptionError(
            "a picture",
            expected="a path, bytes, a binary file, a PIL image or a numpy array",
            got=type(source).__name__,
            hint="turn it into one of these first",
        )
    name = str(getattr(source, "name", "") or "the picture")
    with decoding(name):
        if getattr(source, "seekable", bool)():
            source.seek(0)
        data = source.read()
    if not isinstance(data, bytes):
        raise OptionError(name, expected="a file opened in binary mode", got="a text file", hint="open(path, 'rb')")
    return io.BytesIO(data), name


def _open_path(path: Path) -> IO[bytes]:
    """The opened file.

    Raises:
        MediaError: It is not there, is a folder or may not be read.
    """
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        remote = str(path).startswith(("http:", "https:"))
        raise MediaError(
            str(path),
            expected="an existing file",
            got="nothing at that path",
            hint="addresses are not fetched: download it first" if remote else "check the spelling and the folder",
        ) from error
    except IsADirectoryError as error:
        raise MediaError(
            str(path), expected="a file", got="a folder", hint="for folders use the batch command"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{path} cannot be read ({reason})", hint="check who may read it") from error


def _from_array(source: AnyArray) -> LoadedImage:
    """An array as a picture; where nothing needs to be converted it is a read-only view of the caller's."""
    pixels = _to_integers(_with_channels(source))
    image = pixels[..., :-1] if pixels.shape[2] in (2, 4) else pixels
    alpha = pixels[..., -1] if pixels.shape[2] in (2, 4) else None
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)  # (H, W, 3)
    image = np.ascontiguousarray(image).view()
    image.flags.writeable = False
    alpha = None if alpha is None else np.ascontiguousarray(alpha)
    mode = "RGB" if source.ndim == 3 and source.shape[2] > 2 else "L"
    return LoadedImage(image=image, alpha=alpha, icc_profile=None, exif=None, format=None, mode=mode)


def _with_channels(source: AnyArray) -> AnyArray:
    """(H, W, 1 to 4)."""
    pixels = source[:, :, None] if source.ndim == 2 else source  # (H, W, C)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or pixels.size == 0:
        raise ShapeError(
            "a picture's array",
            expected="(H, W), (H, W, 1), (H, W, 2) gray and alpha, (H, W, 3) or (H, W, 4) with at least one pixel",
            got=str(source.shape),
            hint="channels come last, and one picture at a time",
        )
    return pixels


def _to_integers(pixels: AnyArray) -> AnyArray:
    """uint8, or uint16 as it is."""
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if pixels.dtype == np.bool_:
        return np.asarray(pixels * np.uint8(255), np.uint8)
    if pixels.dtype.kind != "f":
        raise RangeError(
            "a picture's array",
            expected="uint8, uint16, bool or float in [0, 1]",
            got=str(pixels.dtype),
            hint="for values up to 255 use .astype('uint8')",
        )
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0.0 and high <= 1.0):  # written so that NaN fails too
        raise RangeError(
            "a picture's array of floats",
            expected="in [0, 1]",
            got=f"[{low:g}, {high:g}]",
            hint="divide it by 255, or give uint8",
        )
    return _quantized(pixels, np.uint8)


@dataclass(frozen=True, eq=False)
class Cutout:
    """A subject without its background.

    Attributes:
        rgba: (H, W, 4) uint8 or uint16, straight alpha.
        alpha: (H, W) float32 in [0, 1], 1 = opaque: the opacity before a background colour was put under.
        mask: (H, W) float32 in [0, 1], 1 = selected: the mask before matting.
        provenance: What computed it.
        icc_profile: An ICC profile that is valid for the colours.
        exif: EXIF data that is kept.
        only_mask: Saved and converted, it is its alpha as a gray picture.
        masks: Part name to mask, where the model knows parts.
        frames: How many pictures the source held; this is one of them.
        notes: What a user may want to know.
        crop_region: (x1, y1, x2, y2) in pixels of the picture, half-open: where this lies in it, for putting it
            back; may reach beyond the picture. None: it is the whole picture.
    """

    rgba: AnyArray
    alpha: FloatArray
    mask: FloatArray
    provenance: Provenance
    icc_profile: bytes | None = None
    exif: bytes | None = None
    only_mask: bool = False
    masks: Mapping[str, FloatArray] = field(default_factory=dict)
    frames: int = 1
    notes: tuple[str, ...] = ()
    crop_region: BBox | None = None

    @property
    def foreground(self) -> AnyArray:
        """(H, W, 3) in `rgba`'s dtype: its colours, a view."""
        return self.rgba[..., :3]

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,  # noqa: A002
        quality: int | None = None,
    ) -> Path:
        """The path, once the whole file stands there.

        Args:
            path: Where to write it; its suffix says the format.
            format: One of `OUTPUT_FORMATS`, whatever the suffix.
            quality: 1 to 100 for lossy formats, 90 by default. WebP is lossless unless a quality is given.

        Raises:
            OptionError: There is no such format, or it cannot hold this: transparency in a JPEG, 16 bits but in PNG.
            RangeError: The quality is none.
            MediaError: It cannot be encoded or written.
        """
        target = Path(path)
        return write_bytes(target, self.to_bytes(choose_format(format, target), quality=quality))

    def to_bytes(self, format: str = "png", *, quality: int | None = None) -> bytes:  # noqa: A002
        """The bytes of a picture file.

        Args:
            format: One of `OUTPUT_FORMATS`.
            quality: As for `save`.

        Raises:
            OptionError, RangeError, MediaError: As for `save`.
        """
        name = choose_format(format)
        if self.only_mask:  # a colour profile does not fit gray, and a mask is no photograph
            return encode_picture(self._gray(), name, quality=quality)
        return encode_picture(self.rgba, name, quality=quality, icc_profile=self.icc_profile, exif=self.exif)

    def to_pil(self) -> Image.Image:
        """An RGBA picture of 8 bits, with its colour profile; a gray one where only the mask is wanted."""
        if self.only_mask:
            return Image.fromarray(to_8_bit(self._gray()))
        pixels = np.ascontiguousarray(to_8_bit(self.rgba))
        if self.rgba.dtype != pixels.dtype:  # what was barely there in 16 bits is gone in 8, and so is its colour
            pixels[(pixels[..., 3] == 0) & (self.rgba[..., 3] > 0)] = 0
        image = Image.fromarray(pixels)
        if self.icc_profile is not None:
            image.info["icc_profile"] = self.icc_profile
        return image

    def _gray(self) -> AnyArray:
        return _quantized(self.alpha, self.rgba.dtype)


def save_animation(
    cutouts: Sequence[Cutout],
    durations_ms: Sequence[float],
    path: str | os.PathLike[str] | None = None,
    format: str | None = None,  # noqa: A002
    *,
    quality: int | None = None,
) -> bytes:
    """The bytes of an animation that repeats for ever, which stand at the path too where one is given.

    Args:
        cutouts: Its frames, all of one size; those of 16 bits are reduced to 8.
        durations_ms: How long each is shown, in milliseconds.
        path: Where to write it.
        format: `webp`, `png` (APNG) or `gif`; by default what the path's suffix says, else PNG.
        quality: 1 to 100 for WebP, 90 by default.

    Raises:
        OptionError: No frames, as many durations as there are not frames, or a format without animations.
        ShapeError: The frames differ in size.
        RangeError: The quality is none, or a duration is below 0.
        MediaError: It cannot be encoded or written.
    """
    target = None if path is None else Path(path)
    name = choose_format(format, target, ANIMATION_FORMATS)
    if not cutouts or len(cutouts) != len(durations_ms):
        raise OptionError(
            "an animation",
            expected="one or more frames with a duration each",
            got=f"{len(cutouts)} frames and {len(durations_ms)} durations",
            hint="durations are milliseconds, one for each frame",
        )
    for cutout in cutouts:
        check_same_size(cutouts[0].rgba, cutout.rgba, ("the first frame", "a frame"))
    frames = [np.asarray(cutout.to_pil()) for cutout in cutouts]
    data = encode_frames(frames, durations_ms, name, quality=quality, icc_profile=cutouts[0].icc_profile)
    if target is not None:
        write_bytes(target, data)
    return data
