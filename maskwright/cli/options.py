"""The command line's flags, and what is read out of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import OptionError
from ..options import option_kind, option_text

if TYPE_CHECKING:
    from ..cutout_options import CutoutOptions
    from ..detail.options import DetailOptions
    from ..imageio import LoadedImage

__all__ = [
    "check_model",
    "cutout_options",
    "detail_options",
    "make_detail_options",
    "make_options",
    "mask_options",
    "model_options",
    "person_options",
    "read_extras",
    "server_options",
    "talk_options",
    "video_options",
]

_SHORT = {
    "alpha_matting": "-a",
    "alpha_matting_foreground_threshold": "-af",
    "alpha_matting_background_threshold": "-ab",
    "alpha_matting_erode_size": "-ae",
    "decontaminate": "-dc",
    "post_process_mask": "-ppm",
    "only_mask": "-om",
    "bgcolor": "-bgc",
    "host": "-h",
    "port": "-p",
    "threads": "-t",
    "log_level": "-l",
}


def cutout_options(command: Callable[..., None]) -> Callable[..., None]:
    """Every field of `CutoutOptions` as a flag."""
    from ..cutout_options import CutoutOptions

    return _as_flags(command, fields(CutoutOptions))


def detail_options(command: Callable[..., None]) -> Callable[..., None]:
    """Every field of `DetailOptions` as a flag."""
    from ..detail.options import DetailOptions

    return _as_flags(command, fields(DetailOptions))


def make_detail_options(values: dict[str, Any]) -> DetailOptions:
    """The fields of `DetailOptions` taken out of a command's values."""
    from ..detail.options import DetailOptions

    return DetailOptions(**{field.name: values.pop(field.name) for field in fields(DetailOptions)})


def mask_options(command: Callable[..., None]) -> Callable[..., None]:
    """The fields of `CutoutOptions` that work on a mask alone, as flags."""
    from ..cutout_options import CutoutOptions

    return _as_flags(command, [field for field in fields(CutoutOptions) if _is_for_masks(field)])


def person_options(command: Callable[..., None]) -> Callable[..., None]:
    """Every field of `PersonOptions` as a flag; the parts have commas between them."""
    from ..person import PersonOptions

    parts, *others = fields(PersonOptions)
    flag = click.option(
        "--parts",
        metavar="PART,…",
        help=f"{option_text(parts)} By default face; person where the model knows no other.",
    )
    return flag(_as_flags(command, others))


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Every field of `ServerSettings` as a flag."""
    from ..server.settings import ServerSettings

    return _as_flags(command, fields(ServerSettings))


def video_options(command: Callable[..., None]) -> Callable[..., None]:
    """Every field of `VideoOptions` as a flag, but the background clip, which `--background` names."""
    from ..video.options import VideoOptions

    return _as_flags(command, [field for field in fields(VideoOptions) if field.name != "background_clip"])


def _is_for_masks(field: Field[Any]) -> bool:
    return field.metadata["group"] == "mask" or field.name.startswith("crop")


def _as_flags(command: Callable[..., None], options: Sequence[Field[Any]]) -> Callable[..., None]:
    for option in reversed(options):
        flag = option.name.replace("_", "-")
        names = [f"--{flag}/--no-{flag}" if option.default is True else f"--{flag}", option.name]
        if option.name in _SHORT:
            names.insert(0, _SHORT[option.name])
        if option.name == "log_level":
            names.insert(0, "--log_level")  # rembg's
        command = click.option(*names, help=option_text(option), **_flag_kind(option))(command)
    return command


def _flag_kind(option: Field[Any]) -> dict[str, Any]:
    """What Click is told of a flag: its type and how its value is written."""
    kind, facts = option_kind(option), option.metadata
    if kind == "bool":
        return {"is_flag": True, "default": option.default}
    shown = {"default": option.default, "show_default": option.default is not None}
    if kind == "tuple[str, ...]":
        return {"multiple": True, "metavar": facts["unit"], **shown}
    if kind.startswith("tuple"):
        return {"nargs": kind.count("int"), "type": int, "metavar": facts["unit"], **shown}
    if kind in ("int", "float"):
        return {"type": {"int": int, "float": float}[kind], **shown}
    if facts["choices"]:
        return {"type": click.Choice(facts["choices"]), **shown}
    return {"type": str, "metavar": facts["unit"], **shown}


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which model runs, where, and what may be fetched for it."""
    for option in reversed(
        (
            click.option("-m", "--model", default="u2netp", show_default=True, help="A name of the catalog."),
            click.option("--weights", type=click.Path(path_type=Path), help="Your own weights file."),
            click.option(
                "--device",
                default="auto",
                show_default=True,
                help="auto, cpu, cuda, cuda:1, tensorrt, rocm, openvino, coreml, directml; with ! at the end it "
                "fails where the device cannot be had.",
            ),
            click.option("--accept-hash", multiple=True, metavar="SHA256", help="Accept weights with this hash."),
            click.option("--accept-license", is_flag=True, help="Accept the licence of the model."),
            click.option("-vm", "--vitmatte", is_flag=True, hidden=True),
            click.option("-x", "--extras", metavar="JSON", help="rembg's extras: model_path, cc."),
        )
    ):
        command = option(command)
    return command


def talk_options(command: Callable[..., None]) -> Callable[..., None]:
    """How much is said, and in which form."""
    for option in (
        click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        click.option("--json", "as_json", is_flag=True, help="Report what was done as JSON."),
        click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
    ):
        command = option(command)
    return command


def make_options(values: dict[str, Any]) -> CutoutOptions:
    """The fields of `CutoutOptions` taken out of a command's values."""
    from ..cutout_options import CutoutOptions

    taken = {name: values.pop(name) for name in CutoutOptions.names() if name in values}
    part = read_extras(values.get("extras")).get("part")
    if part is not None:
        if taken["part"] not in (None, part):
            raise OptionError("--part and -x cc", expected="the same", got=f"{taken['part']} and {part}")
        taken["part"] = part
    if taken.get("background") is not None:
        taken["background"] = _load_background(taken["background"])
    return CutoutOptions(**taken)


def _load_background(text: str) -> str | LoadedImage:
    """The text where it is a colour or a blur, else the picture of this name."""
    from ..imageio import load_image
    from ..refine.layers import parse_background

    try:
        parse_background(text)
    except OptionError as error:
        if not Path(text).is_file():
            raise OptionError(
                "--background",
                expected="a colour, a picture file or blur[:RADIUS]",
                got=repr(text),
                hint="such as white, #ff8800, beach.jpg or blur:20",
            ) from error
        return load_image(text)
    return text


def check_model(name: str) -> str:
    """The name, unless it is one of rembg's that has no counterpart here."""
    nearest = {
        "sam": "point prompts are not in this version; the nearest is isnet-general-use",
        "birefnet-general-fp16": "the nearest is birefnet-general, the same network in full precision",
        "withoutbg": "it sends pictures to a paid service; the nearest on this machine is birefnet-general",
        "atlascloud": "it sends pictures to a paid service; the nearest on this machine is birefnet-general",
    }
    if name in nearest:
        raise OptionError(f"model {name} is not here", hint=nearest[name])
    return name


def read_extras(extras: str | None) -> dict[str, Any]:
    """What rembg's `-x` says, as `weights` (its model_path) and `part` (its cc); anything else in there is refused."""
    if not extras:
        return {}
    try:
        values = json.loads(extras)
    except json.JSONDecodeError as error:
        raise OptionError("-x", expected="a JSON object", got=repr(extras), hint=str(error)) from error
    known = {"model_path", "cc", "cloth_category"}
    unknown = sorted(set(values) - known) if isinstance(values, dict) else [type(values).__name__]
    if unknown:
        raise OptionError(
            "-x", expected="only model_path or cc", got=", ".join(unknown), hint="see maskwright cut --help"
        )
    found: dict[str, Any] = {}
    if "model_path" in values:
        found["weights"] = Path(str(values["model_path"])).expanduser()
    garment = values.get("cc") or values.get("cloth_category")
    if garment:
        found["part"] = {"attire": "all"}.get(str(garment), str(garment))
    return found
