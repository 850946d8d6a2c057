"""The command `detail`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import MediaError, OptionError
from .film import check_film_target, choose_film_format, read_film, write_film
from .masks import find_segs
from .options import detail_options, make_detail_options, talk_options
from .talk import talking, work_bar

if TYPE_CHECKING:
    from ..detail import DetailOptions, SegPlan, Segs
    from ..detail.diffusers import DiffusersBackend, Pipe

__all__ = ["detail"]

_PATH = click.Path(path_type=Path)
_Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def _together(*options: _Decorator) -> _Decorator:
    """Flags as one decorator."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


# The networks, and what they are to draw.
_model_options = _together(
    click.option(
        "-m",
        "--model",
        required=True,
        type=_PATH,
        metavar="FOLDER|FILE",
        help="Stable Diffusion 1.5 or SDXL: a folder of Diffusers, or one safetensors file.",
    ),
    click.option("-p", "--prompt", default="", help="What to draw."),
    click.option("-n", "--negative-prompt", default="", help="What not to draw."),
    click.option("--embeddings", type=_PATH, help="Both prompts, encoded already: a safetensors file, see the docs."),
    click.option(
        "--tokenizer",
        type=_PATH,
        metavar="FOLDER",
        help="CLIP's tokenizer; a model in one file has none of its own.",
    ),
    click.option(
        "--motion-adapter",
        type=_PATH,
        metavar="FOLDER|FILE",
        help="AnimateDiff's motion modules: the frames become one film.",
    ),
    click.option(
        "--beta-schedule",
        metavar="NAME",
        help="The noise levels of training: scaled_linear or linear. By default linear with a motion adapter, "
        "else what the model says.",
    ),
    click.option("--refiner", type=_PATH, metavar="FOLDER|FILE", help="A second model, which takes the last steps."),
    click.option(
        "--controlnet",
        "controlnets",
        type=_PATH,
        multiple=True,
        metavar="FOLDER|FILE",
        help="A ControlNet. May be repeated; they add up.",
    ),
    click.option(
        "--control-frames",
        type=_PATH,
        multiple=True,
        metavar="FOLDER|FILE",
        help="What each ControlNet is shown, in their order; by default the crops themselves.",
    ),
    click.option("--control-strength", type=float, default=1.0, show_default=True, help="How much ControlNets count."),
    click.option(
        "--control-start",
        type=click.FloatRange(0, 1),
        default=0.0,
        show_default=True,
        help="From when on they count, as a share of the noise levels: 0 pure noise, 1 none.",
    ),
    click.option(
        "--control-end",
        type=click.FloatRange(0, 1),
        default=1.0,
        show_default=True,
        help="Until when they count.",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        help="auto, cpu, cuda, cuda:1, mps; with ! at the end it fails where the device cannot be had.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "float16", "float32"]),
        default="auto",
        show_default=True,
        help="How the networks compute; auto: float16 on CUDA and ROCm alone.",
    ),
    click.option(
        "--batch",
        type=click.IntRange(1),
        default=8,
        show_default=True,
        help="Frames that a model without motion sees at a time.",
    ),
    click.option("--tiled-vae", is_flag=True, help="Encode and decode in tiles, for pictures the VAE has no room for."),
)


# Where to redraw.
_mask_options = _together(
    click.option(
        "--masks",
        type=_PATH,
        metavar="FOLDER|FILE",
        help="A mask for each frame, or one for all: a folder, a clip, an animation, a picture, or segments (.npz).",
    ),
    click.option(
        "--mask-from",
        metavar="WHO[:PART,…]",
        help="Find them in each frame: person:face,hair, anime:eye, or a model of the catalog.",
    ),
    click.option("--track", is_flag=True, help="Let the crop follow the subject, one for each part."),
    click.option("--grow", type=float, default=0, help="Move the masks' edges outwards. Pixels."),
    click.option(
        "--crop-factor",
        type=click.FloatRange(1),
        help="How many times as large as its box a crop is. By default 3; 1.5 with --track.",
    ),
    click.option(
        "--drop-size",
        type=click.IntRange(0),
        default=10,
        show_default=True,
        help="Leave out things not larger than this in both axes. Pixels.",
    ),
    click.option(
        "--feather",
        type=click.IntRange(0, 100),
        default=5,
        show_default=True,
        help="Soften the edge of what is pasted. Pixels.",
    ),
    click.option(
        "--alpha",
        type=click.IntRange(0, 255),
        default=255,
        show_default=True,
        help="How opaque it is pasted; 255 wholly.",
    ),
    click.option("--accept-hash", multiple=True, metavar="SHA256", help="Accept weights with this hash."),
    click.option("--accept-license", is_flag=True, help="Accept the licence of the model that finds masks."),
)


@click.command("detail")
@click.argument("input_path", metavar="INPUT", type=_PATH)
@click.argument("output_path", metavar="OUTPUT", type=_PATH)
@_model_options
@_mask_options
@detail_options
@click.option(
    "--fps",
    type=click.FloatRange(0, min_open=True),
    default=24,
    show_default=True,
    help="Frames a second of an animation or a clip made of a folder.",
)
@click.option("--max-pixels", type=int, help="Refuse frames with more pixels than this.")
@talk_options
def detail(input_path: Path, output_path: Path, **values: Any) -> None:
    """Redraw what lies inside masks, across the frames of a film, with Stable Diffusion.

    INPUT is a clip, a folder of frames, an animation (webp, png, gif) or a picture; OUTPUT a new folder for
    frames, or a file.
    The model lies on this machine; nothing is fetched for it.
    """
    from ..detail import plan_detail, redraw, scale_segs

    options = make_detail_options(values)
    _check(input_path, output_path, options, values)
    start = time.perf_counter()
    with talking(values["quiet"], values["debug"]):
        film = read_film(input_path, values["max_pixels"])
        choose_film_format(film, output_path)
        size_hw = film.frames.shape[1:3]
        segs = scale_segs(find_segs(film.frames, values), size_hw, compat=options.compat)
        with _open(values) as backend:
            plans = plan_detail(segs, len(film.frames), options, multiple=backend.multiple)
            with work_bar("redrawing", "steps", values["quiet"]) as progress:
                controlled = _with_controls(segs, values)
                pasting = {name: values[name] for name in ("feather", "alpha")}
                frames = redraw(film.frames, controlled, backend, options, **pasting, progress=progress)
            device = str(backend.device)
        write_film(replace(film, frames=frames), output_path, values["fps"])
        report = _make_report(segs, plans)
    seconds = round(time.perf_counter() - start, 3)
    if values["as_json"]:
        names = {"input": str(input_path), "output": str(output_path), "model": str(values["model"])}
        click.echo(json.dumps({**names, "device": device, "seconds": seconds, "frames": len(film.frames), **report}))
    elif not values["quiet"]:
        redrawn = sum(not plan.skipped for plan in plans)
        if not redrawn:
            click.echo("maskwright: note: nothing is selected: the frames stay as they are", err=True)
        click.echo(f"{output_path}  {len(film.frames)} frames, {redrawn} segments redrawn  {seconds:.2f} s", err=True)


def _check(source: Path, target: Path, options: DetailOptions, values: dict[str, Any]) -> None:
    """See what flags contradict each other, and that the film can be written, before anything is read."""
    from ..detail.schedules import check_scheduler
    from ..detail.steppers import find_sampler

    if not source.exists():
        raise MediaError(f"there is no {source}", hint="check the name")
    if (values["masks"] is None) == (values["mask_from"] is None):
        raise OptionError("one of --masks and --mask-from must be given", hint="such as --mask-from person:face")
    if values["embeddings"] is not None and (values["prompt"] or values["negative_prompt"]):
        raise OptionError("--embeddings goes without --prompt and --negative-prompt", hint="leave one of them out")
    hints, nets = len(values["control_frames"]), len(values["controlnets"])
    if hints not in (0, nets):
        raise OptionError("--control-frames", expected=f"given 0 or {nets} times, once a ControlNet", got=str(hints))
    check_film_target(source, target)
    find_sampler(options.sampler_name)
    check_scheduler(options.scheduler)


def _open(values: dict[str, Any]) -> DiffusersBackend:
    """The backend that the flags ask for; the caller closes it."""
    from ..detail.diffusers import DiffusersBackend, load_prompts

    embeddings = None if values["embeddings"] is None else load_prompts(values["embeddings"])

    def load(path: Path, *, refiner: bool) -> Pipe:
        from ..detail.diffusers import load_pipe

        return load_pipe(
            path,
            prompt=values["prompt"],
            negative_prompt=values["negative_prompt"],
            embeddings=embeddings,
            tokenizer=values["tokenizer"],
            motion_adapter=values["motion_adapter"],
            beta_schedule=values["beta_schedule"],
            refiner=refiner,
        )

    return DiffusersBackend(
        load(values["model"], refiner=False),
        None if values["refiner"] is None else load(values["refiner"], refiner=True),
        device=values["device"],
        half=None if values["precision"] == "auto" else values["precision"] == "float16",
        batch=values["batch"],
        tiled=values["tiled_vae"],
    )


def _with_controls(segs: Segs, values: dict[str, Any]) -> Segs:
    """The segments with the ControlNets of the flags."""
    from ..detail.diffusers import ControlNet, load_controlnet, with_controls

    nets = [load_controlnet(path) for path in values["controlnets"]]
    shown = [read_film(path).frames for path in values["control_frames"]]
    strength, start, end = (values[f"control_{name}"] for name in ("strength", "start", "end"))
    controls = [ControlNet(net, strength, start, end, hint) for net, hint in zip_longest(nets, shown)]
    return with_controls(segs, *controls) if controls else segs


def _make_report(segs: Segs, plans: tuple[SegPlan, ...]) -> dict[str, Any]:
    """What was redrawn, and how large."""
    return {
        "height": segs.size_hw[0],
        "width": segs.size_hw[1],
        "segments": [
            {
                "label": seg.label,
                "crop_region": seg.crop_region,
                "resized_hw": plan.resized_hw,
                "seed": plan.seed,
                "skipped": plan.skipped,
            }
            for seg, plan in zip(segs, plans, strict=True)
        ],
    }
