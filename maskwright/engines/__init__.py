"""Engines run networks. `open_engine` keeps the ones that were opened last, so that a second call is warm."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

from ..errors import EngineUnavailable
from .base import Engine, choose_threads, parse_device
from .fake import FakeEngine

__all__ = [
    "RUNTIMES",
    "Engine",
    "FakeEngine",
    "Runtime",
    "is_installed",
    "open_engine",
    "release_engines",
    "runs_on",
    "runtimes_for",
]

_BOUND = 4  # engines kept open; each holds its weights in memory


@dataclass(frozen=True)
class Runtime:
    """What is known of a runtime before it is imported.

    Attributes:
        title: How people call it.
        library: The module whose presence means that it is installed.
        load_engine: Imports the engine's class.
        extras: The extras that bring it.
        suffixes: Endings of the files it reads.
        bare: Whether its files hold parameters alone, so that the network must be known.
    """

    title: str
    library: str
    load_engine: Callable[[], Any]
    extras: tuple[str, ...]
    suffixes: tuple[str, ...]
    bare: bool = False


def _load_onnx() -> Any:
    from .onnx import OnnxEngine

    return OnnxEngine


def _load_torch() -> Any:
    from .torch import TorchEngine

    return TorchEngine


def _load_litert() -> Any:
    from .litert import LiteRTEngine

    return LiteRTEngine


# In the order of preference where several read a file. A runtime's name is what `Weights.runtime` says.
RUNTIMES = {
    "onnx": Runtime("ONNX Runtime", "onnxruntime", _load_onnx, ("cpu", "gpu"), (".onnx",)),
    "torch": Runtime(
        "PyTorch",
        "torch",
        _load_torch,
        ("torch",),
        (".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".onnx"),
        bare=True,
    ),
    "tflite": Runtime("LiteRT", "ai_edge_litert", _load_litert, ("person",), (".tflite",)),
}

_kept: OrderedDict[tuple[object, ...], Future[Engine]] = OrderedDict()
_lock = Lock()


def is_installed(runtime: str) -> bool:
    """Whether this machine can run such files, found out without importing anything."""
    return runtime in RUNTIMES and find_spec(RUNTIMES[runtime].library) is not None


def runtimes_for(path: Path | str) -> tuple[str, ...]:
    """The runtimes that read files of this name, installed or not, the preferred first.

    >>> runtimes_for("isnetis.ckpt")
    ('torch',)
    """
    suffix = Path(path).suffix.lower()
    return tuple(name for name, runtime in RUNTIMES.items() if suffix in runtime.suffixes)


def runs_on(runtime: str, device: str) -> bool:
    """Whether an installed runtime computes on the device that these words name, and would not fall back."""
    try:
        RUNTIMES[runtime].load_engine().resolve_device(device.removesuffix("!") + "!")
    except EngineUnavailable:
        return False
    return True


def open_engine(
    path: Path,
    runtime: str = "onnx",
    *,
    network: str | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> Engine:
    """An engine for this file, shared with every caller that asks for the same.

    Args:
        path: The weights file.
        runtime: One of `RUNTIMES`.
        network: For a file that holds parameters alone: the name `networks.build_network` knows; None: found out.
        device: `auto`, or a name of `DEVICES` with an optional index (`cuda:1`). With `!` at the end it fails where
            the device cannot be had; without, it runs on the CPU and says so once.
        threads: Threads for one run; None: from the environment, else the runtime's choice.

    Raises:
        EngineUnavailable: No runtime for such files, or the device is not here.
        EngineFailed: The file is not a network that the runtime can load.
        OptionError: No such device.
    """
    parse_device(device)  # a wrong word is said before anything is imported
    if runtime not in RUNTIMES:
        raise EngineUnavailable(
            f"runtime of {path.name}",
            expected=f"one of {', '.join(RUNTIMES)}",
            got=repr(runtime),
            hint="use the model's ONNX file",
        )
    kind = RUNTIMES[runtime].load_engine()
    named = (network,) if RUNTIMES[runtime].bare else ()
    stat = path.stat()
    file = (path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    key = (*file, runtime, named, kind.resolve_device(device), choose_threads(threads))
    with _lock:
        waiting = _kept.get(key)
        opening = _kept.setdefault(key, Future())
        _kept.move_to_end(key)
        if len(_kept) > _BOUND:
            _kept.popitem(last=False)  # not closed: someone may still compute with it; memory goes with them
    if waiting is None:  # loaded outside the lock, so that other engines can be had meanwhile
        _load(opening, key, kind, (path, device, threads, *named))
    return opening.result()


def _load(opening: Future[Engine], key: tuple[object, ...], kind: Any, arguments: tuple[object, ...]) -> None:
    try:
        opening.set_result(kind(*arguments))
    except BaseException as error:
        with _lock:
            _kept.pop(key, None)
        opening.set_exception(error)  # for those who wait for the same file
        raise


def release_engines() -> None:
    """Forget every engine kept open; memory is given back when nobody computes with them any more."""
    with _lock:
        _kept.clear()
    if f"{__name__}.torch" in sys.modules:  # PyTorch keeps freed memory of a graphics card for itself until told
        sys.modules[f"{__name__}.torch"].empty_cache()
