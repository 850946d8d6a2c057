"""What travels beside the pixels: EXIF that gives nothing away, and colour profiles that fit.

A cut-out is made to be shown without its background. EXIF can hold the whole picture a second time, as a thumbnail
or inside a maker's private block, and the place where it was taken; so what is kept is a list of known, short tags.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

__all__ = ["clean_exif", "color_converter", "exif_orientation", "plain_exif"]

ORIENTATION = 0x0112
EXIF_IFD = 0x8769
GPS_IFD = 0x8825

# Descriptions, camera, resolution, software, dates, author, copyright, rating, and Windows' title to subject.
KEPT_TAGS = frozenset(
    [0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298]
).union(range(0x9C9B, 0x9CA0))
# How the photo was taken: exposure, sensitivity, dates with their offsets, shutter to focal length, fractions of a
# second, colour space, sensor and scene settings, and the lens by name. Not comments, serial numbers or previews.
KEPT_EXIF_TAGS = frozenset(
    [0x829A, 0x829D, 0x8822, 0x8827, 0x8830, 0x9000, 0x9003, 0x9004, 0xA000, 0xA001, 0xA217, 0xA432, 0xA433, 0xA434]
).union(range(0x9010, 0x9013), range(0x9201, 0x920B), range(0x9290, 0x9293), range(0xA401, 0xA40D))
RESOLUTION_TAGS = frozenset([0x011A, 0x011B, 0x0128])
LONGEST_VALUE = 4096  # bytes; what is longer describes nothing, but may be a preview
LONGEST_EXIF = 65000  # bytes; what fits a JPEG's segment


def exif_orientation(exif: Image.Exif) -> int:
    """How the stored rows lie, 1 (upright) to 8; 1 for anything that is not one of these."""
    orientation = exif.get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def clean_exif(exif: Image.Exif, *, keep_gps: bool = False) -> bytes | None:
    r"""The EXIF data without orientation, place, thumbnail, XMP, maker's block and anything long.

    Args:
        exif: As read from a picture; not changed.
        keep_gps: Keep where the picture was taken.

    Returns:
        Bytes that begin with `Exif\0\0`, or None where nothing is left.
    """
    kept = Image.Exif()
    kept.update({tag: value for tag, value in exif.items() if tag in KEPT_TAGS and _is_short(value)})
    details = exif.get_ifd(EXIF_IFD)
    _put_ifd(kept, EXIF_IFD, {tag: value for tag, value in details.items() if tag in KEPT_EXIF_TAGS})
    if keep_gps:
        _put_ifd(kept, GPS_IFD, exif.get_ifd(GPS_IFD))
    if not kept:
        return None
    cleaned = kept.tobytes()
    return cleaned if len(cleaned) <= LONGEST_EXIF else None


def plain_exif(exif: bytes) -> Image.Exif:
    """The part of EXIF data that fits a TIFF's own directory, as far as Pillow can write it: texts and resolution.

    Args:
        exif: Led by `Exif`.
    """
    full, plain = Image.Exif(), Image.Exif()
    full.load(exif)
    plain.update({tag: value for tag, value in full.items() if isinstance(value, str) or tag in RESOLUTION_TAGS})
    return plain


def _put_ifd(exif: Image.Exif, tag: int, values: Mapping[int, Any]) -> None:
    short = {key: value for key, value in values.items() if _is_short(value)}
    if short:
        exif[tag] = short


def _is_short(value: object) -> bool:
    return not isinstance(value, (bytes, str, tuple)) or len(value) <= LONGEST_VALUE


def color_converter(
    mode: str, profile: bytes | None, *, transparent: bool
) -> tuple[Callable[[Image.Image], Image.Image], bytes | None, tuple[str, ...]]:
    """How to turn pictures of a mode into RGB or RGBA, the profile that then fits, and notes.

    Args:
        mode: A Pillow mode of 8 bits a sample or less.
        profile: The picture's ICC profile.
        transparent: Whether there is alpha or a transparent colour: then it becomes RGBA.

    Returns:
        A function from picture to picture, an ICC profile for its RGB values, and what was left undone.
    """
    if mode == "LAB" or (mode == "CMYK" and _has_space(profile, b"CMYK")):
        return _managed_converter(mode, profile)
    fitting = profile if _has_space(profile, b"RGB ") and mode != "CMYK" else None
    if mode == "La":
        return (lambda image: image.convert("LA").convert("RGBA")), fitting, ()
    target = "RGBA" if transparent else "RGB"
    if mode == target:
        return (lambda image: image), fitting, ()
    return (lambda image: image.convert(target)), fitting, ()


def _has_space(profile: bytes | None, space: bytes) -> bool:
    """Whether this is an ICC profile of that colour space: both stand at fixed places in its header."""
    return profile is not None and len(profile) >= 128 and profile[36:40] == b"acsp" and profile[16:20] == space


def _managed_converter(
    mode: str, profile: bytes | None
) -> tuple[Callable[[Image.Image], Image.Image], bytes | None, tuple[str, ...]]:
    """Conversion to sRGB through colour management; CMYK without it where the profile is damaged."""
    from PIL import ImageCms

    try:
        source = (
            ImageCms.createProfile("LAB") if mode == "LAB" else ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        )
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ImportError):
        return (lambda image: image.convert("RGB")), None, ("the colour profile could not be used",)
    # A new picture, not one in place, so its mode is right.
    return (lambda image: _managed(image, transform)), None, ()


def _managed(image: Image.Image, transform: Any) -> Image.Image:
    from PIL import ImageCms

    converted = ImageCms.applyTransform(image, transform)
    return image.convert("RGB") if converted is None else converted
