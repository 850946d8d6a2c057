"""Work done ahead of what waits for it, a few items and never more, so that memory does not grow with the clip."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["drain", "mapped_ahead", "read_ahead"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def read_ahead(items: Iterable[_In], count: int) -> Generator[_In, None, None]:
    """The items, up to `count` of which are fetched by another thread before they are asked for."""
    iterator = iter(items)
    end = object()
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[object]] = deque()
        try:
            while True:
                while len(waiting) <= count:
                    waiting.append(pool.submit(next, iterator, end))
                item = waiting.popleft().result()
                if item is end:
                    return
                yield item  # type: ignore[misc]  # all but the end are items
        finally:
            pool.shutdown(cancel_futures=True)


def mapped_ahead(
    function: Callable[[_In], _Out], items: Iterable[_In], jobs: int
) -> Generator[tuple[_In, _Out], None, None]:
    """Each item with what the function makes of it, in their order; `jobs` are worked on at once."""
    with ThreadPoolExecutor(jobs) as pool:
        waiting: deque[tuple[_In, Future[_Out]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) > jobs:
                    ready, result = waiting.popleft()
                    yield ready, result.result()
            while waiting:
                ready, result = waiting.popleft()
                yield ready, result.result()
        finally:
            pool.shutdown(cancel_futures=True)


def drain(waiting: deque[Future[None]], most: int) -> None:
    """Wait until no more than `most` are unfinished; what went wrong in one is raised."""
    while len(waiting) > most:
        waiting.popleft().result()
