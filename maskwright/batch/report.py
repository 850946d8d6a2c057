"""What became of a batch: for people, for programs, and for the exit code."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any

from .. import __version__
from .work import Finished

__all__ = ["BatchReport"]

_SHOWN = 20  # bad files that the summary names


@dataclass
class BatchReport:
    """What became of a folder. Threads may add to it.

    Attributes:
        written: How many cut-outs this run wrote.
        skipped: How many were there already.
        deleted: How many pictures were deleted.
        failed: Picture to what is wrong with it, or to why it was kept though it was to be deleted.
        notes: Picture to what there is to know of its cut-out.
        stopped: Why the run ended before all was done; None: it did not.
        interrupted: Whether that was asked for.
        batch_size: How many pictures went through the network at once, at most.
        seconds: How long it took.
        stages: Seconds spent reading, computing and finishing, threads added up; and waiting for something to compute.
    """

    written: int = 0
    skipped: int = 0
    deleted: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stopped: str | None = None
    interrupted: bool = False
    batch_size: int = 1
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("read", "compute", "finish", "wait"), 0.0))

    def __post_init__(self) -> None:
        self._lock = Lock()
        self._started = time.perf_counter()

    @property
    def ok(self) -> bool:
        """Whether everything that was to be done is done."""
        return not (self.failed or self.stopped)

    @property
    def rate(self) -> float:
        """Pictures written in a second."""
        return self.written / self.seconds if self.seconds else 0.0

    @contextmanager
    def clocked(self, stage: str) -> Iterator[None]:
        """A block whose time belongs to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.stages[stage] += time.perf_counter() - start

    def add(self, change: Callable[[BatchReport], None]) -> None:
        """Change it while no other thread does."""
        with self._lock:
            change(self)
        self.tick()

    def take(self, finished: Finished) -> None:
        """Note a cut-out that is written."""
        self.written += 1
        self.deleted += finished.deleted
        if finished.notes:
            self.notes[finished.job.source] = finished.notes
        if finished.kept:
            self.failed[finished.job.source] = f"the picture was kept: {finished.kept}"

    def fail(self, source: str, reason: str, *, fatal: bool = False) -> None:
        """Note what is wrong with a picture, and whether no other could succeed."""
        self.failed[source] = reason
        if fatal:
            self.stopped = reason

    def tick(self) -> None:
        """Bring the time up to date."""
        self.seconds = time.perf_counter() - self._started

    def join(self, later: BatchReport) -> None:
        """Take in the report of a later round."""
        for name in ("written", "skipped", "deleted", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.failed = {**self.failed, **later.failed}
        self.notes = {**self.notes, **later.notes}
        self.stopped, self.interrupted = later.stopped, later.interrupted
        self.batch_size = max(self.batch_size, later.batch_size)
        self.stages = {stage: seconds + later.stages[stage] for stage, seconds in self.stages.items()}

    def to_json(self, about: dict[str, Any]) -> dict[str, Any]:
        """Plain values, with what the run was about before them."""
        values = {name: value for name, value in asdict(self).items() if name not in ("failed", "notes", "stages")}
        return {
            "maskwright": __version__,
            **about,
            **values,
            "seconds": round(self.seconds, 3),
            "pictures_per_second": round(self.rate, 3),
            "stages": {stage: round(seconds, 3) for stage, seconds in self.stages.items()},
            "failed": len(self.failed),
            "errors": self.failed,
            "notes": {name: list(notes) for name, notes in self.notes.items()},
        }

    def summary(self) -> str:
        """Some lines for people."""
        counts = f"{self.written} written, {self.skipped} skipped, {len(self.failed)} failed"
        lines = [counts + (f", {self.deleted} inputs deleted" if self.deleted else "")]
        if self.written:
            lines[0] += f"; {self.seconds:.1f} s, {self.rate:.2f} pictures/s"
        if self.stages["compute"]:  # on a cluster nobody measures it
            busy = self.stages["compute"] / (self.stages["compute"] + self.stages["wait"])
            lines[0] += f", the network busy {busy:.0%} of its time"
        lines += [f"  {name}: {' '.join(reason.split())}" for name, reason in sorted(self.failed.items())[:_SHOWN]]
        if len(self.failed) > _SHOWN:
            lines.append(f"  and {len(self.failed) - _SHOWN} more: --report FILE lists all")
        if self.stopped:
            lines.append(f"stopped: {self.stopped}; run again to go on")
        return "\n".join(lines)
