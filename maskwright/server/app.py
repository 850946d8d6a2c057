"""The application: which path does what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import OptionError, UnknownModel
from ..models.card import ModelCard
from ..models.catalog import catalog, find_card
from .addresses import Fetcher
from .answers import Refused, Result, answer_error, answer_result, choose_media
from .fields import parse_fields
from .guard import Guard
from .job_api import FilmCutter, JobPaths
from .jobs import Jobs
from .metrics import CONTENT_TYPE, Metrics
from .openapi import STYLE, describe_api, write_page
from .sessions import Sessions
from .settings import ServerSettings
from .tasks import TASKS, Form, Task
from .uploads import Upload, read_upload
from .workers import Ticket, Workers

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
        jobs: What is done meanwhile.
        film: Cuts films; None where that is not installed.
        routes: Which path does what.
    """

    settings: ServerSettings
    sessions: Sessions
    workers: Workers
    metrics: Metrics
    jobs: Jobs
    film: FilmCutter | None
    routes: list[BaseRoute] = field(default_factory=list)

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

    async def answer(self, request: Request, ticket: Ticket, compute: Callable[[], Result], start: float) -> Response:
        """The answer with what was computed, in the form that the caller accepts.

        Args:
            request: What was asked.
            ticket: The place among those that compute.
            compute: Called in a thread.
            start: When the request came, in seconds of the monotonic clock.
        """
        accept = request.headers.get("accept")
        choose_media(accept, jpeg=True)  # what can be had in no case is said before anything is computed

        def encode() -> tuple[bytes, dict[str, str]]:
            result = compute()
            return answer_result(result, choose_media(accept, jpeg=result.jpeg))

        left = self.settings.timeout - (time.monotonic() - start)
        body, headers = await ticket.run(encode, timeout=max(left, 0.001), gone=_until_gone(request))
        return Response(body, headers=headers)


def make_app(
    settings: ServerSettings, sessions: Sessions, *, film: FilmCutter | None = None
) -> tuple[ASGIApp, Service]:
    """The ASGI application and what its endpoints share.

    Args:
        settings: How it behaves.
        sessions: The models.
        film: Cuts films, for jobs; None: they are refused.
    """
    workers = Workers(settings.workers, settings.queue, settings.grace)
    jobs = Jobs(workers, settings)
    gauges: dict[str, tuple[str, Callable[[], float]]] = {
        "maskwright_admitted": ("Requests waiting or being computed.", lambda: workers.admitted),
        "maskwright_working": ("Pictures being computed.", lambda: workers.working),
        "maskwright_refused_total": ("Requests that found no place.", lambda: workers.refused),
        "maskwright_jobs": ("Jobs kept: waiting, running or ended.", lambda: len(jobs)),
        "maskwright_models_open": ("Models held open.", lambda: len(sessions)),
    }
    service = Service(settings, sessions, workers, Metrics(gauges), jobs, film)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        running = [asyncio.ensure_future(task) for task in (jobs.run(), jobs.sweep_at_times())]
        yield
        for task in running:
            task.cancel()
        workers.close()
        jobs.close()

    service.routes = _routes(service)
    app = Starlette(
        routes=service.routes,
        lifespan=lifespan,
        exception_handlers={HTTPException: _answer_http_exception},
        middleware=[Middleware(Guard, settings=settings, metrics=service.metrics)],
    )
    return app, service


def _routes(service: Service) -> list[BaseRoute]:
    paths = JobPaths(service.settings, service.sessions, service.jobs, service.film)
    routes: list[BaseRoute] = [
        _route("/healthz", GET=_healthz),
        _route("/readyz", GET=_bound(_readyz, service)),
        _route("/metrics", GET=_bound(_metrics, service)),
        _route("/api", GET=_bound(_api, service)),
        _route("/openapi.json", GET=_bound(_document, service)),
        _route("/api.css", GET=_style),
        _route("/api/models", GET=_bound(_models, service)),
        _route("/api/models/{name}", GET=_bound(_model, service)),
        _route("/api/remove", POST=_picture(service, TASKS["remove"]), GET=_address(service, TASKS["remove"])),
        *(_route(f"/api/{name}", POST=_picture(service, TASKS[name])) for name in TASKS if name != "remove"),
        _route("/api/jobs", POST=paths.create),
        _route("/api/jobs/{id}", GET=paths.show, DELETE=paths.forget),
        _route("/api/jobs/{id}/events", GET=paths.events),
        _route("/api/jobs/{id}/result", GET=paths.result),
    ]
    if not service.settings.no_ui:
        page = StaticFiles(directory=PAGE, html=True)
        page.route = "page"  # type: ignore[attr-defined]  # what the metrics call it
        routes.append(Mount("/", page))
    return routes


class _Path:
    """What each method does at a path.

    Args:
        route: The path as the metrics call it.
        endpoints: By method.
    """

    def __init__(self, route: str, **endpoints: _Endpoint) -> None:
        self.route = route
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        if method not in self._endpoints:
            allowed = ", ".join(self._endpoints)
            raise Refused(
                405, "the method", expected=allowed, got=repr(scope["method"][:20]), headers={"Allow": allowed}
            )
        response = await self._endpoints[method](Request(scope, receive, send))
        await response(scope, receive, send)


def _route(path: str, **endpoints: _Endpoint) -> Route:
    return Route(path, _Path(path, **endpoints))


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


# --- the description ----------------------------------------------------------------------------------------------


async def _api(service: Service, request: Request) -> Response:
    document = describe_api(service.settings)
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(write_page(document), headers={"Vary": "Accept"})
    return JSONResponse(document, headers={"Vary": "Accept"})


async def _document(service: Service, _: Request) -> Response:
    return JSONResponse(describe_api(service.settings))


async def _style(_: Request) -> Response:
    return Response(STYLE, media_type="text/css")


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
    """An endpoint that answers with what came of one picture in a form."""
    settings = service.settings

    async def endpoint(request: Request) -> Response:
        start = time.monotonic()
        with service.workers.admit() as ticket:
            limit, timeout = settings.max_upload, settings.timeout
            async with read_upload(request, max_megabytes=limit, timeout=timeout) as upload:
                data = await upload.read("file")
                if len(data) != 1:
                    raise Refused(422, "file", expected="one picture", got=str(len(data)), hint="curl -F file=@it.jpg")
                files = {name: await upload.read(name) for name in upload.files}
                work = task.plan(service.form(task, upload, files))
            return await service.answer(request, ticket, lambda: work(service.sessions, data[0]), start)

    return endpoint


def _address(service: Service, task: Task) -> _Endpoint:
    """An endpoint that answers with what came of the picture at a web address."""
    settings = service.settings
    fetcher = Fetcher(int(settings.max_upload * 1e6), settings.timeout)

    async def endpoint(request: Request) -> Response:
        start = time.monotonic()
        if not settings.allow_urls:
            raise Refused(403, "addresses are not fetched", hint="send the file, or start the server with --allow-urls")
        texts = request.query_params.multi_items()
        urls = [text for name, text in texts if name == "url"]
        if len(urls) != 1:
            raise Refused(422, "url", expected="one address", got=str(len(urls)), hint="/api/remove?url=https://…")
        with service.workers.admit() as ticket:
            others = Upload(texts=[each for each in texts if each[0] != "url"])
            work = task.plan(service.form(task, others, {}))
            data = await asyncio.to_thread(fetcher.fetch, urls[0])
            return await service.answer(request, ticket, lambda: work(service.sessions, data), start)

    return endpoint


async def _until_gone(request: Request) -> None:
    """Until the caller has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
