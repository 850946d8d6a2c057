"""Pictures from web addresses that strangers name: only from public machines, looked up once, each hop checked.

A name is looked up once and the connection goes to an address that was looked at: a name server that answers
differently the second time gains nothing. Proxies of the environment are not asked, since they would look up again.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from threading import Timer
from urllib.parse import SplitResult, urljoin, urlsplit

from ..errors import Error
from .answers import Refused

__all__ = ["Fetcher", "is_public"]

_PORTS = {"http": 80, "https": 443}
_HOPS = 5
_NAT64 = ip_network("64:ff9b::/96")
_HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close", "User-Agent": "maskwright"}
_REDIRECTS = (301, 302, 303, 307, 308)


def is_public(address: str) -> bool:
    """Whether an address is of the public internet, and what it may carry inside (IPv4 in IPv6) too.

    >>> is_public("93.184.215.14"), is_public("10.0.0.1"), is_public("::ffff:127.0.0.1"), is_public("169.254.169.254")
    (True, False, False, False)
    """
    outer = ip_address(address.partition("%")[0])
    return all(_is_global(each) for each in (outer, *_inside(outer)))


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _inside(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that traffic to an IPv6 address may reach."""
    if isinstance(address, IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in found if each is not None]


@dataclass(frozen=True)
class Fetcher:
    """Fetches pictures.

    Attributes:
        max_bytes: How large they may be.
        timeout: Seconds for all of it, redirects included.
        may_visit: Whether an address may be connected to.
        ports: The ports that may be, by scheme.
    """

    max_bytes: int
    timeout: float
    may_visit: Callable[[str], bool] = is_public
    ports: tuple[tuple[str, int], ...] = tuple(_PORTS.items())

    def fetch(self, url: str) -> bytes:
        """What lies at an address.

        Raises:
            Refused: It may not be fetched, or cannot be.
        """
        end = time.monotonic() + self.timeout
        for _ in range(_HOPS + 1):
            parts = self._check(url)
            with self._connect(parts, end) as connection:
                try:
                    connection.request("GET", _target(parts), headers={**_HEADERS, "Host": parts.netloc})
                    response = connection.getresponse()
                    if response.status not in _REDIRECTS:
                        return self._read(response)
                    url = urljoin(url, response.headers.get("Location", ""))
                except (OSError, http.client.HTTPException, ValueError) as error:
                    raise self._failed(type(error).__name__) from error
        raise self._failed("too many redirects")

    def _check(self, url: str) -> SplitResult:
        """The parts of an address that may be asked for as far as it says itself."""
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError as error:
            raise self._refused(url) from error
        clean = url.isascii() and url.isprintable() and " " not in url
        if not clean or not parts.hostname or parts.username is not None or (parts.scheme, port) not in self.ports:
            raise self._refused(url)
        return parts

    def _refused(self, url: str) -> Refused:
        return Refused(
            422, "url", expected="an http or https address of the public web", got=ascii(url[:80]), hint="send the file"
        )

    def _failed(self, reason: str) -> Refused:
        return Refused(422, f"the picture could not be fetched ({reason})", hint="send the file")

    @contextmanager
    def _connect(self, parts: SplitResult, end: float) -> Iterator[http.client.HTTPConnection]:
        """A connection to the machine behind a name, after a look at where that is; cut when the time is over."""
        host = parts.hostname or ""
        port = parts.port or _PORTS[parts.scheme]
        left = max(end - time.monotonic(), 0.001)
        try:
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        except (OSError, UnicodeError) as error:
            raise self._failed("there is no such host") from error
        if not found or not all(map(self.may_visit, found)):  # one bad address is enough: which is used is chance
            raise self._refused(parts.geturl())
        address = min(found, key=lambda each: (":" in each, each))  # IPv4 first: not every machine has the other
        try:
            sock = socket.create_connection((address, port), timeout=left)
        except OSError as error:
            raise self._failed(type(error).__name__) from error
        cut = Timer(left, _shut, [sock])
        cut.start()
        try:
            if parts.scheme == "https":
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
            connection = http.client.HTTPConnection(host, port)
            connection.sock = sock
            yield connection
        except (OSError, ValueError) as error:  # of TLS
            if isinstance(error, Error):
                raise
            raise self._failed(type(error).__name__) from error
        finally:
            cut.cancel()
            sock.close()

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        if response.status != 200:
            raise self._failed(f"status {response.status}")
        data = response.read(self.max_bytes + 1)
        if len(data) > self.max_bytes:
            limit = f"at most {self.max_bytes / 1e6:g} MB"
            raise Refused(413, "the picture at url", expected=limit, got="more", hint="choose a smaller one")
        return data


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _shut(sock: socket.socket) -> None:
    """End whatever waits for this connection."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
