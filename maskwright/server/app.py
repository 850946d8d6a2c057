"""The application: which path does what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from ..errors import OptionError, UnknownModel
from ..models.card import ModelCard
from ..models.catalog import catalog, find_card
from .answers import Refused, answer_error, answer_result, choose_media
from .fields import parse_fields
from .guard import Guard
from .metrics import CONTENT_TYPE, Metrics
from .sessions import Sessions
from .settings import ServerSettings
from .tasks import TASKS, Form, Task
from .uploads import Upload, read_upload
from .workers import Workers

__all__ = ["PAGE", "Service", "make_app"]

PAGE = Path(__file__).parent / "page"

_Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass
class Service:
    """What the endpoints share.

    Attributes:
        settings: How it behaves.
        sessions: The models.
        workers: Who computes.
        metrics: What is counted.
    """

    settings: ServerSettings
    sessions: Sessions
    workers: Workers
    metrics: Metrics

    @property
    def model(self) -> str:
        """The model of callers who name none."""
        return self.settings.models[0]

    def form(self, task: Task, upload: Upload, files: Mapping[str, list[bytes]]) -> Form:
        """What was sent besides the picture, checked."""
        unknown = sorted(set(upload.files) - {"file", *task.files})
        if unknown:
            raise OptionError(
                "a file's field", expected=f"one of {', '.join(['file', *task.files])}", got=repr(unknown[0][:80])
            )
        values = parse_fields(upload.texts, task.fields)
        return Form(values, self.settings.max_pixels, self.model, files)


def make_app(settings: ServerSettings, sessions: Sessions) -> tuple[ASGIApp, Service]:
    """The ASGI application and what its endpoints share.

    Args:
        settings: How it behaves.
        sessions: The models.
    """
    workers = Workers(settings.workers, settings.queue, settings.grace)
    gauges: dict[str, tuple[str, Callable[[], float]]] = {
        "maskwright_admitted": ("Requests waiting or being computed.", lambda: workers.admitted),
        "maskwright_working": ("Pictures being computed.", lambda: workers.working),
        "maskwright_refused_total": ("Requests that found no place.", lambda: workers.refused),
        "maskwright_models_open": ("Models held open.", lambda: len(sessions)),
    }
    service = Service(settings, sessions, workers, Metrics(gauges))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        yield
        workers.close()

    app = Starlette(
        routes=_routes(service), lifespan=lifespan, exception_handlers={HTTPException: _answer_http_exception}
    )
    return Guard(app, settings, service.metrics), service


def _routes(service: Service) -> list[BaseRoute]:
    routes: list[BaseRoute] = [
        _route("/healthz", _healthz),
        _route("/readyz", _bound(_readyz, service)),
        _route("/metrics", _bound(_metrics, service)),
        _route("/api/models", _bound(_models, service)),
        _route("/api/models/{name}", _bound(_model, service)),
        *(_route(f"/api/{task.name}", _picture(service, task), "POST") for task in TASKS.values()),
    ]
    if not service.settings.no_ui:
        page = StaticFiles(directory=PAGE, html=True)
        page.route = "page"  # type: ignore[attr-defined]  # what the metrics call it
        routes.append(Mount("/", page))
    return routes


def _route(path: str, endpoint: _Endpoint, method: str = "GET") -> Route:
    endpoint.route = path  # type: ignore[attr-defined]  # what the metrics call it
    return Route(path, endpoint, methods=[method])


def _bound(endpoint: Callable[[Service, Request], Awaitable[Response]], service: Service) -> _Endpoint:
    async def bound(request: Request) -> Response:
        return await endpoint(service, request)

    return bound


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    """What the framework itself refuses, in our words."""
    if not isinstance(error, HTTPException):
        raise error
    hint = "GET /api lists the paths" if error.status_code in (404, 405) else ""
    refused = Refused(error.status_code, error.detail.lower(), hint=hint, headers=error.headers)
    return answer_error(refused, request.state.request_id)


# --- signs of life ------------------------------------------------------------------------------------------------


async def _healthz(_: Request) -> Response:
    return JSONResponse({"status": "alive"})


async def _readyz(service: Service, _: Request) -> Response:
    if service.workers.is_stopping:
        raise Refused(503, "the server is stopping", headers={"Retry-After": "1"})
    return JSONResponse({"status": "ready", "model": service.model})


async def _metrics(service: Service, _: Request) -> Response:
    return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


# --- models -------------------------------------------------------------------------------------------------------


async def _models(service: Service, _: Request) -> Response:
    records = await asyncio.to_thread(lambda: [_model_record(service, card) for card in catalog()])
    return JSONResponse({"default": service.model, "models": records})


async def _model(service: Service, request: Request) -> Response:
    try:
        card = find_card(request.path_params["name"])
    except UnknownModel as error:
        raise Refused(404, str(error)) from error
    return JSONResponse(await asyncio.to_thread(_model_record, service, card))


def _model_record(service: Service, card: ModelCard) -> dict[str, Any]:
    """What callers may want to know of a model; nothing of this machine's folders."""
    size = card.weights[0].size if card.weights else None
    return {
        "name": card.name,
        "aliases": list(card.aliases),
        "family": card.family,
        "summary": card.summary,
        "parts": list(card.parts),
        "labels": list(card.labels),
        "license": card.license,
        "license_url": card.license_url,
        "commercial": card.commercial,
        "bytes": size,
        "here": service.sessions.is_here(card),
    }


# --- pictures -----------------------------------------------------------------------------------------------------


def _picture(service: Service, task: Task) -> _Endpoint:
    """An endpoint that answers with what came of one picture."""
    settings = service.settings

    async def endpoint(request: Request) -> Response:
        start = time.monotonic()
        with service.workers.admit() as ticket:
            async with read_upload(request, max_megabytes=settings.max_upload, timeout=settings.timeout) as upload:
                data = await upload.read("file")
                if len(data) != 1:
                    raise Refused(
                        422, "file", expected="one picture", got=str(len(data)), hint="curl -F file=@photo.jpg"
                    )
                form = service.form(task, upload, {name: await upload.read(name) for name in upload.files})
            work = task.plan(form)
            accept = request.headers.get("accept")
            choose_media(accept, jpeg=True)  # what can be had in no case is said before anything is computed

            def compute() -> tuple[bytes, dict[str, str]]:
                result = work(service.sessions, data[0])
                return answer_result(result, choose_media(accept, jpeg=result.jpeg))

            left = settings.timeout - (time.monotonic() - start)
            body, headers = await ticket.run(compute, timeout=max(left, 0.001), gone=_until_gone(request))
        return Response(body, headers=headers)

    return endpoint


async def _until_gone(request: Request) -> None:
    """Until the caller has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
