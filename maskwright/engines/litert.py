"""LiteRT, which was TensorFlow Lite, as an engine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ..errors import EngineFailed, EngineUnavailable
from ..types import AnyArray, FloatArray
from .base import Device, InputShape, check_batch, choose_threads, fall_back, first_line, parse_device
from .tflite_file import is_tflite, read_metadata

__all__ = ["LiteRTEngine"]

_CURE = "leave the ! away, or use a model whose weights are ONNX"
_ROWS = 16
_ERRORS = (RuntimeError, ValueError)
_construction = Lock()


class LiteRTEngine:
    """A network in a TFLite file, run by LiteRT on the CPU.

    TFLite keeps the channels last; batches are turned on the way in and on the way out.

    Args:
        path: The TFLite file.
        device: As `open_engine` says; what is not the CPU cannot be had here.
        threads: Threads for one run; None: `MASKWRIGHT_THREADS`, else `OMP_NUM_THREADS`, else LiteRT's choice.

    Attributes:
        metadata: What the file says of its own input and output.

    Raises:
        EngineUnavailable: LiteRT or the device is not here.
        EngineFailed: The file is not a network that LiteRT can load, or not one that takes a picture.
        OptionError: No such device.
    """

    def __init__(self, path: Path, device: str = "auto", threads: int | None = None) -> None:
        self.device = self.resolve_device(device).name
        self._path = path
        self._lock = Lock()  # an interpreter has one set of tensors
        data = path.read_bytes()
        if not is_tflite(data):
            raise self._refusal("it does not begin as a TFLite file does")
        self._interpreter = self._open(data, choose_threads(threads))
        self.metadata = read_metadata(path, data)
        self.name = f"litert {_version()}"
        self._input, self.input_shape = self._read_input()
        self._outputs = [output["index"] for output in self._interpreter.get_output_details()]

    @staticmethod
    def resolve_device(device: str) -> Device:
        """The CPU, whichever device is named.

        Args:
            device: As `open_engine` says.

        Raises:
            EngineUnavailable: LiteRT is not here, or another device that was insisted on.
            OptionError: No such device.
        """
        wanted = parse_device(device)
        _import()
        if wanted.name not in ("auto", "cpu"):
            fall_back(wanted, "LiteRT runs on the CPU here", _CURE)
        return Device("cpu", 0, False)

    def _open(self, data: bytes, threads: int) -> Any:
        try:
            with _quiet():
                interpreter = _import()(model_content=data, num_threads=threads or None)
                interpreter.allocate_tensors()
        except _ERRORS as error:
            raise self._refusal(first_line(error)) from error
        return interpreter

    def _refusal(self, reason: str) -> EngineFailed:
        return EngineFailed(
            f"{self._path} is not a network that LiteRT can load ({reason})",
            hint="fetch it again, or name a TFLite file with --weights",
        )

    def _read_input(self) -> tuple[int, InputShape]:
        """The index of the first input, and its shape with the channels first."""
        inputs = self._interpreter.get_input_details()
        signature = [int(side) for side in inputs[0]["shape_signature"]] if inputs else []
        if len(signature) != 4 or inputs[0]["dtype"] != np.float32:
            raise EngineFailed(
                f"{self._path}: the first input",
                expected="(N, H, W, 3) float32",
                got=f"{tuple(signature)} {np.dtype(inputs[0]['dtype']).name}" if inputs else "none",
                hint="this network is not one that takes a picture as float",
            )
        batch, height, width, channels = (side if side > 0 else None for side in signature)
        return inputs[0]["index"], (batch, channels, height, width)

    def run(self, batch: FloatArray, outputs: Sequence[int] = (0,)) -> list[AnyArray]:
        """The named outputs as float32, channels first: (N, C, h, w), or (N, h, w) where the graph gives that.

        Args:
            batch: (N, 3, H, W) float32.
            outputs: Indices of the outputs wanted.

        Raises:
            EngineFailed: LiteRT stopped while computing, or there is no such output.
            ShapeError: The network does not take a batch of this shape.
        """
        check_batch(batch, self.input_shape)
        if max(outputs) >= len(self._outputs):
            raise EngineFailed(f"{self._path}: output", expected=f"below {len(self._outputs)}", got=str(max(outputs)))
        turned = np.ascontiguousarray(batch.transpose(0, 2, 3, 1), dtype=np.float32)  # (N, H, W, 3)
        try:
            with self._lock:
                self._fit(turned.shape)
                self._interpreter.set_tensor(self._input, turned)
                self._interpreter.invoke()
                return [_channels_first(self._interpreter.tensor(self._outputs[index])()) for index in outputs]
        except _ERRORS as error:
            raise EngineFailed(
                f"{self._path.name} stopped while computing ({first_line(error)})", hint="try a smaller picture"
            ) from error

    def _fit(self, shape: tuple[int, ...]) -> None:
        """Give a graph that takes any size the size of this batch."""
        if None not in self.input_shape:
            return
        if tuple(self._interpreter.get_input_details()[0]["shape"]) != shape:
            self._interpreter.resize_tensor_input(self._input, shape)
            self._interpreter.allocate_tensors()

    def close(self) -> None:
        """Give the interpreter's memory back."""
        self._interpreter = None


def _channels_first(result: AnyArray) -> AnyArray:
    """A copy of what lies in the interpreter's own memory."""
    if result.ndim != 4:
        return result.astype(np.float32)
    count, height, width, channels = result.shape
    turned = np.empty((count, channels, height, width), np.float32)
    for start in range(0, height, _ROWS):  # in blocks that stay in the processor's cache: five times as quick
        rows = slice(start, start + _ROWS)
        turned[:, :, rows] = result[:, rows].transpose(0, 3, 1, 2)
    return turned


def _import() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise EngineUnavailable("LiteRT is not installed", hint='pip install "maskwright[person]"') from error
    return Interpreter


def _version() -> str:
    from importlib.metadata import version

    return version("ai-edge-litert")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what LiteRT only tells (which kernels it uses) from stderr, and hands on all else that arrives there."""
    try:
        stderr = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    with _construction, tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            for line in caught:
                if not line.startswith((b"INFO:", b"VERBOSE:")):
                    os.write(2, line)
