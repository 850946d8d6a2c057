"""The command line's files: what INPUT and OUTPUT stand for, stdin and stdout among them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from ..errors import MediaError, OptionError

__all__ = ["check_apart", "check_format", "choose_target", "default_source", "put_bytes", "read_bytes"]


def default_source() -> str:
    """Stdin, where something can come from it."""
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("INPUT is missing: name a picture, or pipe one in")
    return "-"


def read_bytes() -> bytes:
    """All of stdin."""
    if sys.stdin is None:
        raise click.UsageError("INPUT is stdin, and stdin is closed")
    return sys.stdin.buffer.read()


def choose_target(source: str, target: str | None, format_: str | None = None) -> Path | None:
    """The file to write, None for stdout; never the input itself."""
    if target in (None, "-") and sys.stdout is None:
        raise click.UsageError("OUTPUT is stdout, and stdout is closed")
    if target is None and source != "-" and sys.stdout.isatty():
        if not Path(source).name:
            raise MediaError(source, expected="a file", got="a folder", hint="for folders use the batch command")
        return Path(source).with_suffix(f".out.{(format_ or 'png').lower().lstrip('.')}")
    if target in (None, "-"):
        if sys.stdout.isatty():
            raise click.UsageError("OUTPUT is missing: a picture's bytes are of no use on a terminal")
        return None
    path = Path(str(target))
    check_apart([source], [path])
    return path


def check_apart(sources: Iterable[str | Path | None], targets: Iterable[Path | None]) -> None:
    """See that no file is written twice and none over an input, by whatever name or link it goes."""
    taken = {_identity(Path(source)) for source in sources if source not in (None, "-")}
    taken = {identity for identity in taken if isinstance(identity, tuple)}  # a colour may be called like OUTPUT
    for target in filter(None, targets):
        if _identity(target) in taken:
            raise OptionError(
                "OUTPUT",
                expected="another file than INPUT and the others named",
                got=str(target),
                hint="name a new file",
            )
        taken.add(_identity(target))


def _identity(path: Path) -> tuple[int, int] | str:
    """What all names of one file share; of a file that is not there, its full name."""
    real = Path(os.path.realpath(path))
    try:
        found = real.stat()
    except OSError:
        return os.path.normcase(real)
    return found.st_dev, found.st_ino


def check_format(format_: str | None, target: Path | None, animated: bool) -> None:
    """See that the result can be written before anything is fetched or computed."""
    from ..encode import ANIMATION_FORMATS, OUTPUT_FORMATS, choose_format

    choose_format(format_, target, ANIMATION_FORMATS if animated else OUTPUT_FORMATS)
    if target is not None and not target.parent.is_dir():
        raise MediaError(
            f"{target} cannot be written: there is no folder {target.parent}", hint=f"mkdir -p '{target.parent}'"
        )


def put_bytes(data: bytes) -> None:
    """Write to stdout, at once."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
