"""Arrays to files: the formats that can be written, and writing that leaves either the whole file or none."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .decode import PILLOW_ERRORS, quiet
from .errors import Error, MediaError, OptionError, RangeError
from .metadata import plain_exif
from .png import encode_png
from .types import AnyArray

__all__ = [
    "ANIMATION_FORMATS",
    "OUTPUT_FORMATS",
    "choose_format",
    "encode_frames",
    "encode_picture",
    "write_bytes",
]

OUTPUT_FORMATS = ("png", "webp", "jpeg", "tiff", "avif", "gif")
ANIMATION_FORMATS = ("webp", "png", "gif")
ALIASES = {"jpg": "jpeg", "jpe": "jpeg", "tif": "tiff", "apng": "png"}

LOSSY_QUALITY = 90
# Effort 1 of 6 takes half the time of the usual 4 and gives files half a percent bigger. `exact`: without it the
# encoder is free to fill what is transparent.
LOSSLESS_WEBP = {"lossless": True, "exact": True, "method": 1, "quality": 50}
GIF_OPAQUE_FROM = 128  # GIF knows no half transparent pixels


def choose_format(format: str | None, path: Path | None = None, among: Sequence[str] = OUTPUT_FORMATS) -> str:  # noqa: A002
    """The name of the format to write: the one asked for, else the one of the path's suffix, else PNG.

    Args:
        format: Such as `png`, `jpg` or `.WEBP`.
        path: Where it is to be written; its suffix counts where no format is asked for.
        among: The formats to choose from.

    Raises:
        OptionError: There is no such format.
    """
    wanted = (format or (path.suffix if path is not None else "") or "png").lower().removeprefix(".")
    name = ALIASES.get(wanted, wanted)
    if name in among:
        return name
    import difflib

    offered = [*among, *(alias for alias, meant in ALIASES.items() if meant in among)]
    near = difflib.get_close_matches(name, offered, 1)
    raise OptionError(
        "format",
        expected=f"one of {', '.join(among)}",
        got=repr(wanted),
        hint=f"did you mean {near[0]}?" if near else "name the file .png",
    )


def encode_picture(
    pixels: AnyArray,
    format: str,  # noqa: A002
    *,
    quality: int | None = None,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
) -> bytes:
    """The bytes of a picture file.

    Args:
        pixels: (H, W) gray or (H, W, 4) straight RGBA, uint8 or uint16.
        format: One of `OUTPUT_FORMATS`.
        quality: 1 to 100 for JPEG, AVIF and, then no longer lossless, WebP. Others take no notice of it.
        icc_profile: An ICC profile that fits the colours.
        exif: EXIF data, led by `Exif`. A TIFF keeps only its texts and resolution.

    Raises:
        OptionError: The format cannot hold these pixels: 16 bits, or transparency in a JPEG.
        RangeError: The quality is none.
        MediaError: The encoder failed.
    """
    _check_quality(quality)
    if format == "png":
        return encode_png(pixels, icc_profile=icc_profile, exif=exif)
    if pixels.dtype == np.uint16 and not (format == "tiff" and pixels.ndim == 2):
        raise OptionError(
            "a 16-bit picture", expected="written as PNG", got=format, hint="name it .png, or leave depth at 8"
        )
    if format == "jpeg" and pixels.ndim == 3:
        pixels = _opaque(pixels)
    image = Image.fromarray(_hard_edged(pixels) if format == "gif" else pixels)
    extras = {"icc_profile": icc_profile, "exif": plain_exif(exif) if exif and format == "tiff" else exif}
    return _saved(image, format, {**_options(format, quality), **{k: v for k, v in extras.items() if v}})


def _check_quality(quality: int | None) -> None:
    if quality is not None and (not isinstance(quality, int) or not 1 <= quality <= 100):
        raise RangeError(
            "quality",
            expected="a whole number, 1 to 100",
            got=str(quality),
            hint="90 is hard to tell from the original",
        )


def _options(format_: str, quality: int | None) -> dict[str, Any]:
    """What to tell Pillow."""
    if format_ == "webp":
        return dict(LOSSLESS_WEBP) if quality is None else {"quality": quality, "exact": True}
    if format_ == "tiff":
        return {"compression": "tiff_adobe_deflate"}
    return {} if format_ == "gif" else {"quality": quality or LOSSY_QUALITY}


def _opaque(pixels: AnyArray) -> AnyArray:
    """(H, W, 3): the colours of a picture without transparency."""
    if pixels[..., 3].min() < 255:
        raise OptionError(
            "a JPEG",
            expected="opaque",
            got="transparent pixels",
            hint="put a colour under it (--bgcolor 255 255 255 255), or name it .png",
        )
    return np.ascontiguousarray(pixels[..., :3])


def _hard_edged(pixels: AnyArray) -> AnyArray:
    """Pixels that are either opaque, or transparent and black; gray ones as they are."""
    if pixels.ndim == 2:
        return pixels
    opaque = pixels[..., 3:] >= GIF_OPAQUE_FROM  # (H, W, 1)
    return np.where(opaque, pixels | np.array([0, 0, 0, 255], np.uint8), np.uint8(0))


def _saved(image: Image.Image, format_: str, options: Mapping[str, Any]) -> bytes:
    """What Pillow writes. Not for PNG, except animated."""
    buffer = io.BytesIO()
    try:
        with quiet:
            image.save(buffer, format_, **options)
    except PILLOW_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise MediaError(
            f"a picture of {image.width} x {image.height} could not be written as {format_} ({reason})",
            hint="write it as PNG, which knows no limits",
        ) from error
    return buffer.getvalue()


def encode_frames(
    frames: Sequence[AnyArray],
    durations_ms: Sequence[float],
    format: str,  # noqa: A002
    *,
    quality: int | None = None,
    icc_profile: bytes | None = None,
) -> bytes:
    """The bytes of an animation that repeats for ever.

    Args:
        frames: Each (H, W) gray or (H, W, 4) straight RGBA, uint8, all of one size.
        durations_ms: How long each is shown, in milliseconds. What a format rounds does not add up: GIF counts
            hundredths of a second.
        format: One of `ANIMATION_FORMATS`.
        quality: 1 to 100 for WebP.
        icc_profile: An ICC profile that fits the colours.

    Raises:
        RangeError: The quality is none, or a duration is below 0.
        MediaError: The encoder failed.
    """
    _check_quality(quality)
    if min(durations_ms) < 0:
        raise RangeError("a frame's duration", expected="at least 0 ms", got=f"{min(durations_ms):g}", hint="use 0")
    images = [Image.fromarray(_hard_edged(frame) if format == "gif" else frame) for frame in frames]
    first, *rest = [image.convert("RGB") if image.mode == "L" else image for image in images]  # Pillow has no gray APNG
    options: dict[str, Any] = {
        "save_all": True,
        "append_images": rest,
        "duration": _rounded(durations_ms, 10 if format == "gif" else 1),
        "loop": 0,
    }
    if icc_profile:
        options["icc_profile"] = icc_profile
    # Each frame replaces the one before it: laid over it, the old would shine through where the new is transparent.
    by_format: dict[str, dict[str, Any]] = {
        "webp": {"quality": quality or LOSSY_QUALITY, "exact": True},
        "png": {"disposal": 1, "blend": 0},
        "gif": {"disposal": 2},
    }
    return _saved(first, format, {**options, **by_format[format]})


def _rounded(durations_ms: Sequence[float], unit: int) -> list[int]:
    """Durations in whole units; each end is rounded, not each duration, so that a film keeps its length."""
    ends = np.rint(np.cumsum([0.0, *durations_ms]) / unit).astype(int) * unit
    return [int(duration) for duration in np.diff(ends)]


def write_bytes(path: str | os.PathLike[str], data: bytes, *, scratch: Path | None = None) -> Path:
    """The path, once the whole file stands there.

    The bytes go to a new file first, which takes the name only when they are safe on the disk. If anything goes
    wrong, what stood there before is untouched.

    Args:
        path: A file, new or not. A pipe or device is written to as it is.
        data: All of it.
        scratch: The folder of the new file, on the same disk; None: the path's own.

    Raises:
        MediaError: There is no such folder, it is a folder, or it cannot be written.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise _no_folder_wanted(path)
        if path.exists() and not path.is_file():
            path.write_bytes(data)
        else:
            _replace(Path(os.path.realpath(path)), data, scratch)
    except (OSError, ValueError) as error:
        if isinstance(error, Error):
            raise
        raise _unwritable(path, error) from error
    return path


def _replace(path: Path, data: bytes, scratch: Path | None) -> None:
    temporary = (scratch or path.parent) / f".maskwright-{os.urandom(8).hex()}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):  # a file that is replaced keeps its permissions
            shutil.copymode(path, temporary)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _no_folder_wanted(path: Path) -> MediaError:
    return MediaError(str(path), expected="a file", got="a folder", hint=f"name a file in it: {path / 'cutout.png'}")


def _unwritable(path: Path, error: Exception) -> MediaError:
    if isinstance(error, FileNotFoundError):
        return MediaError(
            f"{path} cannot be written: there is no folder {path.parent}", hint=f"make it: mkdir -p '{path.parent}'"
        )
    reason = getattr(error, "strerror", None) or str(error)
    return MediaError(
        f"{path} cannot be written ({reason})", hint="choose a folder you may write to with room on its disk"
    )
