"""A server of ours that really listens, in a thread of the test."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
from PIL import Image

from maskwright.engines import FakeEngine
from maskwright.models import ModelCard
from maskwright.models.store import Store
from maskwright.server import ServerSettings
from maskwright.server.run import Server
from maskwright.server.sessions import Sessions

__all__ = ["Running", "fake_engine", "picture_bytes", "running"]


def fake_engine(card: ModelCard) -> FakeEngine:
    """Bright is selected; of several classes, the first is what is dark, and each of the others a colour."""

    def classes(batch: np.ndarray) -> list[np.ndarray]:
        bright = batch.mean(axis=1)
        planes = [-bright, *(bright + 0.1 * np.sin(index) for index in range(1, len(card.labels)))]
        return [np.stack(planes, axis=1)] * (card.recipe.post.output + 1)

    return FakeEngine(classes) if card.labels else FakeEngine()


class Running:
    """What a test holds of a server: itself, and a client that speaks with it."""

    def __init__(self, server: Server, client: httpx.Client) -> None:
        self.server = server
        self.client = client
        self.port = client.base_url.port
        self.workers = server.service.workers

    def post(self, path: str, file: Any = None, **fields: Any) -> httpx.Response:
        """A form with one picture."""
        headers = fields.pop("headers", None)
        given = picture_bytes() if file is None else file
        request = self.client.build_request("POST", path, files={"file": given}, data=fields, headers=headers)
        request.read()  # so that a test can look at it afterwards
        return self.client.send(request)


@contextmanager
def running(
    *, engines: Any = None, film: Any = None, sessions: Sessions | None = None, **settings: Any
) -> Iterator[Running]:
    """A server on a free port; networks are fakes unless `sessions` says otherwise."""
    chosen = ServerSettings(**{"port": 0, "threads": 2, "grace": 2.0, **settings})
    if sessions is None:
        sessions = Sessions(Store(offline=True), engines=engines or fake_engine)
    server = Server(chosen, sessions, film=film)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    headers = {"Authorization": f"Bearer {chosen.token}"} if chosen.token else {}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False, headers=headers) as client:
            yield Running(server, client)
    finally:
        server.service.workers.stop()
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server did not end"


def picture_bytes(height: int = 24, width: int = 32, format: str = "PNG") -> bytes:  # noqa: A002
    """A bright disc on something dark."""
    y, x = np.mgrid[:height, :width]
    inside = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) / 3) ** 2
    buffer = io.BytesIO()
    Image.fromarray(np.where(inside[..., None], [230, 200, 180], [20, 30, 40]).astype(np.uint8)).save(buffer, format)
    return buffer.getvalue()
