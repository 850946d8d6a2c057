"""PyTorch networks in the memory that ComfyUI manages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from ..engines import Engine, open_engine, runtimes_for
from ..engines.base import InputShape
from ..engines.torch import TorchEngine
from ..errors import EngineFailed
from ..models.convert import load_network
from ..types import AnyArray, FloatArray

__all__ = ["ManagedEngine", "find_device", "open_managed", "open_module", "rest"]

_KEPT = 2  # networks kept in main memory, so that a second run reads no file
# Bytes on the card for each pixel of the input, weights aside. u2net_cloth, the hungriest, took 1.2 GB for 768×768.
_ROOM = 2048
_PATCHER, _FULL = "_maskwright_patcher", "_maskwright_full"  # what hangs on a module


def find_device() -> str:
    """The device ComfyUI computes on, as our engines call it: `cuda:0`, `rocm:0`, `mps`, `cpu`; `auto` outside ComfyUI.

    Where it is one that our engines do not know, such as Intel's, the CPU computes.
    """
    management = sys.modules.get("comfy.model_management")
    if management is None:
        return "auto"
    place = management.get_torch_device()
    if place.type != "cuda":
        return "mps" if place.type == "mps" else "cpu"
    import torch

    return f"{'rocm' if torch.version.hip else 'cuda'}:{place.index or 0}"


def open_managed(
    path: Path,
    runtime: str = "onnx",
    *,
    network: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    stay: bool = True,
) -> Engine:
    """An engine as `open_engine` gives it; but on ComfyUI's graphics card PyTorch runs every network it can.

    ONNX Runtime takes memory there of which ComfyUI knows nothing, and which it cannot free.

    Args:
        path: As for `open_engine`.
        runtime: As for `open_engine`.
        network: As for `open_engine`.
        device: As for `open_engine`.
        threads: As for `open_engine`.
        stay: As for `ManagedEngine`.
    """
    can = runtime == "torch" or (network is not None and "torch" in runtimes_for(path))
    if not (can and _is_managed(device)):
        return open_engine(path, runtime, network=network, device=device, threads=threads)
    stat = path.stat()
    return ManagedEngine(_load(path, network, stat.st_size, stat.st_mtime_ns), stay=stay)


def open_module(module: Any, device: str, *, stay: bool = True) -> Engine:
    """An engine for a module that another node has loaded.

    Args:
        module: (N, 3, H, W) float32 to a tensor or a sequence of them, the product's output first.
        device: As for `open_engine`.
        stay: As for `ManagedEngine`.
    """
    module = _in_full(module)
    return ManagedEngine(module, stay=stay) if _is_managed(device) else TorchEngine.from_module(module, device)


def rest(engine: Engine) -> None:
    """The pictures of a node are done: a network that is not to stay leaves the graphics card."""
    if isinstance(engine, ManagedEngine) and not engine.stay:
        engine.close()


def _is_managed(device: str) -> bool:
    """Whether ComfyUI is here and this is its own device, a graphics card."""
    return device not in ("auto", "cpu") and device == find_device()


@lru_cache(maxsize=_KEPT)
def _load(path: Path, network: str | None, *_stamp: int) -> Any:
    """The network; read again when the file's size or time is another."""
    _, module = load_network(path, network)
    return module


def _in_full(module: Any) -> Any:
    """The module in float32: itself, or a copy made once. Other packs halve theirs whatever the device."""
    if all(parameter.dtype.itemsize >= 4 for parameter in module.parameters()):
        return module
    if _FULL not in vars(module):
        from copy import deepcopy

        vars(module)[_FULL] = deepcopy(module).float()  # past `nn.Module`, which would take it for a part
    return vars(module)[_FULL]


class _Held:
    """A module's patcher, hung on the module.

    ComfyUI knows its patchers by weak references. One that ends before its module would leave the network on the card,
    where nobody could free it, and a warning of a leak in the log.
    """

    def __init__(self, patcher: Any) -> None:
        self.patcher = patcher

    def __deepcopy__(self, memo: dict[int, Any]) -> _Held | None:
        return None  # a copy of the module is another module


def _patcher_of(module: Any) -> Any:
    """The one patcher of a module."""
    if vars(module).get(_PATCHER) is None:
        import torch
        from comfy import model_management, model_patcher

        place = model_management.get_torch_device()
        patcher = model_patcher.ModelPatcher(module, load_device=place, offload_device=torch.device("cpu"))
        vars(module)[_PATCHER] = _Held(patcher)
    return vars(module)[_PATCHER].patcher


class ManagedEngine:
    """A PyTorch network that ComfyUI moves between main memory and its graphics card.

    ComfyUI may take the network from the card at any time between runs, wholly or in part; the next run brings it back.
    Where it gives no room at all (`--novram`), a run takes a copy there and leaves none.

    Args:
        module: The network, in main memory.
        stay: Whether it may stay on the card after the pictures of a node, until ComfyUI needs the room.
    """

    def __init__(self, module: Any, *, stay: bool = True) -> None:
        import torch
        from comfy import model_management

        self._management = model_management
        self._patcher = _patcher_of(module)
        self._lock = Lock()
        self.stay = stay
        self.name = f"torch {torch.__version__.partition('+')[0]}"
        self.device = find_device()
        self.input_shape: InputShape = (None, 3, None, None)

    def run(self, batch: FloatArray, outputs: Sequence[int] = (0,)) -> list[AnyArray]:
        """The named outputs as float32. When the card's memory runs out, everything else leaves it for a second try.

        Args:
            batch: (N, 3, H, W) float32.
            outputs: Indices of the outputs wanted.

        Raises:
            EngineFailed: PyTorch stopped while computing, the memory is too small, or there is no such output.
        """
        with self._lock:
            try:
                return self._compute(batch, outputs)
            except (EngineFailed, RuntimeError) as error:
                self.close()
                if not _is_lack_of_memory(error):
                    raise
            # Past the except: until then the error holds on to what the first try had made.
            self._management.unload_all_models()
            try:
                return self._compute(batch, outputs)
            except (EngineFailed, RuntimeError) as error:
                self.close()
                if not _is_lack_of_memory(error):
                    raise
                what = f"{self.device} has too little memory for a picture"
                raise EngineFailed(what, hint="choose CPU as device_mode at the node that opens the model") from error

    def _compute(self, batch: FloatArray, outputs: Sequence[int]) -> list[AnyArray]:
        pixels = batch[:, 0].size
        self._management.load_models_gpu([self._patcher], memory_required=pixels * _ROOM, force_full_load=True)
        return TorchEngine.from_module(self._patcher.model, self.device).run(batch, outputs)

    def close(self) -> None:
        """Bring the network back to main memory."""
        self._patcher.detach()
        self._management.soft_empty_cache()


def _is_lack_of_memory(error: Exception) -> bool:
    return "out of memory" in str(error).lower()
