"""`maskwright batch`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import TYPE_CHECKING, Any

import click

from .opening import open_chosen
from .options import cutout_options, make_options, model_options, read_extras, talk_options
from .talk import talking, work_bar

if TYPE_CHECKING:
    from ..batch import Batch, BatchReport, Runner

__all__ = ["batch"]

_INTERRUPTED = 130


@click.command("batch")
@click.argument("source", metavar="INPUT_DIR")
@click.argument("target", metavar="OUTPUT_DIR")
@model_options
@cutout_options
@click.option("-w", "--watch", is_flag=True, help="Go on with pictures that arrive, until stop.txt appears.")
@click.option("-d", "--delete-input", "--delete_input", is_flag=True, help="Delete a picture once its cut-out is safe.")
@click.option("--accept-usage-cost", is_flag=True, hidden=True)
@click.option("--flat", is_flag=True, help="Put all cut-outs into OUTPUT_DIR itself.")
@click.option("--format", "format_", default="png", show_default=True, help="png, webp, jpeg, tiff or avif.")
@click.option("--quality", type=click.IntRange(1, 100), help="1 to 100, for lossy formats.")
@click.option("--max-pixels", type=int, help="Refuse pictures with more pixels than this.")
@click.option("--manifest", is_flag=True, help="Beside each cut-out a JSON file that says what it was made of.")
@click.option("--report", type=click.Path(path_type=Path), help="Write what became of every picture as JSON.")
@click.option("--overwrite", is_flag=True, help="Replace files in OUTPUT_DIR that are not this folder's cut-outs.")
@click.option("--rehash", is_flag=True, help="Tell by content, not by size and time, whether a picture has changed.")
@click.option("--jobs", type=click.IntRange(min=1), help="Threads that read, and as many that write.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Pictures at once in the network; by default found out.")
@click.option(
    "--in-flight", type=click.IntRange(min=1), metavar="MEGAPIXELS", help="How much may be in memory at once."
)
@click.option("--cluster", metavar="ADDRESS", help="Work on a Ray cluster: auto, HOST:6379, local.")
@talk_options
def batch(source: str, target: str, **values: Any) -> None:
    """Remove the background of a folder of pictures.

    INPUT_DIR and OUTPUT_DIR are folders or addresses (s3://, gs://, …). The tree is mirrored. A journal in OUTPUT_DIR
    lets a second run skip what is done, make anew what changed, and go on after whatever ended the first.
    """
    from ..batch import Batch, Choices, Settings, open_beside_others, open_place

    options = make_options(values)
    settings = Settings(
        options,
        values["format_"],
        values["quality"],
        manifest=values["manifest"],
        max_pixels=values["max_pixels"],
        delete_input=values["delete_input"],
    )
    places = open_place(source), open_place(target)
    choices = Choices(values["flat"], values["overwrite"], values["rehash"])
    with talking(values["quiet"], values["debug"]), _interruptible(values["quiet"]) as stop:
        _check_report(values["report"])
        with (
            open_chosen(values, options, open_beside_others) as segmenter,
            Batch(*places, segmenter, settings, choices=choices, limits=_limits(values), runner=_runner(values)) as run,
        ):
            about = {"input": source, "output": target, **vars(run.recipe), "settings": settings.describe()}
            report = _run(run, stop, about, values)
    if report.interrupted:
        sys.exit(_INTERRUPTED)
    if not report.ok:
        sys.exit(1)


def _limits(values: dict[str, Any]) -> Any:
    from ..batch import Limits

    pixels = values["in_flight"] and values["in_flight"] * 1_000_000
    return Limits(values["jobs"], pixels, values["batch_size"])


def _runner(values: dict[str, Any]) -> Runner:
    """What does the jobs: this machine, or a cluster."""
    if values["cluster"] is not None:
        from ..cluster import make_runner

        weights = read_extras(values["extras"]).get("weights") or values["weights"]
        own = None if weights is None else str(Path(weights).resolve())
        return make_runner(values["cluster"], weights=own, device=values["device"])
    from ..batch import run_jobs

    return run_jobs


def _run(run: Batch, stop: Event, about: dict[str, Any], values: dict[str, Any]) -> BatchReport:
    """The report of one round, or of all rounds of a watch."""
    from ..batch import BatchReport, watch

    whole = BatchReport()
    if values["watch"]:
        for report in watch(run, stop=stop):
            whole.join(report)
            _tell(report, whole, about, values)
        whole.interrupted = stop.is_set()
        return whole
    plan = run.plan()
    with work_bar("cutting", "pictures", values["quiet"]) as show:
        report = run.run(plan, stop=stop, progress=_shown(show, len(plan.jobs)) if show else None)
    _tell(report, report, about, values)
    return report


def _shown(show: Callable[[int, int, int], None], count: int) -> Callable[[BatchReport], None]:
    """What shows how far a report has come."""
    return lambda report: show(report.written + report.skipped + len(report.failed), count, len(report.failed))


def _check_report(path: Path | None) -> None:
    """A report that could not be written is said before the work, not after it."""
    if path is not None and not path.parent.is_dir():
        raise click.UsageError(f"--report {path}: there is no folder {path.parent}")


def _tell(report: BatchReport, whole: BatchReport, about: dict[str, Any], values: dict[str, Any]) -> None:
    """Say what became of a round; the file holds all rounds."""
    from ..encode import write_bytes

    if values["as_json"]:
        click.echo(json.dumps(report.to_json(about)))
    if not values["quiet"]:
        for name, notes in sorted(report.notes.items()):
            click.echo(f"maskwright: note: {name}: {'; '.join(notes)}", err=True)
    if not values["quiet"] or not report.ok:
        click.echo(report.summary().encode("utf-8", "backslashreplace").decode(), err=True)
    if values["report"] is not None:
        write_bytes(values["report"], (json.dumps(whole.to_json(about), indent=1) + "\n").encode())


@contextmanager
def _interruptible(quiet: bool) -> Iterator[Event]:
    """An event that the first Ctrl-C sets; the second ends the program at once, which leaves no half file either."""
    stop = Event()
    if current_thread() is not main_thread():  # only the main thread may take signals
        yield stop
        return
    before = signal.signal(signal.SIGINT, _stopper(stop, quiet))
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _stopper(stop: Event, quiet: bool) -> Callable[[int, Any], None]:
    def take(number: int, frame: Any) -> None:
        del number, frame
        if stop.is_set():
            os._exit(_INTERRUPTED)
        stop.set()
        if not quiet:  # not by click: the signal may have come while something else was being said
            os.write(2, b"\nmaskwright: finishing what is in hand; Ctrl-C again stops at once\n")

    return take
