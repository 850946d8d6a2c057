"""The command `anime`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import OptionError
from .files import check_apart, check_format, choose_target, put_bytes, read_bytes
from .options import talk_options
from .talk import open_store, talking

if TYPE_CHECKING:
    from ..anime import AnimeSegmenter
    from ..types import SegmentResult

__all__ = ["anime"]

_FORMATS = ("png", "webp", "tiff")  # a format that loses something gives colours of no class


@click.command("anime")
@click.argument("source", metavar="INPUT")
@click.argument("target", metavar="OUTPUT")
@click.option("--keep-background", is_flag=True, help="Show the face network the picture as it is.")
@click.option("--labels", type=click.Path(path_type=Path), help="Also write the index of each pixel's class, as PNG.")
@click.option("--mask", type=click.Path(path_type=Path), help="Also write the character's mask.")
@click.option(
    "--size",
    type=click.Choice(["picture", "network"]),
    help="Results in the picture's size, or in the network's: the shorter side at 512. By default picture; network "
    "with --compat.",
)
@click.option("--compat", is_flag=True, help="Give the numbers of the ControlNet preprocessor.")
@click.option("--weights", type=click.Path(path_type=Path), help="Your own file for the face network.")
@click.option("--character-weights", type=click.Path(path_type=Path), help="Your own file for the character's mask.")
@click.option("--device", default="auto", show_default=True, help="As for cut.")
@click.option("--accept-hash", multiple=True, metavar="SHA256", help="Accept weights with this hash.")
@click.option("--accept-license", is_flag=True, help="Accept the licence of the face network.")
@click.option("--max-pixels", type=int, help="Refuse pictures with more pixels than this.")
@talk_options
def anime(source: str, target: str, **values: Any) -> None:
    """Draw the parts of an anime face: hair, eye, mouth, face, skin, clothes, background, each in its colour.

    INPUT is a picture, or - for stdin; OUTPUT a PNG, WebP or TIFF file, or - for PNG bytes on stdout.
    """
    from ..anime import color_labels
    from ..encode import choose_format, encode_picture, write_bytes
    from ..imageio import load_image, save_mask

    goal = choose_target(source, target)
    format_ = choose_format(None, goal, _FORMATS)
    if values["labels"] is not None:
        choose_format(None, values["labels"], ("png",))
    _check_targets(source, [goal, values["labels"], values["mask"]], values)
    start = time.perf_counter()
    with talking(values["quiet"], values["debug"]):
        loaded = load_image(read_bytes() if source == "-" else source, max_pixels=values["max_pixels"])
        segmenter = _open(values)
        result = segmenter(loaded, size=values["size"])
        if result.labels is None:
            raise OptionError("weights", expected="a network with classes", got=result.provenance.model)
        drawn = encode_picture(color_labels(result.labels), format_)
        if goal is None:
            put_bytes(drawn)
        else:
            write_bytes(goal, drawn)
        if values["labels"] is not None:
            write_bytes(values["labels"], encode_picture(result.labels, "png"))
        if values["mask"] is not None:
            save_mask(result.mask, values["mask"])
    _report(source, goal, result, segmenter, time.perf_counter() - start, values)


def _check_targets(source: str, targets: list[Path | None], values: dict[str, Any]) -> None:
    """See that every file can be written, before anything is fetched or computed, and that none is written over."""
    check_apart([source, values["weights"], values["character_weights"]], targets)
    for path in targets:
        check_format(None, path, animated=False)


def _open(values: dict[str, Any]) -> AnimeSegmenter:
    from ..anime import open_anime

    store = open_store(values["accept_hash"], values["quiet"])
    if values["accept_license"]:
        store.accept_license("anime-face")
    return open_anime(
        remove_background=not values["keep_background"],
        compat=values["compat"],
        device=values["device"],
        store=store,
        weights=values["weights"],
        character_weights=values["character_weights"],
    )


def _report(
    source: str,
    target: Path | None,
    result: SegmentResult,
    segmenter: AnimeSegmenter,
    seconds: float,
    values: dict[str, Any],
) -> None:
    height, width = result.size_hw
    if values["as_json"]:
        character = segmenter.character
        report = {
            "input": source,
            "output": str(target) if target else "-",
            "height": height,
            "width": width,
            "seconds": round(seconds, 3),
            **asdict(result.provenance),
            "character": asdict(character.provenance) if character else None,
            "label_names": result.label_names,
        }
        click.echo(json.dumps(report), err=target is None)
    elif not values["quiet"]:
        click.echo(f"{target or '-'}  {width}×{height}  {result.provenance.model}  {seconds:.2f} s", err=True)
