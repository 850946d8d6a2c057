"""The command `person`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import OptionError
from .files import check_apart, check_format, choose_target, put_bytes, read_bytes
from .options import check_model, person_options, talk_options
from .talk import agree, open_store, talking

if TYPE_CHECKING:
    from ..models import Store
    from ..person import PersonOptions, PersonSegmenter
    from ..types import SegmentResult

__all__ = ["person"]

_FORMATS = ("png", "webp", "tiff")


@click.command("person")
@click.argument("source", metavar="INPUT")
@click.argument("target", metavar="OUTPUT")
@person_options
@click.option(
    "-m",
    "--model",
    help="A model for parts; silhouette, or the name of a saliency model, for person and background alone. By default "
    "a model for parts whose weights are here.",
)
@click.option("--separate", is_flag=True, help="Also write each part by itself: OUTPUT-face.png, OUTPUT-hair.png.")
@click.option("--cutout", type=click.Path(path_type=Path), help="Also write the picture, cut out by the mask.")
@click.option("--compat", is_flag=True, help="Treat transparency and --refine as the original node does.")
@click.option("--weights", type=click.Path(path_type=Path), help="Your own weights file.")
@click.option("--device", default="auto", show_default=True, help="As for cut.")
@click.option("--accept-hash", multiple=True, metavar="SHA256", help="Accept weights with this hash.")
@click.option("--accept-license", is_flag=True, help="Accept the licence of the model.")
@click.option("--max-pixels", type=int, help="Refuse pictures with more pixels than this.")
@talk_options
def person(source: str, target: str, **values: Any) -> None:
    """Select parts of the people in a picture: a mask, white where they are.

    INPUT is a picture, or - for stdin; OUTPUT a PNG, WebP or TIFF file, or - for PNG bytes on stdout.
    """
    from ..imageio import load_image, save_mask

    options = _make_options(values)
    goal = choose_target(source, target)
    apart = _part_paths(goal, options) if values["separate"] else {}
    _check_targets(source, [goal, *apart.values()], values)
    start = time.perf_counter()
    with talking(values["quiet"], values["debug"]):
        loaded = load_image(read_bytes() if source == "-" else source, max_pixels=values["max_pixels"])
        with _open(values) as segmenter:
            result = segmenter(loaded, options)
        if goal is None:
            put_bytes(save_mask(result.mask))
        else:
            save_mask(result.mask, goal)
        for part, path in apart.items():
            save_mask(result.masks[part], path)
        if values["cutout"] is not None:
            from ..pipeline import CutoutOptions, make_cutout

            make_cutout(loaded, result, CutoutOptions()).save(values["cutout"])
    _report(source, goal, result, time.perf_counter() - start, values)


def _make_options(values: dict[str, Any]) -> PersonOptions:
    from ..person import PersonOptions, usual_parts

    model, parts = values["model"], values["parts"]
    others = {field.name: values[field.name] for field in fields(PersonOptions) if field.name != "parts"}
    if parts is None:
        return PersonOptions(usual_parts(model and check_model(model)), **others)
    return PersonOptions(tuple(part.strip().lower() for part in parts.split(",")), **others)


def _part_paths(goal: Path | None, options: PersonOptions) -> dict[str, Path]:
    """Where each part goes by itself."""
    if goal is None:
        raise OptionError("--separate goes without stdout", hint="name OUTPUT: the parts are written beside it")
    return {part: goal.with_name(f"{goal.stem}-{part}{goal.suffix}") for part in options.parts}


def _check_targets(source: str, masks: list[Path | None], values: dict[str, Any]) -> None:
    """See that every file can be written, before anything is fetched or computed, and that none is written over."""
    from ..encode import choose_format

    choose_format(None, masks[0], _FORMATS)
    targets = [*masks, values["cutout"]]
    check_apart([source, values["weights"]], targets)
    for path in targets:
        check_format(None, path, animated=False)


def _open(values: dict[str, Any]) -> PersonSegmenter:
    from ..person import open_person

    store = open_store(values["accept_hash"], values["quiet"])
    _agree(values, store)
    return open_person(
        values["model"], weights=values["weights"], device=values["device"], compat=values["compat"], store=store
    )


def _agree(values: dict[str, Any], store: Store) -> None:
    from ..models import find_card
    from ..person import SILHOUETTE

    if values["model"] not in (None, SILHOUETTE) and values["weights"] is None:
        agree(find_card(check_model(values["model"])), store, values["accept_license"])


def _report(source: str, target: Path | None, result: SegmentResult, seconds: float, values: dict[str, Any]) -> None:
    height, width = result.size_hw
    selected = {part: round(float(mask.mean()), 6) for part, mask in result.masks.items()}
    if values["as_json"]:
        report = {
            "input": source,
            "output": str(target) if target else "-",
            "height": height,
            "width": width,
            "seconds": round(seconds, 3),
            **asdict(result.provenance),
            "selected": selected,
        }
        click.echo(json.dumps(report), err=target is None)
    elif not values["quiet"]:
        shares = ", ".join(f"{part} {share:.1%}" for part, share in selected.items())
        click.echo(f"{target or '-'}  {width}×{height}  {result.provenance.model}  {shares}  {seconds:.2f} s", err=True)
