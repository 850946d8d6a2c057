"""The command line's flags, and what is read out of them."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import OptionError

if TYPE_CHECKING:
    from .pipeline import CutoutOptions

__all__ = ["check_model", "cutout_options", "make_options", "model_options", "read_extras", "talk_options"]

_SHORT = {
    "alpha_matting": "-a",
    "alpha_matting_foreground_threshold": "-af",
    "alpha_matting_background_threshold": "-ab",
    "alpha_matting_erode_size": "-ae",
    "decontaminate": "-dc",
    "post_process_mask": "-ppm",
    "only_mask": "-om",
    "bgcolor": "-bgc",
}


def _option_helps() -> dict[str, str]:
    """What the docstring of `CutoutOptions` says of each option: one definition for all doors."""
    from .pipeline import CutoutOptions

    text = inspect.getdoc(CutoutOptions) or ""  # empty under python -OO
    entries = re.findall(r"^    (\w+): (.+(?:\n {8,}.+)*)", text, re.MULTILINE)
    return {name: " ".join(help_.split()) for name, help_ in entries}


def cutout_options(command: Callable[..., None]) -> Callable[..., None]:
    """Every field of `CutoutOptions` as a flag."""
    from .pipeline import CutoutOptions

    helps = _option_helps()
    for option in reversed(fields(CutoutOptions)):
        names = [f"--{option.name.replace('_', '-')}", option.name]
        if option.name in _SHORT:
            names.insert(0, _SHORT[option.name])
        command = click.option(*names, help=helps.get(option.name), **_option_kind(option.type, option.default))(
            command
        )
    return command


def _option_kind(annotation: Any, default: Any) -> dict[str, Any]:
    if annotation == "bool":
        return {"is_flag": True}
    if annotation.startswith("tuple"):
        return {"nargs": 4, "type": int, "metavar": "R G B A", "default": None}
    kind = float if annotation.startswith("float") else int
    return {"type": kind, "default": default, "show_default": default is not None}


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
            click.option("-x", "--extras", metavar="JSON", help="rembg's extras: model_path."),
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
    from .pipeline import CutoutOptions

    return CutoutOptions(**{name: values.pop(name) for name in CutoutOptions.names()})


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


def read_extras(extras: str | None) -> Path | None:
    """The weights file that rembg's `-x '{"model_path": …}'` names; anything else in there is refused."""
    if not extras:
        return None
    try:
        values = json.loads(extras)
    except json.JSONDecodeError as error:
        raise OptionError("-x", expected="a JSON object", got=repr(extras), hint=str(error)) from error
    unknown = sorted(set(values) - {"model_path"}) if isinstance(values, dict) else [type(values).__name__]
    if unknown:
        raise OptionError("-x", expected="only model_path", got=", ".join(unknown), hint="see maskwright cut --help")
    return Path(str(values["model_path"])).expanduser() if "model_path" in values else None
