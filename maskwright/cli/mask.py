"""The `mask` command: work on masks that are there already."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .files import check_apart, choose_target, put_bytes, read_bytes
from .options import make_options, mask_options, talk_options
from .talk import talking

if TYPE_CHECKING:
    from ..types import BBox, FloatArray

__all__ = ["mask"]

_SHAPES = ("coco", "rle", "polygon")
_COMBINATIONS = {  # in the order in which they are done
    "union": "Add what is selected in this mask too.",
    "intersect": "Keep only what is selected in this mask too.",
    "subtract": "Take away what is selected in this mask.",
    "xor": "Keep what is selected in one of the two masks only.",
}


def _combination_options(command: Any) -> Any:
    for name, help_ in reversed(_COMBINATIONS.items()):
        command = click.option(f"--{name}", multiple=True, metavar="MASK", help=f"{help_} May be repeated.")(command)
    return command


@click.command("mask")
@click.argument("source", metavar="INPUT")
@click.argument("target", metavar="OUTPUT")
@_combination_options
@mask_options
@click.option("--shrink", type=float, default=0, help="Move the mask's edge inwards. Pixels.")
@click.option(
    "--format",
    "format_",
    help="png, webp, tiff or avif; coco (an annotation), rle or polygon as JSON. By default what OUTPUT's name says; "
    ".json is coco.",
)
@click.option(
    "--tolerance", type=float, default=1, show_default=True, help="With polygon: pixels an outline may be off."
)
@click.option("--max-pixels", type=int, help="Refuse pictures with more pixels than this.")
@talk_options
def mask(source: str, target: str, shrink: float, format_: str | None, tolerance: float, **values: Any) -> None:
    """Work on a mask: a gray picture, or the transparency of a cut-out.

    Masks are combined first: union, intersect, subtract, xor; then come the options of cut in cut's order, then the
    crop.
    """
    from ..pipeline import shape_mask

    goal = choose_target(source, target)
    quiet, debug, as_json = (values.pop(name) for name in ("quiet", "debug", "as_json"))
    max_pixels = values.pop("max_pixels")
    others = {name: values.pop(name) for name in _COMBINATIONS}
    check_apart([source, *chain(*others.values())], [goal])
    values["grow"] -= shrink
    options = make_options(values)
    format_ = _choose_format(format_, goal)
    with talking(quiet, debug):
        shaped = shape_mask(_combined(source, others, max_pixels), options)
        region = _cropped_region(shaped, options)
        if region is not None:
            from ..geometry import crop

            shaped = crop(shaped, region)
        data = _encoded(shaped, format_, tolerance)
        if goal is None:
            put_bytes(data)
        else:
            from ..imageio import write_bytes

            write_bytes(goal, data)
    if as_json:
        click.echo(json.dumps(_report(source, goal, shaped, region)), err=goal is None)


def _choose_format(format_: str | None, goal: Path | None) -> str:
    """The format of a picture, or one of the shapes."""
    from ..encode import choose_format

    if format_ in _SHAPES:
        return format_
    if format_ is None and goal is not None and goal.suffix.lower() == ".json":
        return _SHAPES[0]
    return choose_format(format_, goal)


def _combined(source: str, others: dict[str, tuple[str, ...]], max_pixels: int | None) -> FloatArray:
    from ..imageio import load_mask
    from ..refine.masks import combine

    found = load_mask(read_bytes() if source == "-" else source, max_pixels=max_pixels)
    for how, paths in others.items():
        for path in paths:
            found = combine(found, load_mask(path, max_pixels=max_pixels), how)  # type: ignore[arg-type]
    return found


def _cropped_region(shaped: FloatArray, options: Any) -> BBox | None:
    """The region to crop to; None where no crop was asked for."""
    from ..finish import choose_region

    if not options.crop:
        return None
    region = choose_region(shaped, options)
    if region is None:
        click.echo("maskwright: note: nothing is selected: the frame stays as it is", err=True)
    return region


def _encoded(shaped: FloatArray, format_: str, tolerance: float) -> bytes:
    from ..imageio import save_mask
    from ..refine import shapes

    if format_ not in _SHAPES:
        return save_mask(shaped, format=format_)
    if format_ == "coco":
        record = shapes.make_annotation(shaped)
    elif format_ == "rle":
        record = shapes.mask_to_rle(shaped)
    else:
        record = shapes.make_polygons_record(shaped, tolerance)
    return (json.dumps(record) + "\n").encode()


def _report(source: str, goal: Path | None, shaped: FloatArray, region: BBox | None) -> dict[str, Any]:
    from ..geometry import make_bbox

    height, width = shaped.shape
    return {
        "input": source,
        "output": str(goal) if goal else "-",
        "height": height,
        "width": width,
        "coverage": round(float(shaped.mean()), 6),
        "bbox": make_bbox(shaped),
        "crop_region": region,
    }
