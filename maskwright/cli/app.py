"""The command `maskwright`: all its commands, rembg's one-letter names, and errors as one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from .. import __version__
from ..errors import Error, InputError, MediaError, UnknownModel
from .anime import anime
from .batch import batch
from .bench import bench
from .cut import cut
from .detail import detail
from .doctor import doctor
from .mask import mask
from .models import models
from .person import person
from .serve import serve
from .stream import stream
from .video import video

__all__ = ["app", "main"]

_ALIASES = {"i": "cut", "p": "batch", "b": "stream", "s": "serve"}
_GONE = {
    "m": "there is nothing to migrate: weights in ~/.u2net and ~/.rembg are used where they lie (maskwright doctor)",
}
_USAGE_ERRORS = (InputError, MediaError, UnknownModel)
_INTERRUPTED = 130


class _Commands(click.Group):
    """Commands with rembg's one-letter names beside their own."""

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in _GONE:
            raise click.UsageError(f"{name}: {_GONE[name]}")
        if name == "d":
            return models.get_command(ctx, "fetch")
        return super().get_command(ctx, _ALIASES.get(name, name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        _, command, rest = super().resolve_command(ctx, args)
        return (command.name if command else None), command, rest


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="maskwright")
def app() -> None:
    """Cut pictures out: masks, exact edges and clean colours."""


for _command in (cut, batch, stream, video, person, anime, mask, detail, serve, models, bench, doctor):
    app.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and leave with 0 (done), 1 (failed), 2 (bad input or usage) or 130 (interrupted)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app.main(arguments, prog_name="maskwright", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "maskwright"
        click.echo(f"maskwright: {' '.join(error.format_message().split())} ({where} --help)", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("maskwright: interrupted", err=True)
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last door: nobody is shown a traceback without asking
        _leave(error, debug="--debug" in arguments)
    sys.exit(0)


def _leave(error: Exception, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exception(error)
    known = isinstance(error, (Error, OSError))
    text = " ".join(str(error).split())
    if not known:
        text = f"unexpected {type(error).__name__}: {text}; run again with --debug and report what it shows"
    click.echo(f"maskwright: {text}", err=True)
    sys.exit(2 if isinstance(error, _USAGE_ERRORS) else 1)
