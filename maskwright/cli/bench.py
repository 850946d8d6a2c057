"""`maskwright bench`: measurements of quality on your own pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import Error, OptionError
from .options import check_model, talk_options
from .talk import agree, open_store, talking, work_bar

if TYPE_CHECKING:
    from ..quality import Contestant

__all__ = ["bench"]


@click.group("bench", context_settings={"help_option_names": ["-h", "--help"]})
def bench() -> None:
    """Measure on your own pictures."""


@bench.command("quality")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--models",
    default="u2netp",
    show_default=True,
    metavar="NAME,...",
    help="Names of the catalog; NAME=FILE for weights of your own.",
)
@click.option(
    "--refine",
    default="none,alpha-matting",
    show_default=True,
    metavar="REFINEMENT,...",
    help="none, or options of cut without dashes, joined by +: alpha-matting, grow=2+feather=3, compat.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="REPORT_DIR",
    default=Path("quality-report"),
    show_default=True,
    help="Folder for quality.md, quality.json and the contact sheets.",
)
@click.option("--limit", type=click.IntRange(1), help="Measure only so many pictures, spread over the folder.")
@click.option(
    "--sheet", type=click.IntRange(0), default=24, show_default=True, help="Pictures on the contact sheets, the worst."
)
@click.option("--device", default="auto", show_default=True, help="Where networks run, as for cut.")
@click.option("--accept-hash", multiple=True, metavar="SHA256", help="Accept weights with this hash.")
@click.option("--accept-license", is_flag=True, help="Accept the licences of the models.")
@talk_options
def quality(folder: Path, output: Path, limit: int | None, sheet: int, **values: Any) -> None:
    """Compare models and refinements over pictures with ground truth.

    DIR holds pairs: image/x.jpg and gt/x.png (also im, images, mask, masks, …), at any depth; or x.jpg with x_mask.png
    or x.png in one folder.
    """
    from ..quality import find_pairs, make_table, measure_quality, write_report

    found = find_pairs(folder)
    pairs = _spread(found.pairs, limit)
    with talking(values["quiet"], values["debug"]), ExitStack() as stack:
        contestants = _open_contestants(stack, values)
        done = count(1)
        with work_bar("measuring", "pictures", values["quiet"]) as show:
            step = (lambda _: show(next(done), len(pairs))) if show else None
            report = measure_quality(pairs, contestants, sheet=sheet, progress=step)
        data = write_report(report, output, found)
    for name, reason in report.failed.items():
        click.echo(f"maskwright: {name}: {' '.join(reason.split())}", err=True)
    if values["as_json"]:
        click.echo(json.dumps(data))
    elif not values["quiet"]:
        click.echo(make_table(report))
        click.echo(make_table(report, by_group=True))
        click.echo(f"{output / 'quality.md'}, {len(data['contact_sheets'])} contact sheets", err=True)
    if report.failed:
        raise Error(f"{len(report.failed)} of {len(pairs)} pictures were not measured")


def _spread(pairs: Sequence[Any], limit: int | None) -> list[Any]:
    """At most so many, evenly spread, so that every group has its share."""
    count = min(limit or len(pairs), len(pairs))
    return [pairs[index * len(pairs) // count] for index in range(count)]


def _open_contestants(stack: ExitStack, values: dict[str, Any]) -> list[Contestant]:
    """Every model with every refinement; a model is opened once, twice where `compat` is asked for beside."""
    from ..models import find_card
    from ..quality import Contestant, read_refinement
    from ..segmenters import open_segmenter

    refinements = {text: read_refinement(text) for text in _split(values["refine"], "--refine")}
    store = open_store(values["accept_hash"], values["quiet"])
    contestants = []
    for text in _split(values["models"], "--models"):
        name, _, file = text.partition("=")
        card = find_card(check_model(name))
        if not file:
            agree(card, store, values["accept_license"])
        opened = {
            compat: stack.enter_context(
                open_segmenter(card.name, weights=file or None, device=values["device"], compat=compat, store=store)
            )
            for compat in dict.fromkeys(options.compat for options in refinements.values())
        }
        label = f"{card.name} ({Path(file).name})" if file else card.name
        contestants += [
            Contestant(label, refinement, opened[options.compat], options)
            for refinement, options in refinements.items()
        ]
    return contestants


def _split(text: str, flag: str) -> list[str]:
    parts = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not parts:
        raise OptionError(flag, expected="at least one name", got=repr(text), hint="leave it out for the default")
    return parts
