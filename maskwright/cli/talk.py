"""What the command line says on stderr and asks on a terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ..errors import LicenseNotAccepted

if TYPE_CHECKING:
    from ..models import ModelCard, Store
    from ..models.store import Arrival

__all__ = ["agree", "open_store", "talking", "work_bar"]

_EACH_SECONDS = 30.0


class _Lines(logging.Handler):
    """What the library logs as lines on stderr; a warning that comes again is counted instead."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        line = f"maskwright: {record.levelname.lower()}: {record.getMessage()}"
        if record.levelno >= logging.WARNING:
            self._counts[line] += 1
        if self._counts[line] <= 1:
            click.echo(line, err=True)

    def close(self) -> None:
        for line, count in self._counts.items():
            if count > 1:
                click.echo(f"{line} ({count} times)", err=True)
        super().close()


@contextmanager
def talking(quiet: bool, debug: bool) -> Iterator[None]:
    """The library's log on stderr while a command runs."""
    logger = logging.getLogger("maskwright")
    handler, level = _Lines(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR if quiet else logging.DEBUG if debug else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
        logger.setLevel(level)


class _Progress:
    """A bar on a terminal, one line elsewhere, while a file is fetched."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._done = 0

    def __call__(self, file: str, done: int, total: int | None) -> None:
        if self._quiet:
            return
        if self._bar is None:
            self._bar = click.progressbar(length=total or 0, label=f"fetching {file}", file=sys.stderr)
            self._done = 0
        self._bar.update(done - self._done)
        self._done = done
        if done == total:
            self._bar.render_finish()
            self._bar = None


def open_store(accept_hash: Sequence[str] = (), quiet: bool = False) -> Store:
    """The store of this machine; on a terminal it shows progress and asks."""
    from ..models.store import Store

    return Store(accept=accept_hash, confirm=_confirm_arrival if _can_ask() else None, progress=_Progress(quiet))


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _confirm_arrival(arrival: Arrival) -> bool:
    click.echo(f"{arrival.file} from {arrival.origin}: {arrival.size:,} bytes, sha256 {arrival.sha256}", err=True)
    if arrival.expected:
        click.echo(f"a mirror states another hash: {arrival.expected}", err=True)
    return click.confirm("No publisher's hash covers this file. Use it from now on?", err=True)


def agree(card: ModelCard, store: Store, accepted: bool) -> None:
    """See that the licence of a non-commercial model was accepted once."""
    if card.commercial is not False or store.is_license_accepted(card.name):
        return
    click.echo(f"{card.name}: {card.license}, see {card.license_url}", err=True)
    if not accepted and not (_can_ask() and click.confirm("Accept this licence?", err=True)):
        raise LicenseNotAccepted(
            f"the licence of {card.name} was not accepted", hint="give --accept-license, or choose another model"
        )
    store.accept_license(card.name)


@contextmanager
def work_bar(label: str, unit: str, quiet: bool) -> Iterator[_Work | None]:
    """What shows how far work has come: a bar on a terminal, elsewhere a line each half minute; None: nothing does."""
    if quiet:
        yield None
    elif not sys.stderr.isatty():
        yield _Work(unit, None)
    else:
        with click.progressbar(
            length=0, label=label, file=sys.stderr, show_pos=True, item_show_func=lambda text: text
        ) as bar:
            yield _Work(unit, bar)


class _Work:
    """Shows how far work has come, how fast it goes, and the time left.

    Args:
        unit: What is counted.
        bar: A bar of click's; None: lines.
    """

    def __init__(self, unit: str, bar: Any) -> None:
        self._unit, self._bar = unit, bar
        self._next = _EACH_SECONDS
        self._start: tuple[float, int] | None = None

    def __call__(self, done: int, total: int, failed: int = 0) -> None:
        """Show it.

        Args:
            done: How many are done.
            total: How many there are; 0: nobody knows.
            failed: How many of those done failed.
        """
        now = time.monotonic()
        if self._start is None:  # what was done before that says nothing of the rate
            self._start = now, done
            if self._bar is not None:
                self._bar.start = self._bar.last_eta = time.time()
        seconds = now - self._start[0]
        rate = (done - self._start[1]) / seconds if seconds else 0.0
        text = f"{rate:.2f} {self._unit}/s" + (f", {failed} failed" if failed else "")
        if self._bar is not None:
            self._bar.length = max(total, done)
            self._bar.update(done - self._bar.pos, text)
        elif seconds >= self._next:
            self._next = seconds + _EACH_SECONDS
            left = f", {(total - done) / rate:.0f} s left" if rate and total > done else ""
            click.echo(f"{done}{f' of {total}' if total else ''}, {text}{left}", err=True)
