"""`maskwright batch`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import OptionError
from .opening import open_chosen
from .options import cutout_options, make_options, model_options, talk_options
from .talk import job_bar, talking

if TYPE_CHECKING:
    from ..batch import BatchReport, Job
    from ..imageio import Cutout

__all__ = ["batch"]


@click.command("batch")
@click.argument("source", metavar="INPUT_DIR", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUTPUT_DIR", type=click.Path(path_type=Path))
@model_options
@cutout_options
@click.option("-w", "--watch", is_flag=True, help="Go on with pictures that arrive, until stop.txt appears.")
@click.option("-d", "--delete-input", "--delete_input", is_flag=True, help="Delete a picture once its cut-out is safe.")
@click.option("--accept-usage-cost", is_flag=True, hidden=True)
@click.option("--flat", is_flag=True, help="Put all cut-outs into OUTPUT_DIR itself.")
@click.option("--format", "format_", default="png", show_default=True, help="png, webp, jpeg, tiff or avif.")
@click.option("--max-pixels", type=int, help="Refuse pictures with more pixels than this.")
@talk_options
def batch(source: Path, target: Path, **values: Any) -> None:
    """Remove the background of a folder of pictures.

    The tree is mirrored; cut-outs that exist are skipped, so a second run goes on where the first stopped.
    """
    from ..batch import plan_batch, run_batch, watch_batch
    from ..encode import choose_format
    from ..imageio import load_image
    from ..pipeline import cut_with

    options = make_options(values)
    format_ = choose_format(values["format_"])
    if format_ == "jpeg" and not options.fills_frame:
        raise OptionError("--format jpeg", expected="a background", got="none", hint="add -bgc 255 255 255 255")

    def plan() -> list[Job]:
        return plan_batch(source, target, suffix=f".{format_}", flat=values["flat"])

    with talking(values["quiet"], values["debug"]):
        jobs = plan()
        with open_chosen(values, options) as segmenter:

            def run(jobs: list[Job]) -> BatchReport:
                def cut(path: Path) -> Cutout:
                    loaded = load_image(path, max_pixels=values["max_pixels"], keep_gps=options.keep_gps)
                    return cut_with(segmenter, loaded, options)

                with job_bar(len(jobs), values["quiet"]) as step:
                    return run_batch(jobs, cut, delete_input=values["delete_input"], progress=step)

            report = run(jobs)
            _report_batch(report, values)
            failed = bool(report.failed)
            for more in watch_batch(plan, run, source) if values["watch"] else ():
                _report_batch(more, values)
                failed |= bool(more.failed)
    if failed:
        sys.exit(1)


def _report_batch(report: Any, values: dict[str, Any]) -> None:
    for path, reason in report.failed.items():
        click.echo(f"maskwright: {path}: {' '.join(reason.split())}", err=True)
    if not values["quiet"]:
        for path, notes in report.notes.items():
            click.echo(f"maskwright: note: {path}: {'; '.join(notes)}", err=True)
    summary = {name: len(getattr(report, name)) for name in ("written", "skipped", "failed")}
    if values["as_json"]:
        failed = {str(path): reason for path, reason in report.failed.items()}
        click.echo(json.dumps({**summary, "errors": failed}))
    elif not values["quiet"]:
        click.echo(", ".join(f"{count} {name}" for name, count in summary.items()), err=True)
