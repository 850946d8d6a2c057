"""The command line. It parses, calls the library, and turns errors into one line and an exit code."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from . import __version__
from .cli_anime import anime
from .cli_bench import bench
from .cli_files import check_format, choose_target, default_source, put_bytes, read_bytes
from .cli_import import import_command
from .cli_mask import mask
from .cli_options import check_model, cutout_options, make_options, model_options, read_extras, talk_options
from .cli_person import person
from .cli_talk import agree, job_bar, open_store, talking
from .errors import Error, InputError, MediaError, OptionError, UnknownModel

if TYPE_CHECKING:
    from .imageio import Cutout
    from .models import ModelCard, Store
    from .pipeline import CutoutOptions
    from .segmenters import Segmenter

__all__ = ["app", "main"]

_ALIASES = {"i": "cut", "p": "batch", "b": "stream"}
_LATER = "is not in this version; there are cut, batch, stream, person, anime, mask, models, bench and doctor"
_GONE = {
    **dict.fromkeys(("detail", "serve", "video"), _LATER),
    "s": "serve is not in this version; use cut, batch, or the Python library",
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


app.add_command(bench)


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


def _open_segmenter(values: dict[str, Any], options: CutoutOptions) -> Segmenter:
    from .models import find_card
    from .segmenters import open_segmenter

    if values["vitmatte"]:
        raise OptionError("-vm (ViTMatte) is not in this version", hint="the nearest way is -a, alpha matting")
    weights = read_extras(values["extras"]).get("weights") or values["weights"]
    card = find_card(check_model(values["model"]))
    store = open_store(values["accept_hash"], values["quiet"])
    if weights is None:
        agree(card, store, values["accept_license"])
    return open_segmenter(card.name, weights=weights, device=values["device"], compat=options.compat, store=store)


@app.command("cut")
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
    from .imageio import load_image

    source = source or default_source()
    goal = choose_target(source, target, values["format_"])
    options = make_options(values)
    check_format(values["format_"], goal, values["all_frames"])
    if values["all_frames"] and (options.crop or options.expand_canvas):
        raise OptionError("--all-frames goes without --crop and --expand-canvas", hint="frames must have one size")
    start = time.perf_counter()
    with talking(values["quiet"], values["debug"]):
        data = read_bytes() if source == "-" else source
        if values["all_frames"]:
            first = _cut_animation(data, goal, values, options)
            _report(source, goal, first, time.perf_counter() - start, values)
            return
        loaded = load_image(data, max_pixels=values["max_pixels"], keep_gps=options.keep_gps)
        from .pipeline import cut_with

        with _open_segmenter(values, options) as segmenter:
            result = cut_with(segmenter, loaded, options)
        _write(result, goal, values)
    _report(source, goal, result, time.perf_counter() - start, values)


def _write(result: Cutout, target: Path | None, values: dict[str, Any]) -> None:
    if target is None:
        put_bytes(result.to_bytes(values["format_"] or "png", quality=values["quality"]))
    else:
        result.save(target, format=values["format_"], quality=values["quality"])


def _cut_animation(data: str | bytes, target: Path | None, values: dict[str, Any], options: CutoutOptions) -> Cutout:
    """The first frame's cut-out, once all are written."""
    from .imageio import load_frames, save_animation
    from .pipeline import cut_with

    with _open_segmenter(values, options) as segmenter:
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


def _report(source: str, target: Path | None, result: Cutout, seconds: float, values: dict[str, Any]) -> None:
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


app.add_command(anime)
app.add_command(person)


@app.command("batch")
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
    from .batch import BatchReport, Job, plan_batch, run_batch, watch_batch
    from .encode import choose_format
    from .imageio import load_image
    from .pipeline import cut_with

    options = make_options(values)
    format_ = choose_format(values["format_"])
    if format_ == "jpeg" and not options.fills_frame:
        raise OptionError("--format jpeg", expected="a background", got="none", hint="add -bgc 255 255 255 255")

    def plan() -> list[Job]:
        return plan_batch(source, target, suffix=f".{format_}", flat=values["flat"])

    with talking(values["quiet"], values["debug"]):
        jobs = plan()
        with _open_segmenter(values, options) as segmenter:

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


@app.command("stream")
@click.argument("width", type=click.IntRange(min=1))
@click.argument("height", type=click.IntRange(min=1))
@model_options
@cutout_options
@click.option("-o", "--output-specifier", "--output_specifier", help="printf-style file names, e.g. out-%03u.png.")
@talk_options
def stream(width: int, height: int, output_specifier: str | None, **values: Any) -> None:
    """Cut raw RGB24 frames from stdin; PNG files by -o, else PNG after PNG on stdout."""
    import numpy as np

    from .imageio import load_image
    from .pipeline import cut_with

    options = make_options(values)
    with talking(values["quiet"], values["debug"]), _open_segmenter(values, options) as segmenter:
        for number, data in enumerate(_read_frames(width * height * 3)):
            start = time.perf_counter()
            frame = np.frombuffer(data, np.uint8).reshape(height, width, 3)
            result = cut_with(segmenter, load_image(frame), options)
            path = Path(_format_name(output_specifier, number)) if output_specifier else None
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                result.save(path)
            else:
                put_bytes(result.to_bytes("png"))
            if values["as_json"]:
                _report(f"frame {number}", path, result, time.perf_counter() - start, values)


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


app.add_command(mask)


@app.group("models", context_settings={"help_option_names": ["-h", "--help"]})
def models() -> None:
    """The catalog, and the weights on this machine."""


models.add_command(import_command)


@models.command("list")
@talk_options
def list_models(quiet: bool, as_json: bool, **_: Any) -> None:
    """All models: what they are for, their licence, and whether their weights are here."""
    from .models import catalog

    store = open_store(quiet=quiet)
    rows = [(card, _is_here(card, store)) for card in catalog()]
    if as_json:
        click.echo(json.dumps([{**asdict(card), "here": here} for card, here in rows]))
        return
    for card, here in rows:
        click.echo(
            f"{'*' if here else ' '} {card.name:<22} {_size_of(card):>7}  {card.license[:14]:<14}  {card.summary}"
        )
    click.echo("* weights are on this machine")


def _is_here(card: ModelCard, store: Store) -> bool:
    return any(store.find(weights) is not None for weights in card.weights)


def _size_of(card: ModelCard) -> str:
    size = card.weights[0].size if card.weights else None
    return f"{size / 1e6:.0f} MB" if size else ""


@models.command("info")
@click.argument("name")
@talk_options
def info(name: str, as_json: bool, **_: Any) -> None:
    """Everything the catalog knows of a model."""
    from .models import find_card

    card = find_card(check_model(name))
    values = asdict(card)
    if as_json:
        click.echo(json.dumps(values))
        return
    for key, value in values.items():
        click.echo(f"{key}: {json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, tuple)) else value}")
    for weights in card.weights:
        click.echo(f"hash of {weights.file}: {weights.hash_origin}")


@models.command("fetch")
@click.argument("names", metavar="NAME...", nargs=-1)
@click.option("--accept-hash", multiple=True, metavar="SHA256", help="Accept weights with this hash.")
@click.option("--accept-license", is_flag=True, help="Accept the licences of the models named.")
@talk_options
def fetch(
    names: tuple[str, ...],
    accept_hash: tuple[str, ...],
    accept_license: bool,
    quiet: bool,
    debug: bool,
    as_json: bool,
) -> None:
    """Bring weights to this machine and check them. Without a name: all that may be used commercially."""
    from .models import catalog, find_card
    from .segmenters import choose_weights

    cards = [find_card(check_model(name)) for name in names]
    if not names:
        cards = [card for card in catalog() if card.commercial is not False and _is_published(card)]
    store = open_store(accept_hash, quiet)
    with talking(quiet, debug):
        for card in cards:
            agree(card, store, accept_license)
            stored = store.ensure(choose_weights(card, store))
            if as_json:
                click.echo(json.dumps({"model": card.name, "path": str(stored.path), "sha256": stored.sha256}))
            elif not quiet:
                click.echo(f"{card.name}: {stored.path}", err=True)


def _is_published(card: ModelCard) -> bool:
    return bool(card.weights) and bool(card.weights[0].sources)


@app.command("doctor")
@talk_options
def doctor(as_json: bool, **_: Any) -> None:
    """What is installed and what is missing: engines, devices, the store, extras."""
    from .doctor import examine

    report = examine(open_store(quiet=True))
    if as_json:
        click.echo(json.dumps(report))
        return
    for section, lines in report.items():
        click.echo(f"{section}:")
        for name, value in lines.items():
            click.echo(f"  {name}: {value}")
