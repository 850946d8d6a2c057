"""What every runtime looks like from outside."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from ..errors import EngineUnavailable, OptionError, ShapeError
from ..types import AnyArray, FloatArray

__all__ = [
    "DEVICES",
    "Device",
    "Engine",
    "InputShape",
    "Metadata",
    "check_batch",
    "choose_threads",
    "fall_back",
    "first_line",
    "parse_device",
]

_logger = logging.getLogger(__name__)

InputShape: TypeAlias = tuple[int | None, int | None, int | None, int | None]

DEVICES = ("auto", "cpu", "cuda", "tensorrt", "rocm", "openvino", "mps", "coreml", "directml")
_ALIASES = {"gpu": "cuda", "dml": "directml"}

_warned: set[str] = set()


@runtime_checkable
class Engine(Protocol):
    """A network that is ready to compute. Safe to share between threads.

    Attributes:
        name: The runtime and its version.
        device: Where it computes, such as `cpu` or `cuda:0`.
        input_shape: (N, 3, H, W) of the input; None where any size goes.
    """

    name: str
    device: str
    input_shape: InputShape

    def run(self, batch: FloatArray, outputs: Sequence[int] = (0,)) -> list[AnyArray]:
        """The named outputs.

        Args:
            batch: (N, 3, H, W) float32, as the model's recipe scales it.
            outputs: Indices of the outputs wanted.

        Raises:
            EngineFailed: The runtime stopped while computing.
        """
        ...

    def close(self) -> None:
        """Give memory back. The engine must not be used afterwards."""
        ...


@dataclass(frozen=True)
class Metadata:
    """What a weights file says of its own input and output; an engine whose files can say it has it as `metadata`.

    Attributes:
        mean: Per channel R, G, B, in units of 0 to 255. None: the file does not say.
        std: The same.
        activation: What is still to be applied to the output: `none`, `sigmoid` or `softmax`.
    """

    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    activation: Literal["none", "sigmoid", "softmax"] | None = None


@dataclass(frozen=True)
class Device:
    """A device as a user names it.

    Attributes:
        name: One of `DEVICES`.
        index: Which of several.
        strict: Whether to fail where it cannot be had, instead of computing on the CPU.
    """

    name: str
    index: int
    strict: bool


def parse_device(device: str) -> Device:
    """What a user's words mean.

    >>> parse_device("gpu:1!")
    Device(name='cuda', index=1, strict=True)

    Raises:
        OptionError: No such device.
    """
    name, _, index = device.removesuffix("!").partition(":")
    name = _ALIASES.get(name.lower(), name.lower())
    if name not in DEVICES or (index and not index.isdigit()):
        raise OptionError("device", expected="one of " + ", ".join(DEVICES), got=repr(device), hint="e.g. cuda:1!")
    return Device(name, int(index or 0), device.endswith("!"))


def fall_back(wanted: Device, why: str, cure: str) -> None:
    """One warning in the life of the process that the CPU computes instead.

    Args:
        wanted: What was asked for.
        why: Why it cannot be had.
        cure: What to do about it.

    Raises:
        EngineUnavailable: The device was insisted on.
    """
    if wanted.strict:
        raise EngineUnavailable(f"device {wanted.name} cannot be had: {why}", hint=cure)
    if wanted.name not in _warned:
        _warned.add(wanted.name)
        _logger.warning("device %s cannot be had (%s): running on the CPU", wanted.name, why)


def choose_threads(threads: int | None) -> int:
    """Threads for one run: as asked, else `MASKWRIGHT_THREADS`, else `OMP_NUM_THREADS`, else 0 (the runtime's choice).

    Raises:
        OptionError: A variable that is no number.
    """
    if threads is not None:
        return threads
    for name in ("MASKWRIGHT_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value:
            if not value.isdigit():
                raise OptionError(name, expected="a whole number of threads", got=repr(value), hint="unset it")
            return int(value)
    return 0


def check_batch(batch: FloatArray, wanted: InputShape) -> None:
    """Nothing, where a batch has the shape a network takes.

    Raises:
        ShapeError: It has another.
    """
    fits = batch.ndim == 4 and all(side is None or side == got for side, got in zip(wanted, batch.shape, strict=True))
    if not fits:
        shown = ", ".join("any" if side is None else str(side) for side in wanted)
        raise ShapeError("network input", expected=f"({shown})", got=str(batch.shape))


def first_line(error: Exception) -> str:
    """The first line of what a runtime says, at most 200 characters."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
