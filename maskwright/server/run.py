"""Listening: the server process, from making models ready to its graceful end."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from ..errors import Error
from ..models.catalog import find_card
from .app import Service, make_app
from .film import make_film_cutter
from .job_api import FilmCutter
from .sessions import Sessions
from .settings import ServerSettings

__all__ = ["Server", "serve"]

_logger = logging.getLogger(__name__)
_CONNECTIONS = 512
_AFTER_GRACE = 5  # seconds for answers that say that it is over


class Server(uvicorn.Server):
    """A server that stops taking work as soon as it is told to end, and answers what it has begun.

    Args:
        settings: How it behaves.
        sessions: The models.
        film: Cuts films, for jobs; None: they are refused.
    """

    def __init__(self, settings: ServerSettings, sessions: Sessions, *, film: FilmCutter | None = None) -> None:
        app, service = make_app(settings, sessions, film=film)
        self.service: Service = service
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_level=settings.log_level,
                access_log=False,  # ours has the request's id
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_CONNECTIONS,
                timeout_graceful_shutdown=int(settings.grace) + _AFTER_GRACE,
                log_config=None,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What a signal to end does; a second one ends at once."""
        self.service.workers.stop()
        super().handle_exit(sig, frame)


def serve(
    settings: ServerSettings,
    sessions: Sessions,
    *,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve until a signal says to end.

    Args:
        settings: How to behave.
        sessions: The models; those that the settings name are opened first.
        started: Called with the server's address when it listens.

    Raises:
        ModelError, EngineError: A model that the settings name cannot be had.
        Error: The address cannot be listened on.
    """
    for name in settings.models:
        sessions.make_ready(find_card(name))
    server = Server(settings, sessions, film=make_film_cutter(settings.max_pixels))
    with _listen(settings) as listener:
        port = listener.getsockname()[1]
        if started is not None:
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            started(f"http://{host}:{port}")
        server.run(sockets=[listener])


def _listen(settings: ServerSettings) -> socket.socket:
    """A socket that listens.

    Raises:
        Error: The address is taken, not ours, or not allowed.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise Error(
            f"{settings.host}:{settings.port} cannot be listened on ({error.strerror or error})",
            hint="choose another --port; 0 takes a free one",
        ) from error
    return listener
