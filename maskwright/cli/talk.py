"""What the command line says on stderr and asks on a terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ..errors import LicenseNotAccepted

if TYPE_CHECKING:
    from ..batch import BatchReport
    from ..models import ModelCard, Store
    from ..models.store import Arrival

__all__ = ["agree", "job_bar", "open_store", "picture_bar", "talking", "work_bar"]

_EACH_SECONDS = 30.0


class _Lines(logging.Handler):
    """Warnings of the library as lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"maskwright: {record.levelname.lower()}: {record.getMessage()}", err=True)


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
def job_bar(count: int, quiet: bool) -> Iterator[Callable[[Any], None] | None]:
    """A progress bar over jobs on a terminal; elsewhere None."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=count, label="cutting", file=sys.stderr, show_pos=True) as bar:
        yield lambda _: bar.update(1)


@contextmanager
def work_bar(label: str, unit: str, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar with rate and time left on a terminal, told what is done and what there is; elsewhere None."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    start: list[tuple[float, int]] = []
    rate = ""
    bar: Any
    with click.progressbar(length=0, label=label, file=sys.stderr, show_pos=True, item_show_func=lambda _: rate) as bar:

        def show(done: int, total: int) -> None:
            nonlocal rate
            now = time.monotonic()
            if not start:
                start.append((now, done))
                bar.start = bar.last_eta = time.time()
            elif now > start[0][0]:
                rate = f"{(done - start[0][1]) / (now - start[0][0]):.1f} {unit}/s"
            bar.length = max(total, done)
            bar.update(done - bar.pos, rate)

        yield show


@contextmanager
def picture_bar(count: int, quiet: bool) -> Iterator[Callable[[BatchReport], None] | None]:
    """A bar with pictures a second and the time left on a terminal; elsewhere a line now and then."""
    if quiet or not count:
        yield None
        return
    if not sys.stderr.isatty():
        yield _ProgressLines(count)
        return
    with click.progressbar(
        length=count,
        label="cutting",
        file=sys.stderr,
        show_pos=True,
        show_eta=True,
        item_show_func=lambda text: text,
    ) as bar:

        def show(report: BatchReport) -> None:
            done = report.written + report.skipped + len(report.failed)
            bad = f", {len(report.failed)} failed" if report.failed else ""
            bar.update(done - bar.pos, f"{report.rate:.2f} pictures/s{bad}")

        yield show


class _ProgressLines:
    """One line each half minute, for logs."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._next = _EACH_SECONDS

    def __call__(self, report: BatchReport) -> None:
        if report.seconds < self._next:
            return
        self._next = report.seconds + _EACH_SECONDS
        done = report.written + report.skipped + len(report.failed)
        left = f", {(self._count - done) / report.rate:.0f} s left" if report.rate else ""
        click.echo(f"{done} of {self._count}, {report.rate:.2f} pictures/s{left}", err=True)
