"""Pictures through threads: some read, one computes, some finish, so that nobody waits but for the network.

What is in memory is bounded by its pixels. Whoever sets `stop` lets what has been read be finished, and no more.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import TypeAlias

from ..errors import Error
from ..types import AnyArray
from .plan import Job
from .report import BatchReport
from .sizing import BatchSize, PixelBudget, default_budget
from .work import Decoded, Read, Unchanged, Worker

__all__ = ["Limits", "Progress", "is_fatal", "record", "run_jobs", "say_error"]

# What will be no better with the next picture.
_FATAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE})

_FREE_SIDE = 512  # pixels; taken for a side of the network's input that is free

Progress: TypeAlias = Callable[[BatchReport], None]


@dataclass(frozen=True)
class Limits:
    """How much a run takes of the machine.

    Attributes:
        threads: Threads that read, and as many that finish; None: one for two cores.
        pixels: Pixels in memory at once; None: what the machine has room for.
        batch_size: Pictures that go through the network at once; None: found out.
    """

    threads: int | None = None
    pixels: int | None = None
    batch_size: int | None = None


def run_jobs(
    jobs: list[Job],
    worker: Worker,
    *,
    limits: Limits | None = None,
    stop: Event | None = None,
    progress: Progress | None = None,
) -> BatchReport:
    """What became of the jobs. A picture that fails is noted and the rest go on, unless no other could succeed.

    Args:
        jobs: What to do.
        worker: Does it.
        limits: How much of the machine to take.
        stop: Set from outside, it lets what has been read be finished, and no more.
        progress: Called after each picture, by one thread at a time.
    """
    return _Run(jobs, worker, limits or Limits(), stop or Event(), progress).do()


def record(report: BatchReport, source: str, error: BaseException) -> None:
    """Note an error of one picture, and stop the run where the next one would meet it too."""
    report.fail(source, say_error(error), fatal=is_fatal(error))


def say_error(error: BaseException) -> str:
    """What is wrong with a picture, in words."""
    known = isinstance(error, (Error, OSError))
    return str(error) if known else f"unexpected {type(error).__name__}: {error}"


def is_fatal(error: BaseException) -> bool:
    """Whether the disk is full or gone, which no other picture will change."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(cause, OSError) and cause.errno in _FATAL


class _Run:
    """One run: its queues and threads."""

    def __init__(self, jobs: list[Job], worker: Worker, limits: Limits, stop: Event, progress: Progress | None) -> None:
        threads = limits.threads or max(1, (os.cpu_count() or 1) // 2)  # the PNG encoder has threads of its own
        self._worker = worker
        self._stop = stop
        self._progress = progress
        self._report = BatchReport()
        shape = worker.segmenter.engine.input_shape
        self._input_pixels = math.prod(side or _FREE_SIDE for side in shape[1:]) // 3  # of three colours
        self._size = BatchSize(worker.compute, shape[0], limits.batch_size)
        self._budget = PixelBudget(limits.pixels or default_budget())
        self._jobs = iter(jobs)
        self._lock = Lock()
        self._ready: SimpleQueue[Decoded | None] = SimpleQueue()
        self._computed: SimpleQueue[tuple[Decoded, AnyArray] | None] = SimpleQueue()
        self._readers = [Thread(target=self._read_all, daemon=True) for _ in range(threads)]
        self._finishers = [Thread(target=self._finish_all, daemon=True) for _ in range(threads)]

    def do(self) -> BatchReport:
        """The report, when all is done that will be."""
        for thread in (*self._readers, *self._finishers):
            thread.start()
        for group in self._groups():
            self._compute(group)
        for _ in self._finishers:
            self._computed.put(None)
        for thread in self._finishers:
            thread.join()
        self._report.batch_size = self._size.size
        self._report.interrupted = self._stop.is_set() and self._report.stopped is None
        self._report.tick()
        return self._report

    def _next_job(self) -> Job | None:
        with self._lock:
            done = self._stop.is_set() or self._report.stopped is not None
            return None if done else next(self._jobs, None)

    def _read_all(self) -> None:
        while (job := self._next_job()) is not None:
            self._attempt(job, partial(self._read, job))
        self._ready.put(None)

    def _read(self, job: Job) -> None:
        with self._report.clocked("read"):
            read = self._worker.read(job)
        if isinstance(read, Unchanged):
            self._worker.settle(read)
            self._tell(_skipped)
            return
        self._budget.take(self._weight(read))
        try:
            with self._report.clocked("read"):
                decoded = self._worker.decode(read)
        except BaseException:
            self._budget.give_back(self._weight(read))
            raise
        self._ready.put(decoded)

    def _weight(self, read: Read) -> int:
        """Pixels that count for a picture: its own, or the network's input's, to which a small one is enlarged."""
        return max(read.pixels, self._input_pixels)

    def _groups(self) -> Iterator[list[Decoded]]:
        """Pictures whose inputs have one shape, as many as are wanted and there, until all readers are through."""
        reading = len(self._readers)
        group: list[Decoded] = []
        while reading:
            with self._report.clocked("wait"):
                decoded = self._take(wait=not group)
            if decoded is _NOTHING or (group and isinstance(decoded, Decoded) and _differ(group[0], decoded)):
                yield group
                group = []
            if decoded is None:
                reading -= 1
            elif isinstance(decoded, Decoded):
                group.append(decoded)
                if len(group) >= self._size.wanted:
                    yield group
                    group = []
        if group:
            yield group

    def _take(self, *, wait: bool) -> Decoded | object | None:
        try:
            return self._ready.get() if wait else self._ready.get_nowait()
        except Empty:
            return _NOTHING

    def _compute(self, group: list[Decoded]) -> None:
        try:
            with self._report.clocked("compute"):
                outputs = self._size.compute(group)
        except Exception as error:  # noqa: BLE001 - one picture must not end the others' run
            for decoded in group:
                self._budget.give_back(self._weight(decoded.read))
                self._fail(decoded.read.job, error)
            return
        for decoded, output in zip(group, outputs, strict=True):
            self._computed.put((decoded, output))

    def _finish_all(self) -> None:
        while (item := self._computed.get()) is not None:
            job, weight = item[0].read.job, self._weight(item[0].read)
            if self._report.stopped is None:  # else it would fail in the same way; the next run does it
                self._attempt(job, partial(self._finish, *item))
            del item  # or the picture would lie in memory while the next one is waited for
            self._budget.give_back(weight)

    def _finish(self, decoded: Decoded, output: AnyArray) -> None:
        with self._report.clocked("finish"):
            finished = self._worker.finish(decoded, output)
        self._tell(lambda report: report.take(finished))

    def _attempt(self, job: Job, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - one picture must not end the others' run
            self._fail(job, error)

    def _fail(self, job: Job, error: Exception) -> None:
        self._tell(lambda report: record(report, job.source, error))

    def _tell(self, change: Callable[[BatchReport], None]) -> None:
        self._report.add(change)
        if self._progress is not None:
            with self._lock:
                self._progress(self._report)


_NOTHING = object()


def _differ(a: Decoded, b: Decoded) -> bool:
    return a.prepared.tensor.shape != b.prepared.tensor.shape


def _skipped(report: BatchReport) -> None:
    report.skipped += 1
