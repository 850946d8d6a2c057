"""ONNX Runtime as an engine. The word `provider` stays in this file."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EngineFailed, EngineUnavailable, OptionError, ShapeError
from ..types import AnyArray, FloatArray

__all__ = ["DEVICES", "OnnxEngine", "available_devices"]

_logger = logging.getLogger(__name__)

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
_ALIASES = {"gpu": "cuda", "mps": "coreml", "dml": "directml"}
_AUTO = ("cuda", "rocm")
_INDEXED = frozenset({"cuda", "tensorrt", "rocm", "directml"})

DEVICES = ("auto", *_PROVIDERS)

_warned: set[str] = set()


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
        device: `auto`, or a name of `DEVICES` with an optional index (`cuda:1`). With `!` at the end it fails where
            the device cannot be had; without, it runs on the CPU and says so once.
        threads: Threads for one run; None: `MASKWRIGHT_THREADS`, else `OMP_NUM_THREADS`, else the runtime's choice.

    Raises:
        EngineUnavailable: ONNX Runtime or the device is not here.
        EngineFailed: The file is not a network that this runtime can load.
        OptionError: No such device.
    """

    def __init__(self, path: Path, device: str = "auto", threads: int | None = None) -> None:
        runtime = _import()
        wanted, index, strict = _parse_device(device)
        provider = _choose_provider(runtime, wanted, strict)
        self._path = path
        self._errors = _runtime_errors()
        self._session = self._open(runtime, provider, index, threads)
        self.name = f"onnxruntime {runtime.__version__}"
        self.device = self._device_in_use(wanted, index, strict)
        self.input_shape = self._read_input_shape()
        self._outputs = [output.name for output in self._session.get_outputs()]

    def _open(self, runtime: Any, provider: str, index: int, threads: int | None) -> Any:
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        count = threads if threads is not None else _threads_from_environment()
        if count:
            options.intra_op_num_threads = options.inter_op_num_threads = count
        settings = [{"device_id": index}] if provider not in _PROVIDERS["cpu"] and index else [{}]
        providers = [provider] if provider == "CPUExecutionProvider" else [provider, "CPUExecutionProvider"]
        settings += [{}] * (len(providers) - 1)
        try:
            return runtime.InferenceSession(str(self._path), options, providers=providers, provider_options=settings)
        except self._errors as error:
            raise EngineFailed(
                f"{self._path} is not a network that ONNX Runtime can load ({_first_line(error)})",
                hint="fetch it again, or name an ONNX file with --weights",
            ) from error

    def _device_in_use(self, wanted: str, index: int, strict: bool) -> str:
        """The device that really runs: a provider that is listed may still fail to load its libraries."""
        provider = self._session.get_providers()[0]
        device = next(name for name, providers in _PROVIDERS.items() if provider in providers)
        if device == "cpu" and wanted not in ("cpu", "auto"):
            _fall_back(wanted, strict, "its libraries did not load")
        return f"{device}:{index}" if device in _INDEXED else device

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
        self._check_shape(batch)
        if max(outputs) >= len(self._outputs):
            raise EngineFailed(f"{self._path}: output", expected=f"below {len(self._outputs)}", got=str(max(outputs)))
        names = [self._outputs[index] for index in outputs]
        try:
            results = self._session.run(names, {self._input: batch.astype(self._dtype, copy=False)})
        except self._errors as error:
            raise EngineFailed(
                f"{self._path.name} stopped while computing ({_first_line(error)})",
                hint="try --device cpu, or a smaller picture",
            ) from error
        return [np.asarray(result, dtype=np.float32) for result in results]

    def _check_shape(self, batch: FloatArray) -> None:
        wanted = self.input_shape
        fits = batch.ndim == 4 and all(
            side is None or side == got for side, got in zip(wanted, batch.shape, strict=True)
        )
        if not fits:
            shown = tuple("any" if side is None else side for side in wanted)
            raise ShapeError("network input", expected=str(shown), got=str(batch.shape))

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


def _parse_device(device: str) -> tuple[str, int, bool]:
    """Name, index and whether it was insisted on: `cuda:1!` -> ("cuda", 1, True)."""
    name, _, index = device.removesuffix("!").partition(":")
    name = _ALIASES.get(name.lower(), name.lower())
    if name not in DEVICES or (index and not index.isdigit()):
        raise OptionError("device", expected="one of " + ", ".join(DEVICES), got=repr(device), hint="e.g. cuda:1!")
    return name, int(index or 0), device.endswith("!")


def _choose_provider(runtime: Any, wanted: str, strict: bool) -> str:
    built = runtime.get_available_providers()
    for device in _AUTO if wanted == "auto" else (wanted,):
        for provider in _PROVIDERS[device]:
            if provider in built:
                return provider
    if wanted != "auto":
        _fall_back(wanted, strict, f"this ONNX Runtime was built for {', '.join(available_devices())}")
    return "CPUExecutionProvider"


def _fall_back(wanted: str, strict: bool, why: str) -> None:
    """An error for `cuda!`; for `cuda` one warning in the life of the process."""
    if strict:
        raise EngineUnavailable(
            f"device {wanted} cannot be had: {why}",
            hint='pip install "maskwright[gpu]" and matching drivers, or leave the ! away',
        )
    if wanted not in _warned:
        _warned.add(wanted)
        _logger.warning("device %s cannot be had (%s): running on the CPU", wanted, why)


def _threads_from_environment() -> int:
    for name in ("MASKWRIGHT_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value:
            if not value.isdigit():
                raise OptionError(name, expected="a whole number of threads", got=repr(value), hint="unset it")
            return int(value)
    return 0


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
