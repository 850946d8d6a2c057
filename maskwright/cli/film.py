"""Films as frames: a folder of pictures, an animation or one picture, read whole and written whole."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ..errors import MediaError, OptionError

if TYPE_CHECKING:
    from ..imageio import LoadedImage
    from ..types import AnyArray
    from ..video import ClipInfo

__all__ = [
    "CLIPS",
    "Clip",
    "Film",
    "check_film_target",
    "choose_film_format",
    "list_pictures",
    "read_film",
    "write_film",
]

_PICTURES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".avif", ".gif"))
CLIPS = frozenset((".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".mts", ".ts", ".y4m"))


@dataclass(frozen=True, eq=False)
class Film:
    """Frames with what a file knows besides.

    Attributes:
        frames: (F, H, W, 3 or 4) uint8, straight.
        names: The file each frame came from, without its ending; numbers where they came from one file.
        durations_ms: How long each is shown, in milliseconds; 0 where nothing says it.
        icc_profile: The first frame's.
        clip: The clip they came from, if they did.
    """

    frames: AnyArray
    names: tuple[str, ...]
    durations_ms: tuple[float, ...]
    icc_profile: bytes | None
    clip: Clip | None = None


@dataclass(frozen=True, eq=False)
class Clip:
    """What is needed to write frames as a clip.

    Attributes:
        path: The clip they came from, whose sound is taken; None: another thing.
        info: Its rate, colours and time base.
        times: When each frame is shown, in units of the time base.
        durations: For how long, in the same units.
    """

    path: Path | None
    info: ClipInfo
    times: tuple[int, ...]
    durations: tuple[int, ...]


def list_pictures(folder: Path) -> list[Path]:
    """The pictures in a folder, numbers in their names in order of value.

    Raises:
        MediaError: There are none.
    """
    found = [path for path in folder.iterdir() if path.suffix.lower() in _PICTURES and path.is_file()]
    if not found:
        raise MediaError(f"there are no pictures in {folder}", hint="name a folder of frames")
    return sorted(found, key=lambda path: [(int(digits or 0), text) for text, digits in _words(path.name)])


def _words(name: str) -> list[tuple[str, str]]:
    return re.findall(r"(\D*)(\d*)", name)


def read_film(path: Path, max_pixels: int | None = None) -> Film:
    """All frames of a clip, a folder, an animation or a picture.

    Args:
        path: What to read.
        max_pixels: Refuse frames with more pixels.

    Raises:
        MediaError: It cannot be read, its frames differ in size or are too large.
    """
    from ..imageio import load_frames, load_image

    if path.is_dir():
        paths = list_pictures(path)
        loaded = [load_image(each, max_pixels=max_pixels) for each in paths]
        return Film(_stacked(loaded, path), _apart(paths), (0.0,) * len(loaded), loaded[0].icc_profile)
    if path.suffix.lower() in CLIPS:
        return _read_clip(path, max_pixels)
    pairs = [*load_frames(path, max_pixels=max_pixels)]
    loaded = [image for image, _ in pairs]
    names = tuple(f"{index:05d}" for index in range(len(loaded)))
    return Film(_stacked(loaded, path), names, tuple(float(time) for _, time in pairs), loaded[0].icc_profile)


def _read_clip(path: Path, max_pixels: int | None) -> Film:
    from ..decode import check_pixels
    from ..video import VideoReader

    with VideoReader(path) as reader:
        info = reader.info
        if max_pixels is not None:
            check_pixels(info.size_hw[::-1], str(path), max_pixels)
        read = [*reader.frames()]
    clip = Clip(path, info, tuple(frame.time for frame in read), tuple(frame.duration for frame in read))
    names = tuple(f"{frame.index:05d}" for frame in read)
    durations = tuple(float(1000 * frame.duration * info.time_base) for frame in read)
    return Film(_stacked([frame.image for frame in read], path), names, durations, None, clip)


def _make_clip(film: Film, fps: float) -> Clip:
    """The clip the frames came from; where they came from none, one with their times."""
    from ..video import ClipInfo
    from ..video.colors import Colors

    if film.clip is not None:
        return film.clip
    count, height, width, channels = film.frames.shape
    base, durations = 1 / Fraction(fps).limit_denominator(1001), (1,) * count
    if any(film.durations_ms):
        base, durations = Fraction(1, 1000), tuple(max(1, round(time)) for time in film.durations_ms)
    info = ClipInfo(
        size_hw=(height, width),
        rate=1 / base,
        time_base=base,
        start=Fraction(0),
        frames=count,
        end=sum(durations),
        colors=Colors(),
        aspect=Fraction(1),
        turn=(0, False),
        has_alpha=channels == 4,
        has_audio=False,
    )
    return Clip(None, info, tuple(accumulate(durations, initial=0))[:-1], durations)


def _whole(frame: Any) -> Any:
    """What is written of a frame: all of it."""
    return frame


def _write_clip(film: Film, target: Path, fps: float) -> None:
    """A clip with the times, colours and sound of what the frames came from."""
    from ..video.codecs import choose_codec
    from ..video.companions import plan_companions
    from ..video.journal import Entry
    from ..video.outputs import ClipOutput

    clip = _make_clip(film, fps)
    with TemporaryDirectory(prefix=".maskwright-", dir=target.absolute().parent) as folder:
        codec = choose_codec(target)
        output = ClipOutput(target, Path(folder), codec, clip.info, _whole)
        output.alpha = film.frames.shape[3] == 4 and bool(codec.alpha)
        output.companions = plan_companions(clip.path, target) if clip.path else None
        with output.piece(0, 0) as write:
            for frame in film.frames:
                write(frame)
        output.finish([Entry(clip.times, clip.durations)])


def _apart(paths: Sequence[Path]) -> tuple[str, ...]:
    """Names without endings; with them where two would be one."""
    stems = [path.stem for path in paths]
    return tuple(path.name if stems.count(path.stem) > 1 else path.stem for path in paths)


def _stacked(loaded: Sequence[LoadedImage], path: Path) -> AnyArray:
    import numpy as np

    from ..types import to_8_bit

    first = loaded[0].size_hw
    other = next((image.size_hw for image in loaded if image.size_hw != first), None)
    if other is not None:
        raise MediaError(f"frames of {path}", expected=f"of one size, {first}", got=str(other), hint="resize them")
    opaque = all(image.alpha is None for image in loaded)
    frames = np.empty((len(loaded), *first, 3 if opaque else 4), np.uint8)
    for index, image in enumerate(loaded):
        frames[index, ..., :3] = to_8_bit(image.image)
        if not opaque:
            frames[index, ..., 3] = 255 if image.alpha is None else to_8_bit(image.alpha)
    return frames


def check_film_target(source: Path, target: Path) -> None:
    """See that a film can be written there, before anything is read, and that nothing is written over.

    Raises:
        OptionError: It is the input.
        MediaError: There is no folder for it, or the folder to write has something in it.
        EngineUnavailable: It is a clip, and PyAV is not installed.
    """
    from .files import check_format

    if target.exists() and source.exists() and target.samefile(source):
        raise OptionError("OUTPUT", expected="another than INPUT", got=str(target), hint="name a new one")
    if target.suffix.lower() in CLIPS:
        from ..video.codecs import choose_codec
        from ..video.library import load_av

        choose_codec(target)
        load_av()
    elif target.suffix:
        check_format(None, target, animated=False)
    elif target.is_dir() and any(target.iterdir()):
        raise MediaError(str(target), expected="an empty folder, or a new one", got="a full one", hint="name another")
    elif not target.absolute().parent.is_dir():
        raise MediaError(f"there is no folder {target.parent}", hint=f"mkdir -p '{target.parent}'")


def choose_film_format(film: Film, target: Path) -> str:
    """The format of a picture or an animation; "" for a folder or a clip.

    Raises:
        OptionError: There is no such format, or it has no animations.
    """
    from ..encode import ANIMATION_FORMATS, OUTPUT_FORMATS, choose_format

    if not target.suffix or target.suffix.lower() in CLIPS:
        return ""
    return choose_format(None, target, OUTPUT_FORMATS if len(film.frames) == 1 else ANIMATION_FORMATS)


def write_film(film: Film, target: Path, fps: float = 24.0) -> None:
    """Write the frames: into a new folder where the name has no ending, else as a picture or an animation.

    Args:
        film: What to write.
        target: Where.
        fps: Frames a second, where the film does not say how long each is shown.

    Raises:
        MediaError: It cannot be written. Nothing is left behind then.
        OptionError: The format has no animations.
    """
    import numpy as np

    from ..encode import encode_frames, encode_picture, write_bytes

    format_ = choose_film_format(film, target)
    if target.suffix.lower() in CLIPS:
        _write_clip(film, target, fps)
    elif not format_:
        _write_folder(film, target)
    elif len(film.frames) == 1:
        write_bytes(target, encode_picture(film.frames[0], format_, icc_profile=film.icc_profile))
    else:
        opaque = np.full((*film.frames.shape[:3], 1), 255, np.uint8)
        frames = np.concatenate([film.frames, opaque], axis=3)[..., :4]  # animations are written with opacity
        durations = film.durations_ms if any(film.durations_ms) else (1000 / fps,) * len(film.frames)
        write_bytes(target, encode_frames([*frames], durations, format_, icc_profile=film.icc_profile))


def _write_folder(film: Film, target: Path) -> None:
    """The folder appears under its name when all frames are in it."""
    from ..encode import encode_picture

    target = target.absolute()
    temporary = target.with_name(f".maskwright-{os.urandom(8).hex()}")
    try:
        temporary.mkdir()
        for name, frame in zip(film.names, film.frames, strict=True):
            (temporary / f"{name}.png").write_bytes(encode_picture(frame, "png", icc_profile=film.icc_profile))
        if target.is_dir():
            target.rmdir()  # it is empty: check_film_target saw to that
        temporary.replace(target)
    except OSError as error:
        raise MediaError(
            f"{target} cannot be written ({error.strerror or error})", hint="name another folder"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
