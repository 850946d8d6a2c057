"""A folder of pictures and a folder of cut-outs: held, planned, run, and left with a journal that is whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event
from types import TracebackType
from typing import Protocol

from ..errors import MediaError
from ..segmenters import Segmenter
from .journal import compact_journal, has_parts, load_journal
from .places import Place, Stamp
from .plan import Job, Plan, check_places, make_plan
from .report import BatchReport
from .run import Limits, Progress, record, run_jobs
from .work import Settings, Worker

__all__ = ["Batch", "Choices", "Runner", "watch"]

_logger = logging.getLogger(__name__)
_STOP = "stop.txt"  # rembg's way to end a watch


class Runner(Protocol):
    """Does jobs: `run_jobs` on this machine, or something alike on many."""

    def __call__(
        self, jobs: list[Job], worker: Worker, *, limits: Limits, stop: Event, progress: Progress | None
    ) -> BatchReport:
        """What became of the jobs."""
        ...


@dataclass(frozen=True)
class Choices:
    """How the names of cut-outs are chosen, and which of them are made anew.

    Attributes:
        flat: Put all cut-outs into the folder itself.
        overwrite: Replace files that the journal does not know, and cut-outs of another folder's pictures.
        rehash: Look into each picture to see whether it has changed, instead of at its size and time.
    """

    flat: bool = False
    overwrite: bool = False
    rehash: bool = False


class Batch:
    """One folder into another. A context manager: while it is open, no other run writes to the cut-outs' folder.

    Args:
        source: Where the pictures are.
        target: Where the cut-outs go.
        segmenter: The model, held open by the caller.
        settings: What is wanted of every picture.
        choices: Names, and what is made anew.
        limits: How much of the machine to take.
        runner: What does the jobs.

    Raises:
        MediaError: The first is not a folder, another run writes to the second, or it cannot be written.
        OptionError: They are the same, or the segmenter cannot do what the settings say.
    """

    def __init__(
        self,
        source: Place,
        target: Place,
        segmenter: Segmenter,
        settings: Settings,
        *,
        choices: Choices | None = None,
        limits: Limits | None = None,
        runner: Runner = run_jobs,
    ) -> None:
        check_places(source, target)
        self.source, self.target = source, target
        self._settings = settings
        self._choices = choices or Choices()
        self._limits = limits or Limits()
        self._runner = runner
        self._worker = Worker(source, target, segmenter, settings)
        self.recipe = self._worker.recipe
        self._held = ExitStack()

    def __enter__(self) -> Batch:
        with ExitStack() as stack:
            stack.enter_context(self.target.held())
            self._known = load_journal(self.target)
            self._compact()  # what a killed run left
            self._held = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            self._known = load_journal(self.target)
            self._compact()

    def _compact(self) -> None:
        if not (self.target.exclusive and has_parts(self.target)):
            return
        try:
            compact_journal(self.target, self._known)
        except MediaError as error:
            _logger.warning("the journal stays in pieces, which loses nothing: %s", error)

    def plan(self) -> Plan:
        """What there is to do."""
        return make_plan(
            self.source,
            self.target,
            self._known,
            self.recipe,
            suffix=self._settings.suffix,
            flat=self._choices.flat,
            overwrite=self._choices.overwrite,
            rehash=self._choices.rehash,
        )

    def run(self, plan: Plan, *, stop: Event | None = None, progress: Progress | None = None) -> BatchReport:
        """What became of a plan.

        Args:
            plan: What to do.
            stop: Set from outside, it lets what has been read be finished, and no more.
            progress: Called after each picture, by one thread at a time.
        """
        report = self._runner(plan.jobs, self._worker, limits=self._limits, stop=stop or Event(), progress=progress)
        report.failed = {**plan.failed, **report.failed}
        report.skipped += len(plan.done)
        if self._settings.delete_input:
            self._clean(plan.done, report)
        if plan.jobs:
            self._known = load_journal(self.target)
        return report

    def _clean(self, done: list[Job], report: BatchReport) -> None:
        """Delete pictures whose cut-outs an earlier run wrote, perhaps one that was killed before it came to that."""
        for job in done:
            try:
                finished = self._worker.clean(job, self._known.entries[job.target])
            except (MediaError, OSError) as error:
                record(report, job.source, error)
                continue
            report.deleted += finished.deleted
            if finished.kept:
                report.failed[job.source] = f"the picture was kept: {finished.kept}"


def watch(
    batch: Batch, *, stop: Event, interval: float = 1.0, progress: Callable[[int], Progress | None] | None = None
) -> Iterator[BatchReport]:
    """One report for every round in which there was something to do, until `stop.txt` appears among the pictures.

    A picture is taken only when its size and time have not changed for one interval: it may still be arriving. One
    that failed is tried again when it changes.

    Args:
        batch: An open one.
        stop: Set from outside, it ends the watch.
        interval: Seconds between two looks.
        progress: Makes a round's progress callback from the number of its pictures.
    """
    seen: dict[str, Stamp] = {}
    tried: dict[str, Stamp] = {}
    told: dict[str, str] = {}
    first = True
    while not stop.is_set() and batch.source.stamp(_STOP) is None:
        plan = batch.plan()
        state = {job.source: job.stamp for job in plan.jobs}
        plan.jobs = [job for job in plan.jobs if seen.get(job.source) == job.stamp != tried.get(job.source)]
        seen = state
        plan.failed = {name: reason for name, reason in plan.failed.items() if told.get(name) != reason}
        told.update(plan.failed)
        if not first:
            plan.done = []
        if plan.jobs or plan.failed or plan.done:
            tried.update((job.source, job.stamp) for job in plan.jobs)
            yield batch.run(plan, stop=stop, progress=progress(len(plan.jobs)) if progress else None)
            first = False
        stop.wait(interval)
    if batch.source.stamp(_STOP) is not None:
        batch.source.delete(_STOP)
