"""The paths of jobs: many files, one zip or one film in; events, and a zip or a film out."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from ..cutout_options import CutoutOptions
from ..errors import OptionError
from ..segmenters import Segmenter
from .answers import MEDIA_TYPES, Refused, Result
from .archives import is_film, is_zip, list_pictures, read_entry, result_names, safe_name, too_many
from .fields import FormField, parse_fields, text_field
from .jobs import FilmSteps, Jobs, PictureSteps, Progress, Steps
from .sessions import Sessions
from .settings import ServerSettings
from .tasks import TASKS, Form, Task, Work
from .uploads import read_upload

__all__ = ["FILM_FORMATS", "JOB_FIELDS", "FilmCutter", "JobPaths"]

FilmCutter: TypeAlias = Callable[[Path, Path, Segmenter, CutoutOptions, Progress], object]
"""Cuts a film out: source, target, the model, the options, and who is told of frames done and all.

What the last one raises ends the work.
"""

_PICTURE_FORMATS = tuple(MEDIA_TYPES.values())
FILM_FORMATS = ("webm", "mov", "mp4")
_TASKS = ("remove", "person", "anime")
_LONGER = 10  # times as long as a picture's may a job's upload take
_HEAD = 16  # bytes that tell what a file is
_PER_FILE = ("mask",)  # files that fit one picture alone

JOB_FIELDS: Mapping[str, FormField] = {
    each.name: each
    for each in (
        text_field("task", "What is done with each picture.", enum=list(_TASKS), default="remove"),
        text_field(
            "format",
            "The form of the results: pictures or JSON in a zip, png by default; of a film webm by default.",
            enum=[*_PICTURE_FORMATS, *FILM_FORMATS],
        ),
    )
}


class JobPaths:
    """The endpoints.

    Args:
        settings: How large jobs may be.
        sessions: The models.
        jobs: All jobs.
        film: Cuts films; None where that is not installed.
    """

    def __init__(self, settings: ServerSettings, sessions: Sessions, jobs: Jobs, film: FilmCutter | None) -> None:
        self._settings = settings
        self._sessions = sessions
        self._jobs = jobs
        self._film = film

    async def create(self, request: Request) -> Response:
        """Take a job in."""
        settings = self._settings
        with self._jobs.arriving() as folder:
            async with read_upload(
                request,
                max_megabytes=settings.max_job_upload,
                timeout=settings.timeout * _LONGER,
                max_files=settings.max_job_files + 1,
            ) as upload:
                task, values = _read_fields(upload.texts)
                files = upload.files.get("file", [])
                allowed = [name for name in task.files if name not in _PER_FILE]
                for name in upload.files:
                    if name not in ("file", *allowed):
                        raise OptionError(
                            "a file's field", expected=" or ".join(["file", *allowed]), got=repr(name[:80])
                        )
                if not files:
                    raise Refused(422, "file", expected="pictures, one zip or one film", got="none")
                format_ = values.pop("format", None)
                others = {name: await upload.read(name) for name in allowed if name in upload.files}
                form = Form(values, settings.max_pixels, settings.models[0], others)
                steps = await self._plan(task, form, files, folder, format_)
            job = self._jobs.add(folder, steps)
        headers = {"Location": f"/api/jobs/{job.id}"}
        return JSONResponse(job.record(settings.keep_results), 202, headers=headers)

    async def _plan(self, task: Task, form: Form, files: list[UploadFile], folder: Path, format_: str | None) -> Steps:
        """What is to be done with the files, which are moved into the job's folder."""
        heads = [await _head(file) for file in files]
        special = [head for head in heads if is_zip(head) or is_film(head)]
        if special and len(files) > 1:
            raise Refused(422, "file", expected="pictures, or one zip, or one film", got="a mixture")
        if special and is_film(special[0]):
            return await self._plan_film(task, form, files[0], folder, format_)
        if format_ in FILM_FORMATS:
            raise OptionError(
                "format", expected=" or ".join(_PICTURE_FORMATS), got=repr(format_), hint="or send a film"
            )
        work = task.plan(form)
        if special:
            return await self._plan_zip(work, files[0], folder, format_ or "png")
        if len(files) > self._settings.max_job_files:
            raise too_many(self._settings.max_job_files, len(files))
        paths = [await _keep(file, folder / f"{number:06}") for number, file in enumerate(files)]
        names = result_names([_own_name(file, number) for number, file in enumerate(files)], format_ or "png")
        return self._steps(work, names, lambda place: paths[place].read_bytes(), format_ or "png")

    async def _plan_zip(self, work: Work, file: UploadFile, folder: Path, format_: str) -> Steps:
        settings = self._settings
        path = await _keep(file, folder / "upload.zip")
        opened = path.open("rb")
        try:
            archive, entries = await asyncio.to_thread(
                list_pictures,
                opened,
                max_files=settings.max_job_files,
                max_bytes=int(settings.max_job_unpacked * 1e6),
            )
        except BaseException:
            opened.close()
            raise
        names = result_names([safe_name(info.filename) for info in entries], format_)
        steps = self._steps(work, names, lambda place: read_entry(archive, entries[place]), format_)
        return replace(steps, close=opened.close)

    def _steps(self, work: Work, names: list[str], read: Callable[[int], bytes], format_: str) -> PictureSteps:
        def compute(place: int) -> bytes:
            return _encoded(work(self._sessions, read(place)), format_)

        return PictureSteps(names, compute, close=lambda: None)

    async def _plan_film(self, task: Task, form: Form, file: UploadFile, folder: Path, format_: str | None) -> Steps:
        film = self._film
        if film is None:
            raise Refused(501, "films cannot be cut on this server", hint="send pictures, or take the frames out first")
        if task.name != "remove" or form.files:
            raise Refused(422, "a film", expected="the task remove without further files", got=task.name)
        if format_ is not None and format_ not in FILM_FORMATS:
            raise OptionError("format", expected=" or ".join(FILM_FORMATS), got=repr(format_), hint="webm is usual")
        values = dict(form.values)
        model = values.pop("model", form.model)
        options = CutoutOptions(**values)
        path = await _keep(file, folder / "upload.film")

        def compute(target: Path, progress: Progress) -> None:
            film(path, target, self._sessions.cutter(model, compat=options.compat), options, progress)

        return FilmSteps(format_ or FILM_FORMATS[0], compute)

    async def show(self, request: Request) -> Response:
        """What a job is now."""
        job = self._jobs.find(request.path_params["id"])
        return JSONResponse(job.record(self._settings.keep_results), headers={"Cache-Control": "no-store"})

    async def events(self, request: Request) -> Response:
        """A job's progress as it happens."""
        job = self._jobs.find(request.path_params["id"])
        return StreamingResponse(
            job.watch(self._settings.keep_results),
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def result(self, request: Request) -> Response:
        """What came of a job."""
        job = self._jobs.find(request.path_params["id"])
        if job.result is None:
            raise Refused(
                409, "the job", expected="done", got=job.state, hint=f"see /api/jobs/{job.id}/events for its progress"
            )
        name = f"maskwright-{job.id[:8]}{job.result.suffix}"
        return FileResponse(job.result, media_type=job.media_type, filename=name)

    async def forget(self, request: Request) -> Response:
        """Cancel a job and delete what it has."""
        self._jobs.forget(self._jobs.find(request.path_params["id"]))
        return Response(status_code=204)


def _read_fields(texts: list[tuple[str, str]]) -> tuple[Task, dict[str, Any]]:
    """The task and the values of all fields but that one."""
    name = next((text for field, text in reversed(texts) if field == "task" and text), "remove")
    JOB_FIELDS["task"].parse(name)
    task = TASKS[name]
    values = parse_fields(texts, {**task.fields, **JOB_FIELDS})
    values.pop("task", None)
    return task, values


async def _head(file: UploadFile) -> bytes:
    await file.seek(0)
    head = await file.read(_HEAD)
    await file.seek(0)
    return head


async def _keep(file: UploadFile, path: Path) -> Path:
    """The path, where the upload lies now. Its name is ours, never the caller's."""

    def copy() -> None:
        with path.open("wb") as target:
            shutil.copyfileobj(file.file, target, 1 << 20)

    await asyncio.to_thread(copy)
    return path


def _own_name(file: UploadFile, number: int) -> str:
    """The last part of the name a file was sent under; it names an entry of the result's zip, nothing on this disk."""
    name = PurePosixPath((file.filename or "").replace("\\", "/")).name
    try:
        return safe_name(name)
    except Refused:
        return f"picture-{number + 1}"


def _encoded(result: Result, format_: str) -> bytes:
    return json.dumps(result.record()).encode() if format_ == "json" else result.encode(format_)
