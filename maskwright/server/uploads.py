"""What comes in: forms of a bounded size, read in a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from .answers import Refused

__all__ = ["Upload", "read_upload"]

_FIELDS = 200
_FIELD_BYTES = 1 << 16
_MEGABYTE = 1_000_000


@dataclass
class Upload:
    """A form that has arrived whole.

    Attributes:
        texts: Names and texts of its fields, those of the query first.
        files: Its files by the names of their fields, each in the order they came.
    """

    texts: list[tuple[str, str]] = field(default_factory=list)
    files: dict[str, list[UploadFile]] = field(default_factory=dict)

    async def read(self, name: str) -> list[bytes]:
        """The bytes of all files of a field."""
        return [await file.read() for file in self.files.get(name, [])]


@asynccontextmanager
async def read_upload(
    request: Request, *, max_megabytes: float, timeout: float, max_files: int = 16
) -> AsyncGenerator[Upload, None]:
    """A request's form; its files are closed afterwards.

    Args:
        request: What came; its body has not been read.
        max_megabytes: How large the body may be, in 10⁶ bytes.
        timeout: Seconds until it must be here.
        max_files: How many files it may hold.

    Raises:
        Refused: It is larger, slower, or no form.
    """
    parser = _parser(request, int(max_megabytes * _MEGABYTE), max_files)
    try:
        form = await asyncio.wait_for(parser.parse(), timeout)
    except asyncio.TimeoutError as error:
        raise Refused(
            408, f"the upload took longer than {timeout:g} s", hint="send less, or on a faster way"
        ) from error
    except MultiPartException as error:
        raise Refused(400, f"the form cannot be read: {error.message}", hint="send multipart/form-data") from error
    except ClientDisconnect as error:
        raise ConnectionAbortedError from error
    upload = Upload(texts=list(request.query_params.multi_items()))
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                upload.files.setdefault(name, []).append(value)
            else:
                upload.texts.append((name, value))
        yield upload
    finally:
        await form.close()


def _parser(request: Request, limit: int, max_files: int) -> MultiPartParser | FormParser:
    """What reads this kind of form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    stream = _limited(request, limit)
    headers: Headers = request.headers
    if kind == "multipart/form-data":
        return MultiPartParser(headers, stream, max_files=max_files, max_fields=_FIELDS, max_part_size=_FIELD_BYTES)
    if kind == "application/x-www-form-urlencoded":
        return FormParser(headers, stream, max_fields=_FIELDS, max_part_size=_FIELD_BYTES)
    raise Refused(415, "the body", expected="multipart/form-data", got=repr(kind), hint="curl -F file=@photo.jpg")


async def _limited(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The body's pieces, as long as they are not too many.

    Raises:
        Refused: They are.
    """
    stated = request.headers.get("content-length", "")
    received = int(stated) if stated.isdecimal() else 0
    if received <= limit:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > limit:
                break
            yield chunk
    if received > limit:
        raise Refused(
            413,
            "the upload",
            expected=f"at most {limit / _MEGABYTE:g} MB",
            got=f"more than that ({received} bytes)",
            hint="send a smaller file",
        )
