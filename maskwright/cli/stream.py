"""`maskwright stream`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..errors import MediaError, OptionError
from .cut import report_cutout
from .files import put_bytes
from .opening import open_chosen
from .options import cutout_options, make_options, model_options, talk_options
from .talk import talking

__all__ = ["stream"]


@click.command("stream")
@click.argument("width", type=click.IntRange(min=1))
@click.argument("height", type=click.IntRange(min=1))
@model_options
@cutout_options
@click.option("-o", "--output-specifier", "--output_specifier", help="printf-style file names, e.g. out-%03u.png.")
@click.option("--raw", is_flag=True, help="Without -o: raw frames on stdout instead of PNG, RGBA or gray masks.")
@talk_options
def stream(width: int, height: int, output_specifier: str | None, raw: bool, **values: Any) -> None:
    """Cut raw RGB24 frames from stdin; PNG files by -o, else PNG after PNG on stdout.

    Each frame is answered before the next is read.
    """
    import numpy as np

    from ..imageio import load_image
    from ..pipeline import cut_with

    options = make_options(values)
    with talking(values["quiet"], values["debug"]), open_chosen(values, options) as segmenter:
        for number, data in enumerate(_read_frames(width * height * 3)):
            start = time.perf_counter()
            frame = np.frombuffer(data, np.uint8).reshape(height, width, 3)
            result = cut_with(segmenter, load_image(frame), options)
            path = Path(_format_name(output_specifier, number)) if output_specifier else None
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                result.save(path)
            elif raw:
                put_bytes((np.asarray(result.to_pil()) if result.only_mask else result.rgba).tobytes())
            else:
                put_bytes(result.to_bytes("png"))
            if values["as_json"]:
                report_cutout(f"frame {number}", path, result, time.perf_counter() - start, values)


def _format_name(specifier: str, number: int) -> str:
    try:
        return specifier % number
    except (TypeError, ValueError) as error:
        raise OptionError(
            "-o", expected="a name with one number in it, like out-%03u.png", got=repr(specifier), hint=str(error)
        ) from error


def _read_frames(size: int) -> Iterator[bytes]:
    """Whole frames from stdin.

    Raises:
        MediaError: The last frame is cut off.
    """
    while data := sys.stdin.buffer.read(size):
        if len(data) < size:
            raise MediaError("the last frame", expected=f"{size} bytes", got=str(len(data)), hint="check WIDTH HEIGHT")
        yield data
