"""`maskwright cut`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import OptionError
from .files import check_apart, check_format, choose_target, default_source, put_bytes, read_bytes
from .opening import open_chosen
from .options import cutout_options, make_options, model_options, talk_options
from .talk import talking

if TYPE_CHECKING:
    from ..cutout_options import CutoutOptions
    from ..imageio import Cutout

__all__ = ["cut", "report_cutout"]


@click.command("cut")
@click.argument("source", metavar="INPUT", default=None, required=False)
@click.argument("target", metavar="[OUTPUT]", default=None, required=False)
@model_options
@cutout_options
@click.option("--format", "format_", help="png, webp, jpeg, tiff or avif; by default what OUTPUT's name says.")
@click.option("--quality", type=click.IntRange(1, 100), help="1 to 100, for lossy formats.")
@click.option("--max-pixels", type=int, help="Refuse pictures with more pixels than this.")
@click.option("--all-frames", is_flag=True, help="Cut every frame of an animation (webp, png, gif).")
@talk_options
def cut(source: str | None, target: str | None, **values: Any) -> None:
    """Remove the background of one picture.

    INPUT and OUTPUT are files; - is stdin or stdout. Without OUTPUT: <name>.out.png beside INPUT on a terminal, PNG
    bytes into a pipe.
    """
    from ..imageio import load_image

    source = source or default_source()
    goal = choose_target(source, target, values["format_"])
    check_apart([source, values["background"], values["weights"]], [goal])
    options = make_options(values)
    check_format(values["format_"], goal, values["all_frames"])
    if values["all_frames"] and (options.crop or options.expand_canvas):
        raise OptionError("--all-frames goes without --crop and --expand-canvas", hint="frames must have one size")
    start = time.perf_counter()
    with talking(values["quiet"], values["debug"]):
        data = read_bytes() if source == "-" else source
        if values["all_frames"]:
            first = _cut_animation(data, goal, values, options)
            report_cutout(source, goal, first, time.perf_counter() - start, values)
            return
        loaded = load_image(data, max_pixels=values["max_pixels"], keep_gps=options.keep_gps)
        from ..pipeline import cut_with

        with open_chosen(values, options) as segmenter:
            result = cut_with(segmenter, loaded, options)
        _write(result, goal, values)
    report_cutout(source, goal, result, time.perf_counter() - start, values)


def _write(result: Cutout, target: Path | None, values: dict[str, Any]) -> None:
    if target is None:
        put_bytes(result.to_bytes(values["format_"] or "png", quality=values["quality"]))
    else:
        result.save(target, format=values["format_"], quality=values["quality"])


def _cut_animation(data: str | bytes, target: Path | None, values: dict[str, Any], options: CutoutOptions) -> Cutout:
    """The first frame's cut-out, once all are written."""
    from ..imageio import load_frames, save_animation
    from ..pipeline import cut_with

    with open_chosen(values, options) as segmenter:
        pairs = [
            (cut_with(segmenter, loaded, options), duration)
            for loaded, duration in load_frames(data, max_pixels=values["max_pixels"], keep_gps=options.keep_gps)
        ]
    cutouts, durations = zip(*pairs, strict=True)
    written = save_animation(cutouts, durations, target, values["format_"], quality=values["quality"])
    if target is None:
        put_bytes(written)
    first: Cutout = replace(cutouts[0], notes=tuple(note for note in cutouts[0].notes if "frames was read" not in note))
    return first


def report_cutout(source: str, target: Path | None, result: Cutout, seconds: float, values: dict[str, Any]) -> None:
    """Say what was written: a line on stderr, or JSON."""
    height, width = result.rgba.shape[:2]
    report = {
        "input": source,
        "output": str(target) if target else "-",
        "height": height,
        "width": width,
        "crop_region": result.crop_region,
        "seconds": round(seconds, 3),
        **asdict(result.provenance),
        "notes": list(result.notes),
    }
    if values["as_json"]:
        click.echo(json.dumps(report), err=target is None)
    elif not values["quiet"]:
        for note in result.notes:
            click.echo(f"maskwright: note: {note}", err=True)
        if target is not None:
            click.echo(f"{target}  {width}×{height}  {result.provenance.model}  {seconds:.2f} s", err=True)
