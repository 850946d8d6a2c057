"""PyAV: the one place where it is imported, and what its errors become."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import EngineUnavailable, MediaError

__all__ = ["is_cover", "load_av", "main_stream", "reading", "writing"]


def load_av() -> ModuleType:
    """PyAV.

    Raises:
        EngineUnavailable: It is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise EngineUnavailable("PyAV is not installed", hint='pip install "maskwright[video]"') from error
    return av


def main_stream(container: Any) -> Any:
    """The first video stream that is no attached picture; None: there is none."""
    return next((stream for stream in container.streams.video if not is_cover(stream)), None)


def is_cover(stream: Any) -> bool:
    """Whether a video stream is an attached picture, such as a cover."""
    return bool(stream.disposition & type(stream.disposition).attached_pic)


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """What PyAV says of a clip that cannot be read, as an error of ours.

    Raises:
        MediaError: It is not there, no clip, or damaged.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise MediaError(
            str(path), expected="an existing file", got="nothing at that path", hint="check the spelling and the folder"
        ) from error
    except IsADirectoryError as error:
        raise MediaError(str(path), expected="a clip", got="a folder", hint="for folders use batch") from error
    except (load_av().FFmpegError, OSError) as error:
        raise MediaError(
            f"{path} cannot be read as a video ({_reason(error)})", hint="see whether a player shows all of it"
        ) from error


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """What PyAV says of a clip that cannot be written, as an error of ours.

    Raises:
        MediaError: No folder, no room, or frames that the codec does not take.
    """
    try:
        yield
    except (load_av().FFmpegError, OSError) as error:
        raise MediaError(
            f"{path} cannot be written ({_reason(error)})",
            hint="choose a folder you may write to with room on its disk",
        ) from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
