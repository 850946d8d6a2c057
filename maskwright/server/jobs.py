"""Jobs: many pictures or a film, done while the caller waits elsewhere, and kept for a while."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import shutil
import tempfile
import time
import zipfile
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Any, Literal, TypeAlias

from ..errors import Error
from .answers import Refused
from .settings import ServerSettings
from .workers import Workers

__all__ = ["FilmSteps", "Job", "Jobs", "PictureSteps", "Progress", "Steps"]

_logger = logging.getLogger(__name__)

Outcome = Literal["done", "failed", "cancelled"]
Progress: TypeAlias = Callable[[int, int], None]

_NOTED = 100  # failures that are told one by one
_HEARTBEAT = 15.0  # seconds after which a silent stream of events says that it lives
_TOLD = 0.2  # seconds between two events of a film
_SUFFIXES = {"zip": "application/zip", "webm": "video/webm", "mp4": "video/mp4", "mov": "video/quicktime"}


class _Cancelled(Exception):
    """Ends the work of a job that nobody wants any more."""


@dataclass(frozen=True)
class PictureSteps:
    """The work of a job of pictures.

    Attributes:
        names: The pictures' results, in order.
        compute: Gives the bytes of one result, by its place among the names.
        close: Called when nothing is to be computed any more.
    """

    names: list[str]
    compute: Callable[[int], bytes]
    close: Callable[[], None]


@dataclass(frozen=True)
class FilmSteps:
    """The work of a job of one film.

    Attributes:
        suffix: The result's ending.
        compute: Writes the result to a path, and calls back with frames done and all.
    """

    suffix: str
    compute: Callable[[Path, Progress], None]


Steps: TypeAlias = PictureSteps | FilmSteps


@dataclass
class Job:
    """What is known of a job. It changes in the event loop alone.

    Attributes:
        id: Its name; hard to guess.
        folder: Its files.
        state: Where it stands.
        total: Pictures, or frames of a film; 0 while that is unknown.
        done: How many were tried.
        failed: What went wrong, by the name of the result.
        error: Why the whole job failed.
        result: The file to hand out.
        ended: When it ended, in seconds of the monotonic clock.
    """

    folder: Path
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: Literal["queued", "running", "done", "failed", "cancelled"] = "queued"
    total: int = 0
    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    result: Path | None = None
    ended: float | None = None
    cancelled: Event = field(default_factory=Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.ended is not None

    @property
    def media_type(self) -> str:
        """What the result is."""
        return _SUFFIXES[self.result.suffix[1:]] if self.result else ""

    def record(self, keep: float) -> dict[str, Any]:
        """What callers are told."""
        left = None if self.ended is None else max(0, round(self.ended + keep - time.monotonic()))
        return {
            "id": self.id,
            "state": self.state,
            "total": self.total,
            "done": self.done,
            "failed": self.failed,
            "error": self.error,
            "result": f"/api/jobs/{self.id}/result" if self.result else None,
            "expires_in": left,
        }

    def tell(self) -> None:
        """Wake those who watch."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def watch(self, keep: float) -> AsyncGenerator[str, None]:
        """Server-sent events: what the job is now, then at each change, until it has ended."""
        while True:
            changed = self._changed
            name = self.state if self.has_ended else "progress"
            yield f"event: {name}\ndata: {json.dumps(self.record(keep))}\n\n"
            if self.has_ended:
                return
            while True:
                try:
                    await asyncio.wait_for(changed.wait(), _HEARTBEAT)
                    break
                except asyncio.TimeoutError:
                    yield ": alive\n\n"

    def end(self, outcome: Outcome, error: str | None = None) -> None:
        """Note that it has ended."""
        self.state, self.error, self.ended = outcome, error, time.monotonic()
        self.tell()


class Jobs:
    """All jobs of a server: one at a time is worked on, the others wait.

    Pictures of a job take at most half of the workers, so that single pictures get their turn.

    Args:
        workers: Who computes.
        settings: How many there may be, how large, how long kept.
    """

    def __init__(self, workers: Workers, settings: ServerSettings) -> None:
        self._workers = workers
        self._settings = settings
        self._jobs: dict[str, Job] = {}
        self._waiting: asyncio.Queue[tuple[Job, Steps]] = asyncio.Queue()
        self._arriving = 0
        self._root = tempfile.TemporaryDirectory(prefix="maskwright-jobs-")
        self._lanes = max(1, workers.count // 2)

    def __len__(self) -> int:
        return len(self._jobs)

    @contextlib.contextmanager
    def arriving(self) -> Iterator[Path]:
        """A folder for a job whose upload is being read; it goes away again unless `add` takes it.

        Raises:
            Refused: There are as many jobs as may be, or the server is stopping.
        """
        if self._workers.is_stopping:
            raise Refused(503, "the server is stopping", headers={"Retry-After": "5"})
        self.sweep()
        if len(self._jobs) + self._arriving >= self._settings.max_jobs:
            raise Refused(
                429,
                "jobs at once",
                expected=f"at most {self._settings.max_jobs}",
                got="more",
                hint="fetch and delete those that are done",
                headers={"Retry-After": str(self._next_expiry())},
            )
        self._arriving += 1
        folder = Path(tempfile.mkdtemp(dir=self._root.name))
        try:
            yield folder
        finally:
            self._arriving -= 1
            if not any(job.folder == folder for job in self._jobs.values()):
                shutil.rmtree(folder, ignore_errors=True)

    def _next_expiry(self) -> int:
        ends = [job.ended + self._settings.keep_results for job in self._jobs.values() if job.ended is not None]
        return max(1, round(min(ends) - time.monotonic())) if ends else 30

    def add(self, folder: Path, steps: Steps) -> Job:
        """A job that waits for its turn.

        Args:
            folder: Its own, from `arriving`.
            steps: What is to be done.
        """
        job = Job(folder, total=len(steps.names) if isinstance(steps, PictureSteps) else 0)
        self._jobs[job.id] = job
        self._waiting.put_nowait((job, steps))
        return job

    def find(self, id_: str) -> Job:
        """The job of this name.

        Raises:
            Refused: There is none, or none any more.
        """
        self.sweep()
        job = self._jobs.get(id_)
        if job is None:
            raise Refused(404, "there is no such job", hint="results are kept for a while only: send it again")
        return job

    def forget(self, job: Job) -> None:
        """End the job if it has not, and delete all it has."""
        job.cancelled.set()
        if not job.has_ended:
            job.end("cancelled")
        self._jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Forget the jobs whose time is over."""
        now = time.monotonic()
        for job in [*self._jobs.values()]:
            if job.ended is not None and now - job.ended > self._settings.keep_results:
                self.forget(job)

    async def run(self) -> None:
        """Work on jobs, one after the other, for ever."""
        while True:
            job, steps = await self._waiting.get()
            try:
                await self._run(job, steps)
            except _Cancelled:
                job.result = None
            except Error as error:
                job.end("failed", str(error))
            except Exception:  # one job must not end the others
                _logger.exception("job %s failed", job.id)
                job.end("failed", "the server failed; its log says why")
            finally:
                if isinstance(steps, PictureSteps):
                    steps.close()

    async def sweep_at_times(self) -> None:
        """Sweep, for ever."""
        while True:
            await asyncio.sleep(min(30.0, self._settings.keep_results))
            self.sweep()

    def close(self) -> None:
        """End and delete everything."""
        for job in [*self._jobs.values()]:
            job.cancelled.set()
        self._root.cleanup()

    async def _run(self, job: Job, steps: Steps) -> None:
        if job.cancelled.is_set():
            return
        job.state = "running"
        job.tell()
        if isinstance(steps, FilmSteps):
            await self._run_film(job, steps)
        else:
            await self._run_pictures(job, steps)

    async def _run_film(self, job: Job, steps: FilmSteps) -> None:
        target = job.folder / f"result.{steps.suffix}"
        loop, told = asyncio.get_running_loop(), time.monotonic()

        def note(done: int, total: int) -> None:
            job.done, job.total = done, total
            job.tell()

        def progress(done: int, total: int) -> None:
            nonlocal told
            if job.cancelled.is_set():
                raise _Cancelled
            if time.monotonic() - told > _TOLD or done == total:
                told = time.monotonic()
                loop.call_soon_threadsafe(note, done, total)

        await self._workers.run(lambda: steps.compute(target, progress), timeout=None)
        job.result = target
        job.end("done")

    async def _run_pictures(self, job: Job, steps: PictureSteps) -> None:
        target = job.folder / "result.zip"
        lock, left = Lock(), int(self._settings.max_job_unpacked * 1e6)
        places = iter(range(len(steps.names)))
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:  # pictures are packed already

            def compute(place: int) -> None:
                nonlocal left
                if job.cancelled.is_set():
                    raise _Cancelled
                data = steps.compute(place)
                with lock:
                    left -= len(data)
                    if left < 0:
                        raise Refused(413, "the results are larger than a job's may be", hint="send several jobs")
                    archive.writestr(steps.names[place], data)

            async def lane() -> None:
                for place in places:
                    await self._try(job, steps.names[place], lambda place=place: compute(place))  # type: ignore[misc]

            lanes = [asyncio.ensure_future(lane()) for _ in range(self._lanes)]
            try:
                await asyncio.gather(*lanes)
            finally:
                for each in lanes:
                    each.cancel()
            archive.writestr("report.json", json.dumps({"done": job.done, "failed": job.failed}, indent=1))
        job.result = target
        job.end("done")

    async def _try(self, job: Job, name: str, work: Callable[[], None]) -> None:
        """One picture: what fails with it alone is noted, and the rest go on."""
        try:
            await self._workers.run(work, timeout=self._settings.timeout)
        except Refused as error:
            if error.status in (413, 503) and (error.status == 413 or self._workers.is_stopping):
                raise
            self._note(job, name, str(error))
        except Error as error:
            self._note(job, name, str(error))
        job.done += 1
        job.tell()

    def _note(self, job: Job, name: str, reason: str) -> None:
        if len(job.failed) < _NOTED:
            job.failed[name] = reason
