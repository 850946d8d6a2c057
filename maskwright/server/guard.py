"""What every request passes first: an id, who may call, headers that keep browsers careful, the log and the counts."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import secrets
import time
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import Error
from .answers import Refused, answer_error
from .metrics import Metrics
from .settings import ServerSettings

__all__ = ["PAGE_POLICY", "Guard"]

_logger = logging.getLogger(__name__)

# Everything comes from this server; pictures are also made in the page. No inline script or style, no frame around it.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_OPEN = ("/healthz", "/readyz")  # no secret is told there
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DRAINED = 8_000_000  # bytes of a refused upload that are read so that the caller gets to see the answer
_DRAIN_SECONDS = 2.0


class Guard:
    """The outermost layer of the application.

    Args:
        app: What lies behind.
        settings: Who may call.
        metrics: Where answers are counted.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._hosts = frozenset(map(_folded, settings.hosts))
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.allow_origin)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._cors(Headers(scope=scope)))
        try:
            self._check(scope, Headers(scope=scope))
            app = Response(status_code=204) if self._is_preflight(scope) else self._app
            await app(scope, exchange.receive, exchange.send)
        except Error as error:
            await exchange.fail(error, scope)
        except ConnectionAbortedError:
            exchange.status = 499  # nobody is there to read an answer
        except Exception:  # the last door: a caller gets an id to ask for, the log gets the rest
            _logger.exception("request %s failed", exchange.request_id)
            failed = Refused(500, "the server failed", hint="its log says why, under this request's id")
            await exchange.fail(failed, scope)
        finally:
            self._note(scope, exchange)

    def _note(self, scope: Scope, exchange: _Exchange) -> None:
        seconds = time.perf_counter() - exchange.start
        route = getattr(scope.get("endpoint"), "route", "other")
        self._metrics.note(_method(scope), route, exchange.status, seconds)
        _logger.info(
            "%s %s %s %d %.0f ms",
            exchange.request_id,
            scope["method"],
            scope["path"].encode("unicode_escape").decode("ascii")[:200],
            exchange.status,
            seconds * 1000,
        )

    def _check(self, scope: Scope, headers: Headers) -> None:
        self._check_host(headers)
        self._check_origin(scope, headers)
        self._check_token(scope, headers)

    def _check_host(self, headers: Headers) -> None:
        """A page elsewhere can give its own name our address; it cannot hide that name from us.

        Raises:
            Refused: The request is meant for a name that is not ours.
        """
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not ("*" in self._hosts or _name_of(host) in self._hosts):
            raise Refused(
                403,
                "the Host header",
                expected="a name of this server",
                got=repr(host[:80]),
                hint=f"start it with --allow-host {_name_of(host)[:80] or 'NAME'}",
            )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """Any web page can send a form to this machine; its browser says whose page it is.

        Raises:
            Refused: A page of another origin, which is not allowed.
        """
        asks = scope["method"] in _SAFE_METHODS
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "none")
        foreign = site in ("cross-site", "same-site") if origin is None else not self._is_own(origin, headers)
        if not foreign or (origin is not None and origin.lower() in self._origins):
            return
        if asks and not (scope["path"].startswith("/api/remove") and scope["query_string"]):
            return  # what only reads is shown to nobody without CORS; fetching an address is more than reading
        raise Refused(
            403,
            "the Origin of the page",
            expected="this server's own, or one that is allowed",
            got=repr((origin or "another site")[:80]),
            hint="start the server with --allow-origin ORIGIN",
        )

    def _is_own(self, origin: str, headers: Headers) -> bool:
        parts = urlsplit(origin)
        port = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
        return parts.scheme in ("http", "https") and parts.netloc.lower().removesuffix(port) == headers.get(
            "host", ""
        ).lower().removesuffix(port)

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        """Whether the caller knows the token, where there is one. Page and signs of life are open, the rest is not.

        Raises:
            Refused: The token is missing or wrong.
        """
        token, path = self._settings.token, scope["path"]
        is_open = path in _OPEN or not (path.startswith("/api") or path == "/metrics")
        if token is None or is_open or self._is_preflight(scope):
            return
        kind, _, sent = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), token.encode()):
            return
        raise Refused(
            401,
            "the token is missing or wrong",
            hint="send Authorization: Bearer TOKEN",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _is_preflight(self, scope: Scope) -> bool:
        """Whether a browser asks for a page of an allowed origin whether it may call."""
        headers = Headers(scope=scope)
        return (
            scope["method"] == "OPTIONS"
            and "access-control-request-method" in headers
            and headers.get("origin", "").lower() in self._origins
        )

    def _cors(self, headers: Headers) -> Mapping[str, str]:
        """What tells a browser that a page of an allowed origin may read the answer."""
        origin = headers.get("origin", "")
        if origin.lower() not in self._origins:
            return {"Vary": "Origin"} if self._origins else {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "GET, POST, DELETE",
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Expose-Headers": "Location, Retry-After, X-Request-Id",
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Vary": "Origin",
        }


class _Exchange:
    """One request and its answer on their way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, cors: Mapping[str, str]) -> None:
        asked = Headers(scope=scope).get("x-request-id", "")
        self.request_id = asked if _REQUEST_ID.fullmatch(asked) else secrets.token_hex(8)
        self.status = 0
        self.start = time.perf_counter()
        self._cors = cors
        self._receive = receive
        self._send = send
        self._more = True
        self._waits_for_go = "100-continue" in Headers(scope=scope).get("expect", "").lower()
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._more = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._more and self.status >= 400 and not self._waits_for_go:
                await self._drain()
            headers = MutableHeaders(scope=message)
            for name, value in {**_HEADERS, **self._cors, "X-Request-Id": self.request_id}.items():
                if name == "Vary":
                    headers.add_vary_header(value)
                elif name not in headers or name in self._cors:
                    headers[name] = value
        await self._send(message)

    async def fail(self, error: Error, scope: Scope) -> None:
        """Answer with an error, unless an answer is already on its way."""
        if self.status:
            return
        if not isinstance(error, Refused):
            _logger.warning("request %s: %s", self.request_id, error)
        response = answer_error(error, self.request_id)
        await response(scope, self.receive, self.send)

    async def _drain(self) -> None:
        """Read what is left of the upload: on a connection with unread data the answer would be lost."""
        left = _DRAINED

        async def read() -> None:
            nonlocal left
            while self._more and left > 0:
                left -= len((await self.receive()).get("body", b""))

        try:
            await asyncio.wait_for(read(), _DRAIN_SECONDS)
        except asyncio.TimeoutError:
            _logger.debug("request %s: the rest of its upload was left", self.request_id)


def _method(scope: Scope) -> str:
    method = scope["method"]
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    return _folded(name)


def _folded(name: str) -> str:
    """A name as it is compared; an address in its one shortest form."""
    name = name.strip("[]").rstrip(".").lower()
    try:
        return str(ip_address(name))
    except ValueError:
        return name
