"""A small web server on this machine that misbehaves on request."""

from __future__ import annotations

import re
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Reply:
    """What one path answers.

    Attributes:
        content: The file.
        status: Another status than 200 or 206.
        headers: More headers.
        etag: The file's tag, "" for none.
        modified: Its Last-Modified, "" for none.
        has_ranges: Whether Range is honoured.
        length: What Content-Length says of the whole file; None for the truth, -1 for no such header.
        cuts: For each request in turn, after how many bytes the stream is cut. None is not at all.
        shift: By how many bytes the ranges it sends are wrong.
        stall_after: After how many bytes it waits for `FileServer.go_on`.
        delay: Seconds before it answers.
    """

    content: bytes = b""
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    etag: str = '"one"'
    modified: str = ""
    has_ranges: bool = True
    length: int | None = None
    cuts: list[int | None] = field(default_factory=list)
    shift: int = 0
    stall_after: int | None = None
    delay: float = 0.0


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    method: str
    path: str
    headers: dict[str, str]


class FileServer:
    """Serves `replies` on 127.0.0.1 while it is open, and remembers the requests."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.replies: dict[str, Reply] = {}
        self.requests: list[Request] = []
        self.go_on = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self._scheme}://{host}:{self.port}/{path}"

    def serve(self, path: str, content: bytes = b"", **behaviour: object) -> str:
        """The address under which the content is served from now on."""
        self.replies[f"/{path}"] = Reply(content, **behaviour)  # type: ignore[arg-type]
        return self.url(path)

    def redirect(self, path: str, to: str, status: int = 302) -> str:
        return self.serve(path, status=status, headers={"Location": to})

    def asked(self, path: str) -> list[dict[str, str]]:
        """The headers of each request for a path."""
        return [request.headers for request in self.requests if request.path == f"/{path}"]

    def __enter__(self) -> FileServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.requests.append(Request("GET", self.path, dict(self.headers)))
                try:
                    _answer(self, owner, owner.replies.get(self.path, Reply(status=404)))
                except (BrokenPipeError, ConnectionResetError):  # the client had enough
                    self.close_connection = True

            def do_CONNECT(self) -> None:
                owner.requests.append(Request("CONNECT", self.path, dict(self.headers)))
                self.send_error(502)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _answer(handler: BaseHTTPRequestHandler, owner: FileServer, reply: Reply) -> None:
    if reply.delay:
        threading.Event().wait(reply.delay)
    start = _start(handler, reply)
    size = len(reply.content)
    if start is not None and start >= size:
        _send_head(handler, 416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
        return
    headers = dict(reply.headers)
    body = reply.content[start or 0 :]
    if reply.length != -1:
        whole = size if reply.length is None else reply.length
        headers["Content-Length"] = str(whole - (start or 0))
    if start is not None:
        first = start + reply.shift
        headers["Content-Range"] = f"bytes {first}-{size - 1}/{size}"
    headers |= {"ETag": reply.etag} if reply.etag else {}
    headers |= {"Last-Modified": reply.modified} if reply.modified else {}
    _send_head(handler, reply.status or (206 if start is not None else 200), headers)
    _send_body(handler, owner, reply, body)


def _start(handler: BaseHTTPRequestHandler, reply: Reply) -> int | None:
    found = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    same = handler.headers.get("If-Range", "") in ("", reply.etag, reply.modified)
    return int(found[1]) if found and same and reply.has_ranges and reply.status is None else None


def _send_head(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()


def _send_body(handler: BaseHTTPRequestHandler, owner: FileServer, reply: Reply, body: bytes) -> None:
    cut = reply.cuts.pop(0) if reply.cuts else None
    if reply.stall_after is not None:
        handler.wfile.write(body[: reply.stall_after])
        handler.wfile.flush()
        owner.go_on.wait(30)
        body = body[reply.stall_after :]
    handler.wfile.write(body if cut is None else body[:cut])
