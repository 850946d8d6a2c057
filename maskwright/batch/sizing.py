"""How many pictures go through the network at once, and how many pixels are in memory: found out, not asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Condition
from typing import Any, Generic, TypeVar

import numpy as np

from ..engines import Engine, open_engine
from ..engines.base import choose_threads
from ..errors import EngineFailed
from ..types import AnyArray

__all__ = ["BatchSize", "PixelBudget", "default_budget", "open_beside_others"]

_T = TypeVar("_T")

_LARGEST = 32
_GAIN = 0.95  # of the time for one picture: a larger batch must take no more than this to be worth while
_PIXELS_PER_CORE = 24_000_000
_MOST_CORES = 16
_BYTES_PER_PIXEL = 24  # of a picture while its cut-out is made: colours, mask, opacity, result, file


def default_budget() -> int:
    """Pixels that may be in memory at once: for each core two large photos, in all a quarter of the machine."""
    pixels = _PIXELS_PER_CORE * min(os.cpu_count() or 1, _MOST_CORES)
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system can say
        return pixels
    return min(pixels, memory // 4 // _BYTES_PER_PIXEL)


def open_beside_others(path: Path, runtime: str = "onnx", *, threads: int | None = None, **given: Any) -> Engine:
    """An engine for a machine that has more to do, called as `open_engine` is: half of the cores compute.

    Only ONNX Runtime is given fewer threads: its results do not depend on their number.

    Args:
        path: The weights file.
        runtime: What reads it.
        threads: Threads for one run; None: what the environment says, else half of the cores.
        given: Passed on.

    Raises:
        EngineUnavailable, EngineFailed, OptionError: As `open_engine`.
    """
    if runtime == "onnx" and threads is None and not choose_threads(None):
        threads = max(1, (os.cpu_count() or 1) // 2)
    return open_engine(path, runtime, threads=threads, **given)


class PixelBudget:
    """Lets pictures in as long as there is room for their pixels; one picture always has room.

    Args:
        pixels: How many may be in memory at once.
    """

    def __init__(self, pixels: int) -> None:
        self._pixels = pixels
        self._used = 0
        self._room = Condition()

    def take(self, pixels: int) -> None:
        """Wait until there is room."""
        with self._room:
            self._room.wait_for(lambda: self._used == 0 or self._used + pixels <= self._pixels)
            self._used += pixels

    def give_back(self, pixels: int) -> None:
        """Say that a picture is gone."""
        with self._room:
            self._used -= pixels
            self._room.notify_all()


class BatchSize(Generic[_T]):
    """Finds the batch size: it is doubled as long as the time for a picture falls and no bit of a result changes.

    A result must not depend on which pictures happened to go through the network together: then a run that was
    interrupted and one that was not would differ. So a size counts only after the same pictures, one by one, gave the
    same numbers.

    Args:
        compute: The network: (N, C, h, w) for a group of N pictures.
        fixed: The batch size that the network insists on; None: any.
        size: A size to use without asking; None: found out.
        clock: Tells seconds.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[_T]], AnyArray],
        fixed: int | None,
        size: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._compute = compute
        self._clock = clock
        self.size = fixed or size or 1
        self._trying = 0 if fixed or size else 2  # the size to try next; 0: none
        self._warm = False

    @property
    def wanted(self) -> int:
        """How many pictures to bring, if there are as many."""
        return max(self.size, self._trying)

    def compute(self, group: Sequence[_T]) -> list[AnyArray]:
        """The network's outputs for a group of at most `wanted` pictures with inputs of one shape.

        Raises:
            EngineFailed: The network stopped.
        """
        if self._trying and len(group) == self._trying:
            return self._try(group)
        return self._in_pieces(group, self.size)

    def _try(self, group: Sequence[_T]) -> list[AnyArray]:
        if not self._warm:  # a first run takes longer, whatever its size
            self._in_pieces(group, self.size)
            self._warm = True
        start = self._clock()
        safe = self._in_pieces(group, self.size)
        between = self._clock()
        try:
            tried = list(self._compute(group))
        except EngineFailed:  # too large for the device's memory, most likely; what was safe stays so
            self._trying = 0
            return safe
        seconds = self._clock() - between
        same = all(np.array_equal(a, b) for a, b in zip(safe, tried, strict=True))
        if same and seconds <= _GAIN * (between - start):
            self.size = self._trying
            self._trying = 0 if self.size >= _LARGEST else 2 * self.size
        else:
            self._trying = 0
        return safe

    def _in_pieces(self, group: Sequence[_T], size: int) -> list[AnyArray]:
        starts = range(0, len(group), size)
        return [output for start in starts for output in self._compute(group[start : start + size])]
