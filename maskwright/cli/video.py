"""`maskwright video`."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .film import CLIPS
from .opening import open_chosen
from .options import cutout_options, make_options, model_options, talk_options, video_options
from .talk import open_store, talking, work_bar

if TYPE_CHECKING:
    from ..cutout_options import CutoutOptions
    from ..person import PersonOptions, PersonSegmenter
    from ..segmenters import Segmenter
    from ..video import VideoReport

__all__ = ["video"]


@click.command("video")
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUTPUT", type=click.Path(path_type=Path))
@model_options
@cutout_options
@video_options
@click.option("--mask-only", is_flag=True, help="Write the mask as a gray clip; the same as --only-mask.")
@click.option("--parts", metavar="PART,…", help="Cut out parts of people: see person. -m then names a model for parts.")
@click.option("--confidence", type=float, default=0.4, show_default=True, help="With --parts: as for person.")
@click.option("--soft", is_flag=True, help="With --parts: as for person.")
@talk_options
def video(source: Path, target: Path, **values: Any) -> None:
    """Remove the background of a clip.

    OUTPUT is a clip (.webm or .mov with transparency; .mp4 with a background or --mask-only; .mkv lossless), a folder
    for PNG files, or a pattern such as out-%05d.png. An interrupted run goes on where it stopped when it is started
    again.
    """
    from ..video import VideoOptions, cut_video
    from ..video.plan import plan_video

    clip = values["background"] if Path(values["background"] or "").suffix.lower() in CLIPS else None
    if clip:
        values["background"] = None
    values["only_mask"] |= values["mask_only"]
    options = make_options(values)
    names = [each.name for each in fields(VideoOptions) if each.name in values]
    how = VideoOptions(background_clip=clip, **{name: values[name] for name in names})
    person = _person(values)
    with talking(values["quiet"], values["debug"]):
        plan_video(source, target, options, how, person)  # before weights are fetched
        with _open(values, options, person) as model, work_bar("cutting", "frames", values["quiet"]) as progress:
            report = cut_video(
                source, target, model=model, options=options, video=how, person=person, progress=progress
            )
    _report(source, report, values)


def _person(values: dict[str, Any]) -> PersonOptions | None:
    from ..person import PersonOptions

    if values["parts"] is None:
        return None
    parts = tuple(part.strip() for part in values["parts"].split(",") if part.strip())
    return PersonOptions(parts, values["confidence"], values["soft"])


def _open(values: dict[str, Any], options: CutoutOptions, person: PersonOptions | None) -> Segmenter | PersonSegmenter:
    if person is None:
        return open_chosen(values, options)
    from ..person import open_person

    named = click.get_current_context().get_parameter_source("model") is not click.core.ParameterSource.DEFAULT
    store = open_store(values["accept_hash"], values["quiet"])
    return open_person(
        values["model"] if named else None,
        weights=values["weights"],
        device=values["device"],
        compat=options.compat,
        store=store,
    )


def _report(source: Path, report: VideoReport, values: dict[str, Any]) -> None:
    """Say what was written: a line on stderr, or JSON."""
    if values["as_json"]:
        height, width = report.size_hw
        facts = asdict(report)
        provenance = facts.pop("provenance")
        del facts["size_hw"]
        facts["outputs"] = [str(path) for path in report.outputs]
        click.echo(json.dumps({"input": str(source), "height": height, "width": width, **facts, **provenance}))
    elif not values["quiet"]:
        for note in report.notes:
            click.echo(f"maskwright: note: {note}", err=True)
        for path in report.outputs:
            frames = f"{report.frames} frames" + (f", {report.resumed} of them from before" if report.resumed else "")
            click.echo(f"{path}  {frames}  {report.codec}, sound {report.audio}  {report.seconds:.1f} s", err=True)
