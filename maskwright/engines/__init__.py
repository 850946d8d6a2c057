"""Engines run networks. `open_engine` keeps the ones that were opened last, so that a second call is warm."""

from __future__ import annotations

import os
from collections import OrderedDict
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

from ..errors import EngineUnavailable
from .base import Engine
from .fake import FakeEngine

__all__ = ["RUNTIMES", "Engine", "FakeEngine", "is_installed", "open_engine", "release_engines"]

_BOUND = 4  # engines kept open; each holds its weights in memory
RUNTIMES = {"onnx": "onnxruntime"}  # runtime -> the library that runs it

_kept: OrderedDict[tuple[object, ...], Future[Engine]] = OrderedDict()
_lock = Lock()


def is_installed(runtime: str) -> bool:
    """Whether this machine can run such files, found out without importing anything."""
    return runtime in RUNTIMES and find_spec(RUNTIMES[runtime]) is not None


def open_engine(path: Path, runtime: str = "onnx", *, device: str = "auto", threads: int | None = None) -> Engine:
    """An engine for this file, shared with every caller that asks for the same.

    Args:
        path: The weights file.
        runtime: One of `RUNTIMES`.
        device: `auto`, or a name of `DEVICES` with an optional index (`cuda:1`). With `!` at the end it fails where
            the device cannot be had; without, it runs on the CPU and says so once.
        threads: Threads for one run; None: from the environment, else the runtime's choice.

    Raises:
        EngineUnavailable: No runtime for such files, or the device is not here.
        EngineFailed: The file is not a network that the runtime can load.
    """
    if runtime not in RUNTIMES:
        raise EngineUnavailable(
            f"runtime of {path.name}",
            expected=f"one of {', '.join(RUNTIMES)}",
            got=repr(runtime),
            hint="use the model's ONNX file",
        )
    stat = path.stat()
    threads_set = (threads, os.environ.get("MASKWRIGHT_THREADS"), os.environ.get("OMP_NUM_THREADS"))
    key = (path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, device, *threads_set)
    with _lock:
        waiting = _kept.get(key)
        opening = _kept.setdefault(key, Future())
        _kept.move_to_end(key)
        if len(_kept) > _BOUND:
            _kept.popitem(last=False)  # not closed: someone may still compute with it; memory goes with them
    if waiting is None:  # loaded outside the lock, so that other engines can be had meanwhile
        _load(opening, key, path, device, threads)
    return opening.result()


def _load(opening: Future[Engine], key: tuple[object, ...], path: Path, device: str, threads: int | None) -> None:
    from .onnx import OnnxEngine

    try:
        opening.set_result(OnnxEngine(path, device, threads))
    except BaseException as error:
        with _lock:
            _kept.pop(key, None)
        opening.set_exception(error)  # for those who wait for the same file
        raise


def release_engines() -> None:
    """Forget every engine kept open; memory is given back when nobody computes with them any more."""
    with _lock:
        _kept.clear()
