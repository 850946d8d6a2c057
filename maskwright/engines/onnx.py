"""ONNX Runtime as an engine. The word `provider` stays in this file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EngineFailed, EngineUnavailable
from ..types import AnyArray, FloatArray
from .base import Device, check_batch, choose_threads, fall_back, first_line, parse_device

__all__ = ["OnnxEngine", "available_devices"]

# Device name -> provider names to try, in this order. `auto` takes the first of _AUTO that is there: CoreML and
# DirectML are used when named, because their results differ more from the CPU's than CUDA's do.
_PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider",),
    "rocm": ("MIGraphXExecutionProvider", "ROCMExecutionProvider"),
    "openvino": ("OpenVINOExecutionProvider",),
    "coreml": ("CoreMLExecutionProvider",),
    "directml": ("DmlExecutionProvider",),
}
_AUTO = ("cuda", "rocm", "cpu")
_INDEXED = frozenset({"cuda", "tensorrt", "rocm", "directml"})
_CURE = 'pip install "maskwright[gpu]" and matching drivers, or leave the ! away'


def available_devices() -> tuple[str, ...]:
    """Devices that the installed ONNX Runtime was built for.

    Raises:
        EngineUnavailable: It is not installed.
    """
    built = set(_import().get_available_providers())
    return tuple(device for device, providers in _PROVIDERS.items() if built & set(providers))


class OnnxEngine:
    """A network in an ONNX file, run by ONNX Runtime.

    Args:
        path: The ONNX file.
        device: As `open_engine` says; `mps` means CoreML.
        threads: Threads for one run; None: `MASKWRIGHT_THREADS`, else `OMP_NUM_THREADS`, else the runtime's choice.

    Raises:
        EngineUnavailable: ONNX Runtime or the device is not here.
        EngineFailed: The file is not a network that this runtime can load.
        OptionError: No such device.
    """

    def __init__(self, path: Path, device: str = "auto", threads: int | None = None) -> None:
        runtime = _import()
        resolved = self.resolve_device(device)
        provider = next(name for name in _PROVIDERS[resolved.name] if name in runtime.get_available_providers())
        self._path = path
        self._errors = _runtime_errors()
        self._session = self._open(runtime, provider, resolved.index, threads)
        self.name = f"onnxruntime {runtime.__version__}"
        self.device = self._device_in_use(resolved)
        self.input_shape = self._read_input_shape()
        self._outputs = [output.name for output in self._session.get_outputs()]

    @staticmethod
    def resolve_device(device: str) -> Device:
        """The device a network will run on: equal for words that mean the same on this machine.

        Args:
            device: As `open_engine` says.

        Raises:
            EngineUnavailable: ONNX Runtime is not here, or a device that was insisted on.
            OptionError: No such device.
        """
        wanted = parse_device(device)
        here = available_devices()
        if wanted.name == "mps":
            wanted = replace(wanted, name="coreml")
        if wanted.name == "auto":
            wanted = replace(wanted, name=next(name for name in _AUTO if name in here))
        if wanted.name not in here:
            fall_back(wanted, f"this ONNX Runtime was built for {', '.join(here)}", _CURE)
        if wanted.name not in here or wanted.name == "cpu":
            return Device("cpu", 0, False)
        return wanted

    def _open(self, runtime: Any, provider: str, index: int, threads: int | None) -> Any:
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        count = choose_threads(threads)
        if count:
            options.intra_op_num_threads = options.inter_op_num_threads = count
        settings = [{"device_id": index}] if provider not in _PROVIDERS["cpu"] and index else [{}]
        providers = [provider] if provider == "CPUExecutionProvider" else [provider, "CPUExecutionProvider"]
        settings += [{}] * (len(providers) - 1)
        try:
            return runtime.InferenceSession(str(self._path), options, providers=providers, provider_options=settings)
        except self._errors as error:
            raise EngineFailed(
                f"{self._path} is not a network that ONNX Runtime can load ({first_line(error)})",
                hint="fetch it again, or name an ONNX file with --weights",
            ) from error

    def _device_in_use(self, resolved: Device) -> str:
        """The device that really runs: a provider that is listed may still fail to load its libraries."""
        provider = self._session.get_providers()[0]
        device = next(name for name, providers in _PROVIDERS.items() if provider in providers)
        if device == "cpu" and resolved.name != "cpu":
            fall_back(resolved, "its libraries did not load", _CURE)
        return f"{device}:{resolved.index}" if device in _INDEXED else device

    def _read_input_shape(self) -> tuple[int | None, int | None, int | None, int | None]:
        inputs = self._session.get_inputs()
        if not inputs or len(inputs[0].shape) != 4:
            raise EngineFailed(
                f"{self._path}: the first input",
                expected="(N, 3, H, W)",
                got=str(inputs[0].shape if inputs else None),
                hint="this network is not one that takes a picture",
            )
        self._input = inputs[0].name
        self._dtype = np.float16 if inputs[0].type == "tensor(float16)" else np.float32
        batch, channels, height, width = (
            side if isinstance(side, int) and side > 0 else None for side in inputs[0].shape
        )
        return batch, channels, height, width

    def run(self, batch: FloatArray, outputs: Sequence[int] = (0,)) -> list[AnyArray]:
        """The named outputs as float32.

        Args:
            batch: (N, 3, H, W) float32.
            outputs: Indices of the outputs wanted.

        Raises:
            EngineFailed: The runtime stopped while computing, or there is no such output.
            ShapeError: The network does not take a batch of this shape.
        """
        check_batch(batch, self.input_shape)
        if max(outputs) >= len(self._outputs):
            raise EngineFailed(f"{self._path}: output", expected=f"below {len(self._outputs)}", got=str(max(outputs)))
        names = [self._outputs[index] for index in outputs]
        try:
            results = self._session.run(names, {self._input: batch.astype(self._dtype, copy=False)})
        except self._errors as error:
            raise EngineFailed(
                f"{self._path.name} stopped while computing ({first_line(error)})",
                hint="try --device cpu, or a smaller picture",
            ) from error
        return [np.asarray(result, dtype=np.float32) for result in results]

    def close(self) -> None:
        """Give the session's memory back."""
        self._session = None


def _import() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineUnavailable(
            "ONNX Runtime is not installed",
            hint='pip install "maskwright[cpu]", or "maskwright[gpu]" for NVIDIA; never both',
        ) from error
    return onnxruntime


def _runtime_errors() -> tuple[type[Exception], ...]:
    """ONNX Runtime's own error classes: they share no base but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    classes = (getattr(state, name) for name in dir(state))
    own = [kind for kind in classes if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)
