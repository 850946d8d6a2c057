"""Weights files of any kind as networks of ours: read, recognised by their contents, and written again.

Nothing that a file holds is run. Checkpoints are read with `weights_only`, safetensors and ONNX hold no programs.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import EngineUnavailable, ModelError
from .known import build_bare, relatives

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "CHECKPOINTS",
    "load_network",
    "load_state",
    "recognise",
    "write_safetensors",
]


CHECKPOINTS = (".pth", ".pt", ".ckpt", ".bin")
_NESTS = ("state_dict", "model_state_dict", "model", "net", "params")  # where a checkpoint may keep its tensors
_PREFIXES = ("module.", "net.", "model.", "_orig_mod.")  # what training wraps put before every name
_TRAINING = "gt_encoder"  # IS-Net's encoder of masks, which only training uses
_TWICE = "backbone.", "lr_branch.backbone."  # MODNet's, one module under two names

_Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


def load_network(path: Path, network: str | None = None) -> tuple[str, nn.Module]:
    """The name of the network whose weights a file holds, and the network with them, in evaluation mode.

    An ONNX file gives its weights to the same network: normalisations that were folded into convolutions stay so, and
    parameter names are then other than the published ones.

    Args:
        path: A file ending in .safetensors, .pth, .pt, .ckpt, .bin or .onnx.
        network: The name `networks.build_network` knows; None: what the file's contents say.

    Raises:
        EngineUnavailable: PyTorch is not installed.
        ModelError: The file cannot be read or holds a program, or its weights are of no network that is known.
    """
    _import_torch()
    if path.suffix.lower() == ".onnx":
        from .onnx_weights import load_onnx_network

        return load_onnx_network(path, network)
    state = load_state(path)
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    try:
        name = recognise(shapes, network)
    except ModelError as error:
        raise ModelError(f"{path}: {error.what}", expected=error.expected, got=error.got, hint=error.hint) from error
    built = build_bare(name)
    built.load_state_dict(state, strict=True, assign=True)
    return name, built.requires_grad_(False)


def load_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint in float32 under the names its network has without training's wraps.

    Args:
        path: A file ending in .safetensors, .pth, .pt, .ckpt or .bin.

    Raises:
        EngineUnavailable: PyTorch or safetensors is not installed.
        ModelError: The file cannot be read, or holds more than tensors and plain values.
    """
    if path.suffix.lower() == ".safetensors":
        content: object = _read_safetensors(path)
    elif path.suffix.lower() in CHECKPOINTS:
        content = _read_checkpoint(path)
    else:
        raise ModelError(
            f"{path}", expected=f"a file ending in .safetensors, .onnx, {', '.join(CHECKPOINTS)}", got=repr(path.suffix)
        )
    state = _strip_prefixes(_find_tensors(content, path))
    short, long = _TWICE
    for name in [name for name in state if name.startswith(short)]:
        state.setdefault(long + name.removeprefix(short), state[name])
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def recognise(shapes: _Shapes, network: str | None = None) -> str:
    """The network that has exactly these parameters.

    Args:
        shapes: The shape of each parameter and buffer, by its name.
        network: The only one to consider; None: all that are known.

    Raises:
        EngineUnavailable: PyTorch is not installed.
        ModelError: There is no such network.
    """
    _import_torch()
    names = relatives(network)
    for name in names:
        if _known_shapes(name) == shapes:
            return name
    nearest = min(names, key=lambda name: len(_known_shapes(name).items() ^ shapes.items()))
    raise ModelError(
        "weights",
        expected=f"of {' or '.join(names)}",
        got=_describe_difference(_known_shapes(nearest), shapes, nearest),
    )


def write_safetensors(state: Mapping[str, Tensor], path: Path, notes: Mapping[str, str]) -> None:
    """Write tensors as a safetensors file; the same tensors and notes give the same bytes.

    Args:
        state: As `load_state` gives it.
        path: Where to write.
        notes: What the file says of itself, such as what it was made from.

    Raises:
        EngineUnavailable: safetensors is not installed.
    """
    _import_safetensors()
    from safetensors.torch import save

    once = {name: value.contiguous() for name, value in state.items() if not name.startswith(_TWICE[1])}
    # One entry: safetensors writes several in an order that differs from run to run.
    path.write_bytes(save(once, {"maskwright": json.dumps(dict(notes), sort_keys=True)}))


@lru_cache
def _known_shapes(name: str) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in build_bare(name).state_dict().items()}


def _describe_difference(known: _Shapes, shapes: _Shapes, name: str) -> str:
    if not known.keys() & shapes.keys():
        return f"{len(shapes)} tensors, none of a known name"
    missing, extra = sorted(known.keys() - shapes.keys()), sorted(shapes.keys() - known.keys())
    other = [key for key in sorted(known.keys() & shapes.keys()) if known[key] != shapes[key]]
    said = [f"{len(missing)} missing ({missing[0]})"] if missing else []
    said += [f"{len(extra)} more ({extra[0]})"] if extra else []
    said += (
        [f"{len(other)} of another shape ({other[0]}: {shapes[other[0]]} instead of {known[other[0]]})"]
        if other
        else []
    )
    return f"nearest to {name}: {', '.join(said)}"


def _strip_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without what only training needs, and without the prefixes that all names share."""
    state = {name: value for name, value in state.items() if _TRAINING not in name.split(".")}
    while state and (shared := next((p for p in _PREFIXES if all(name.startswith(p) for name in state)), None)):
        state = {name.removeprefix(shared): value for name, value in state.items()}
    return state


def _find_tensors(content: object, path: Path) -> dict[str, Tensor]:
    """The tensors by name, wherever in the checkpoint they are."""
    from torch import Tensor

    for _ in range(len(_NESTS)):
        if not isinstance(content, Mapping):
            break
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
        content = next((content[name] for name in _NESTS if name in content), None)
    raise ModelError(
        f"{path}", expected="a dictionary of tensors", got=type(content).__name__, hint="save a state_dict"
    )


def _read_safetensors(path: Path) -> dict[str, Any]:
    _import_safetensors()
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except OSError as error:
        raise _unreadable(path, error) from error
    except SafetensorError as error:
        raise ModelError(
            f"{path} is not a whole safetensors file ({error})", hint="fetch or convert it again"
        ) from error


def _read_checkpoint(path: Path) -> object:
    torch = _import_torch()
    try:
        with warnings.catch_warnings():  # what it warns of is refused below, in one line
            warnings.filterwarnings("ignore", "Detected pickle protocol|'torch.load' received a zip", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise _unreadable(path, error) from error
    except torch.serialization.pickle.UnpicklingError as error:
        text = str(error)
        raise _refused(path, (text.partition("WeightsUnpickler error:")[2] or text).strip()) from error
    except (RuntimeError, ValueError, EOFError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _refused(path, str(error) or type(error).__name__) from error


def _refused(path: Path, reason: str) -> ModelError:
    program = re.search(r"GLOBAL (\S+) (?:was not|whose module)", reason) or re.search("(TorchScript) archive", reason)
    if program:
        return ModelError(
            f"{path} holds a program and not only tensors ({program[1]}); nothing of it was run",
            hint="save the model's state_dict() instead",
        )
    why = next(iter(reason.splitlines()), "no reason given")[:200]
    return ModelError(f"{path} is not a checkpoint that can be read ({why})", hint="fetch it again")


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(f"{path} cannot be read ({error.strerror or type(error).__name__})", hint="check the path")


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise EngineUnavailable("PyTorch is not installed", hint='pip install "maskwright[torch]"') from error
    return torch


def _import_safetensors() -> None:
    _import_torch()
    try:
        import safetensors  # noqa: F401
    except ImportError as error:
        raise EngineUnavailable("safetensors is not installed", hint='pip install "maskwright[torch]"') from error
