"""PyTorch networks in the memory that ComfyUI manages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from ..engines import Engine, open_engine
from ..engines.base import InputShape
from ..engines.torch import TorchEngine
from ..models.convert import load_network
from ..types import AnyArray, FloatArray

__all__ = ["ManagedEngine", "open_managed", "open_module"]

_KEPT = 2  # networks kept in main memory, so that a second run reads no file


def open_managed(
    path: Path,
    runtime: str = "onnx",
    *,
    network: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    stay: bool = True,
) -> Engine:
    """An engine as `open_engine` gives it; but what PyTorch runs on ComfyUI's graphics card, ComfyUI manages.

    Args:
        path: As for `open_engine`.
        runtime: As for `open_engine`.
        network: As for `open_engine`.
        device: As for `open_engine`.
        threads: As for `open_engine`.
        stay: As for `ManagedEngine`.
    """
    if runtime != "torch" or not _is_managed(device):
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
    if any(parameter.dtype.itemsize < 4 for parameter in module.parameters()):
        from copy import deepcopy

        module = deepcopy(module).float()  # other packs halve it whatever the device, and share it
    return ManagedEngine(module, stay=stay) if _is_managed(device) else TorchEngine.from_module(module, device)


def _is_managed(device: str) -> bool:
    """Whether ComfyUI is here and this is its own device, a graphics card."""
    management = sys.modules.get("comfy.model_management")
    return management is not None and device not in ("auto", "cpu") and device == str(management.get_torch_device())


@lru_cache(maxsize=_KEPT)
def _load(path: Path, network: str | None, *_stamp: int) -> Any:
    """The network; read again when the file's size or time is another."""
    _, module = load_network(path, network)
    return module


class ManagedEngine:
    """A PyTorch network that ComfyUI moves between main memory and its graphics card.

    Args:
        module: The network, in main memory.
        stay: Whether it may stay on the card after a run, until ComfyUI needs the room; else it leaves at once.
    """

    def __init__(self, module: Any, *, stay: bool = True) -> None:
        import torch
        from comfy import model_management, model_patcher

        self._management = model_management
        place = model_management.get_torch_device()
        self._patcher = model_patcher.ModelPatcher(module, load_device=place, offload_device=torch.device("cpu"))
        self._stay = stay
        self._lock = Lock()
        self.name = f"torch {torch.__version__.partition('+')[0]}"
        self.device = str(place)
        self.input_shape: InputShape = (None, 3, None, None)

    def run(self, batch: FloatArray, outputs: Sequence[int] = (0,)) -> list[AnyArray]:
        """The named outputs as float32.

        Args:
            batch: (N, 3, H, W) float32.
            outputs: Indices of the outputs wanted.

        Raises:
            EngineFailed: PyTorch stopped while computing, the memory is too small, or there is no such output.
        """
        with self._lock:
            self._management.load_models_gpu([self._patcher], force_full_load=True)
            try:
                return TorchEngine.from_module(self._patcher.model, self.device).run(batch, outputs)
            finally:
                if not self._stay:
                    self.close()

    def close(self) -> None:
        """Bring the network back to main memory."""
        self._patcher.detach()
        self._management.soft_empty_cache()
