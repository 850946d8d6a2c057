"""Turns: so many pictures at once as the machine has cores, so many waiting, and the rest told to come back."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar, cast

from .answers import Refused

__all__ = ["Ticket", "Workers"]

_T = TypeVar("_T")
_USUAL_SECONDS = 1.0  # of one picture, before one was measured


class Workers:
    """Threads that compute, and who may use them.

    Networks, codecs and array code let go of Python's lock while they compute, so threads fill the cores and share one
    copy of each model.

    Args:
        count: Pictures at once.
        queue: How many more may be admitted.
        grace: Seconds that what was admitted has once `stop` was called.

    Attributes:
        admitted: Requests that hold a place, waiting or being computed.
        working: Pictures being computed.
        refused: Requests that found no place.
    """

    def __init__(self, count: int, queue: int, grace: float = 0) -> None:
        self.count = count
        self.admitted = 0
        self.working = 0
        self.refused = 0
        self._places = count + queue
        self._grace = grace
        self._seconds = _USUAL_SECONDS
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="maskwright-worker")
        self._stopping = asyncio.Event()

    @property
    def is_stopping(self) -> bool:
        """Whether the server takes no new work."""
        return self._stopping.is_set()

    @property
    def retry_after(self) -> int:
        """Seconds after which a place should be free."""
        return max(1, math.ceil(self._seconds * self.admitted / self.count))

    @contextlib.contextmanager
    def admit(self) -> Iterator[Ticket]:
        """A place among those waiting or being computed.

        Raises:
            Refused: All are taken, or the server is stopping.
        """
        if self.is_stopping:
            raise self._come_back("the server is stopping", "send it again to the one that follows")
        if self.admitted >= self._places:
            self.refused += 1
            raise self._come_back("the server is busy", f"send it again in {self.retry_after} s")
        self.admitted += 1
        ticket = Ticket(self)
        try:
            yield ticket
        finally:
            ticket.leave()

    def _come_back(self, what: str, hint: str) -> Refused:
        return Refused(503, what, hint=hint, headers={"Retry-After": str(self.retry_after)})

    async def run(
        self,
        work: Callable[[], _T],
        *,
        timeout: float | None,
        gone: Coroutine[Any, Any, object] | None = None,
        over: Callable[[], None] | None = None,
    ) -> _T:
        """What the work gives, computed in a thread.

        Work that has not begun is dropped when nobody waits for it any more; what has begun is computed to its end.

        Args:
            work: Called in a thread.
            timeout: Seconds it may take, waiting for its turn included; None: as long as it wants.
            gone: Something that ends when the caller has gone away.
            over: Called when the thread has let go of it, which may be later.

        Raises:
            Refused: It took too long, or the server stopped before it was done.
            ConnectionAbortedError: The caller went away.
        """
        future = self._pool.submit(self._timed, work)
        if over is not None:
            _call_when_over(future, over)
        waiting: asyncio.Future[Any] = asyncio.wrap_future(future)
        stopped: asyncio.Future[Any] = asyncio.ensure_future(self._until_stopped())
        left: list[asyncio.Future[Any]] = [asyncio.ensure_future(gone)] if gone is not None else []
        try:
            await asyncio.wait([waiting, stopped, *left], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return cast("_T", waiting.result())
            future.cancel()
            if any(end.done() for end in left):
                raise ConnectionAbortedError
            if stopped.done():
                raise self._come_back("the server is stopping", "send it again to the one that follows")
            hint = "send a smaller picture, or ask for less at once"
            raise self._come_back(f"it took longer than {timeout:g} s", hint)
        finally:
            for end in (waiting, stopped, *left):
                end.cancel()

    def _timed(self, work: Callable[[], _T]) -> _T:
        with self._lock:
            self.working += 1
        start = time.perf_counter()
        try:
            return work()
        finally:
            with self._lock:
                self.working -= 1
                self._seconds += (time.perf_counter() - start - self._seconds) / 8

    async def _until_stopped(self) -> None:
        await self._stopping.wait()
        await asyncio.sleep(self._grace)

    def stop(self) -> None:
        """Take no new work; give what was begun its grace."""
        self._stopping.set()

    def close(self) -> None:
        """Drop what waits, and let the threads end when they are done."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Ticket:
    """A place, from `Workers.admit`. It is given back when the request is over and what it began is done too."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._holds = 1

    async def run(self, work: Callable[[], _T], **how: Any) -> _T:
        """As `Workers.run`."""
        self._holds += 1
        return await self._workers.run(work, over=self.leave, **how)

    def leave(self) -> None:
        """Let go of it once; the last to do so gives the place back."""
        self._holds -= 1
        if self._holds == 0:
            self._workers.admitted -= 1


def _call_when_over(future: Future[Any], over: Callable[[], None]) -> None:
    """Call it in the event loop when the future is done or dropped."""
    loop = asyncio.get_running_loop()

    def tell(_: Future[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile, and nobody counts places any more
            loop.call_soon_threadsafe(over)

    future.add_done_callback(tell)
