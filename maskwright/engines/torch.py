"""PyTorch as an engine."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ..errors import EngineFailed, EngineUnavailable, ModelError
from ..types import AnyArray, FloatArray
from .base import Device, InputShape, check_batch, choose_threads, fall_back, first_line, parse_device

__all__ = ["TorchEngine", "available_devices", "empty_cache"]

# `auto` takes the first of these that is there. MPS is used when named: nobody compared its results with the CPU's yet.
_AUTO = ("cuda", "rocm", "cpu")
_CURE = "install a build of PyTorch for it, see pytorch.org, or leave the ! away"
# Networks that are quicker in this layout on the CPU: u2netp by a quarter, IS-Net by a fifth. It sums in another order,
# which moves their results by some 1e-6. Networks with instance norms gain little, and make much of such differences
# where a map is flat.
_CHANNELS_LAST = frozenset({"isnet", "isnet_base", "u2net", "u2netp", "u2net_cloth"})
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def available_devices() -> tuple[str, ...]:
    """Devices that the installed PyTorch finds on this machine.

    Raises:
        EngineUnavailable: It is not installed.
    """
    torch = _import()
    graphics = "rocm" if torch.version.hip else "cuda"
    found = {graphics: torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return ("cpu", *(name for name, there in found.items() if there))


def empty_cache() -> None:
    """Give the memory that PyTorch keeps for later back to the graphics card's other users."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


class TorchEngine:
    """A network's parameters in a file, run by PyTorch.

    Computes in float32, without gradients. On the CPU the pictures of a batch go through one by one: that is no
    slower, needs the memory of one, and gives a picture the same numbers in any company.

    Args:
        path: A `.pth`, `.ckpt`, `.safetensors` or `.bin` file, or the ONNX file of a network that is known here.
        device: As `open_engine` says; `coreml` means MPS.
        threads: Threads for one run; None: `MASKWRIGHT_THREADS`, else `OMP_NUM_THREADS`, else PyTorch's choice. While
            a run with another number goes on, PyTorch's own number is set to it, for all threads of the process; it
            is set back when the last such run ends.
        network: Which network it is, a name `networks.build_network` knows; None: found out from the parameters.
        half: Compute in float16 where the device is CUDA or ROCm; norms and results stay float32. Elsewhere float16
            does not pay, and this is ignored.

    Raises:
        EngineUnavailable: PyTorch or the device is not here.
        EngineFailed: The file does not hold such a network.
        OptionError: No such device.
    """

    def __init__(
        self,
        path: Path,
        device: str = "auto",
        threads: int | None = None,
        network: str | None = None,
        *,
        half: bool = False,
    ) -> None:
        self._set_up(device, threads, half)
        from ..models.convert import load_network

        try:
            name, module = load_network(path, network)
        except ModelError as error:
            raise EngineFailed(error.what, expected=error.expected, got=error.got, hint=error.hint) from error
        self._label = path.name
        if name in _CHANNELS_LAST:
            self._layout = self._torch.channels_last
        self._place(module)

    @classmethod
    def from_module(
        cls, module: Any, device: str = "auto", threads: int | None = None, *, half: bool = False
    ) -> TorchEngine:
        """An engine for a module that somebody else holds.

        The module itself is neither moved nor changed: where it lies on another device, trains, or is to compute in
        float16, the engine makes a copy of its own. So several engines, in several threads, may share one module.

        Args:
            module: (N, 3, H, W) float32 to a tensor or a sequence of them, the product's output first.
            device: As for a file.
            threads: As for a file.
            half: As for a file.

        Raises:
            EngineUnavailable: PyTorch or the device is not here.
            OptionError: No such device.
        """
        engine = cls.__new__(cls)
        engine._set_up(device, threads, half)
        engine._label = type(module).__name__
        engine._adopt(module)
        return engine

    @staticmethod
    def resolve_device(device: str) -> Device:
        """The device a network will run on: equal for words that mean the same on this machine.

        Args:
            device: As `open_engine` says.

        Raises:
            EngineUnavailable: PyTorch is not here, or a device that was insisted on.
            OptionError: No such device.
        """
        wanted = parse_device(device)
        here = available_devices()
        if wanted.name == "coreml":
            wanted = replace(wanted, name="mps")
        if wanted.name == "auto":
            wanted = replace(wanted, name=next(name for name in _AUTO if name in here))
        if wanted.name not in here:
            fall_back(wanted, f"this PyTorch finds {', '.join(here)}", _CURE)
            return Device("cpu", 0, False)
        count = 1 if wanted.name in ("cpu", "mps") else _import().cuda.device_count()
        if wanted.index >= count:
            fall_back(wanted, f"the index ends at {count - 1}", _CURE)
            return Device("cpu", 0, False)
        return replace(wanted, strict=wanted.strict and wanted.name != "cpu")

    def _set_up(self, device: str, threads: int | None, half: bool) -> None:
        self._torch = _import()
        resolved = self.resolve_device(device)
        on_graphics = resolved.name in ("cuda", "rocm")
        self.name = f"torch {self._torch.__version__.partition('+')[0]}"
        self.device = f"{resolved.name}:{resolved.index}" if on_graphics else resolved.name
        self.input_shape: InputShape = (None, 3, None, None)
        self._place_name = f"cuda:{resolved.index}" if on_graphics else resolved.name
        self._half = half and on_graphics
        self._layout = self._torch.contiguous_format
        self._threads = choose_threads(threads)

    def _adopt(self, module: Any) -> None:
        """Take a foreign module as it is where that changes nothing, else a copy of it."""
        from copy import deepcopy

        lies_on = {tensor.device for tensor in (*module.parameters(), *module.buffers())}
        if lies_on <= {self._torch.device(self._place_name)} and not (module.training or self._half):
            self._module = module
        else:
            self._place(deepcopy(module))

    def _place(self, module: Any) -> None:
        """Bring a module that is ours alone to the device, in the precision and layout to compute in."""
        try:
            module = module.eval().requires_grad_(False)
            if self._half:
                module = _to_half(module)
            self._module = module.to(device=self._place_name, memory_format=self._layout)
        except RuntimeError as error:
            raise self._stopped(error) from error

    def run(self, batch: FloatArray, outputs: Sequence[int] = (0,)) -> list[AnyArray]:
        """The named outputs as float32.

        Args:
            batch: (N, 3, H, W) float32.
            outputs: Indices of the outputs wanted.

        Raises:
            EngineFailed: PyTorch stopped while computing, the memory is too small, or there is no such output.
            ShapeError: The network does not take a batch of this shape.
        """
        check_batch(batch, self.input_shape)
        step = 1 if self._place_name == "cpu" else len(batch)
        pieces = [self._compute(batch[start : start + step], outputs) for start in range(0, len(batch), step)]
        return [np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*pieces, strict=True)]

    def _compute(self, batch: FloatArray, outputs: Sequence[int]) -> list[AnyArray]:
        torch = self._torch
        try:
            with torch.inference_mode(), _threads.limited(torch, self._threads):
                tensor = torch.from_numpy(np.ascontiguousarray(batch)).to(
                    self._place_name, torch.float16 if self._half else torch.float32, memory_format=self._layout
                )
                results = [*_tensors(self._module(tensor))]
                if max(outputs) >= len(results):
                    raise EngineFailed(
                        f"{self._label}: output", expected=f"below {len(results)}", got=str(max(outputs))
                    )
                return [results[index].float().contiguous().cpu().numpy() for index in outputs]
        except RuntimeError as error:
            raise self._stopped(error) from error

    def _stopped(self, error: RuntimeError) -> EngineFailed:
        text = first_line(error)
        if any(words in str(error).lower() for words in _NO_MEMORY):
            empty_cache()
            hint = "use a smaller picture or fewer at once, or --device cpu"
            return EngineFailed(f"{self._label} needs more memory than {self.device} has free ({text})", hint=hint)
        return EngineFailed(f"{self._label} stopped while computing ({text})", hint="try --device cpu")

    def close(self) -> None:
        """Give the network's memory back."""
        self._module = None
        empty_cache()


def _import() -> Any:
    try:
        import torch
    except ImportError as error:
        raise EngineUnavailable("PyTorch is not installed", hint='pip install "maskwright[torch]"') from error
    return torch


def _tensors(results: Any) -> Iterator[Any]:
    """The tensors of an output, however they are nested; the published IS-Net gives two lists."""
    if isinstance(results, (tuple, list)):
        for result in results:
            yield from _tensors(result)
    else:
        yield results


def _to_half(module: Any) -> Any:
    """The module in float16, but for its norms: their statistics do not bear it."""
    from torch.nn.modules.batchnorm import _NormBase

    module = module.half()
    for part in module.modules():
        if isinstance(part, _NormBase):
            part.float()
    return module


class _Threads:
    """PyTorch's number of threads belongs to the process: it is borrowed, and set back by the last who needs it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._before = 0

    @contextmanager
    def limited(self, torch: Any, count: int) -> Iterator[None]:
        """Compute with so many threads; 0: as many as there are."""
        if not count:
            yield
            return
        with self._lock:
            if not self._users:
                self._before = torch.get_num_threads()
            self._users += 1
            if torch.get_num_threads() != count:
                torch.set_num_threads(count)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users and torch.get_num_threads() != self._before:
                    torch.set_num_threads(self._before)


_threads = _Threads()
