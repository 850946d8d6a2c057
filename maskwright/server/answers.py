"""What goes out: errors as JSON with a status, results in the form that the caller accepts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response

from ..errors import (
    EngineUnavailable,
    Error,
    InputError,
    MediaError,
    ModelError,
    TooManyPixels,
    UnknownFormat,
    UnknownModel,
)
from ..refine.shapes import make_annotation
from ..types import BBox, FloatArray, Provenance

__all__ = ["JSON", "MEDIA_TYPES", "Refused", "Result", "answer_error", "answer_result", "choose_media", "status_of"]

JSON = "application/json"
MEDIA_TYPES = {"image/png": "png", "image/webp": "webp", "image/jpeg": "jpeg", JSON: "json"}  # the preferred first

# The first that fits counts.
_STATUSES: tuple[tuple[type[Error], int], ...] = (
    (TooManyPixels, 413),
    (UnknownFormat, 415),
    (MediaError, 400),
    (InputError, 422),
    (UnknownModel, 422),
    (ModelError, 503),
    (EngineUnavailable, 503),
)


class Refused(Error):
    """What a caller asked for is not done; the status says which kind of reason there is.

    Args:
        status: The HTTP status.
        what: As for `Error`.
        headers: Headers that belong to it.
        texts: `expected`, `got` and `hint` as for `Error`.
    """

    def __init__(self, status: int, what: str, *, headers: Mapping[str, str] | None = None, **texts: str) -> None:
        super().__init__(what, **texts)
        self.status = status
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Result:
    """What came of one picture.

    Attributes:
        encode: Gives the bytes of a picture file, by the format's name.
        masks: Name to mask, (H, W) float32 in [0, 1]; what the JSON answer holds.
        jpeg: Whether a JPEG can hold the picture: it has no transparency.
        provenance: What computed it; None where no network did.
        crop_region: Where the picture lies in the one that was sent.
        notes: What a user may want to know.
    """

    encode: Callable[[str], bytes]
    masks: Mapping[str, FloatArray]
    jpeg: bool
    provenance: Provenance | None = None
    crop_region: BBox | None = None
    notes: tuple[str, ...] = field(default=())

    def record(self) -> dict[str, Any]:
        """All but the picture, ready for JSON."""
        size_hw = next(iter(self.masks.values())).shape
        return {
            "size": list(size_hw),
            "masks": {name: make_annotation(mask) for name, mask in self.masks.items()},
            "crop_region": None if self.crop_region is None else list(self.crop_region),
            "provenance": None if self.provenance is None else asdict(self.provenance),
            "notes": list(self.notes),
        }


def status_of(error: Error) -> int:
    """The HTTP status of an error."""
    if isinstance(error, Refused):
        return error.status
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def answer_error(error: Error, request_id: str) -> Response:
    """The error as JSON. What is wrong with the server itself is for its log, not for callers."""
    status = status_of(error)
    headers = dict(error.headers) if isinstance(error, Refused) else {}
    if status >= 500 and not isinstance(error, Refused):
        error = Error("the server cannot do this now", hint="its log says why, under this request's id")
    body = {
        "error": error.what,
        "expected": error.expected,
        "got": error.got,
        "hint": error.hint,
        "detail": str(error),
        "request_id": request_id,
    }
    return JSONResponse(body, status, headers=headers)


def choose_media(accept: str | None, *, jpeg: bool) -> str:
    """The media type to answer with: the one the caller likes best; of several PNG, else WebP, JPEG, JSON.

    Args:
        accept: The request's Accept header.
        jpeg: Whether a JPEG can hold the picture.

    Raises:
        Refused: None that is accepted can be had.
    """
    offers = [media for media in MEDIA_TYPES if jpeg or media != "image/jpeg"]
    wishes = _parse_accept(accept or "*/*")
    ranked = sorted(offers, key=lambda media: -_quality_of(media, wishes))
    if _quality_of(ranked[0], wishes) > 0:
        return ranked[0]
    wanted = not jpeg and _quality_of("image/jpeg", wishes) > 0
    raise Refused(
        406,
        "Accept",
        expected=f"one of {', '.join(offers)}",
        got=repr(accept),
        hint="JPEG knows no transparency: give bgcolor or background" if wanted else "leave it out for PNG",
    )


def _parse_accept(accept: str) -> list[tuple[str, float]]:
    """Media ranges and how much each is liked, 0 to 1."""
    wishes = []
    for part in accept.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            wishes.append((media, min(max(float(quality), 0.0), 1.0)))
        except ValueError:
            wishes.append((media, 0.0))
    return wishes


def _quality_of(media: str, wishes: list[tuple[str, float]]) -> float:
    """How much a media type is liked; the most exact range that names it counts."""
    for name in (media, f"{media.partition('/')[0]}/*", "*/*"):
        found = [quality for wish, quality in wishes if wish == name]
        if found:
            return max(found)
    return 0.0


def answer_result(result: Result, media: str) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a result. Meant for a worker: encoding takes time."""
    headers = {"Content-Type": media, "Vary": "Accept"}
    if media == JSON:
        return json.dumps(result.record()).encode(), headers
    if result.notes:
        headers["X-Maskwright-Notes"] = json.dumps(result.notes)
    if result.crop_region is not None:
        headers["X-Maskwright-Crop-Region"] = ",".join(map(str, result.crop_region))
    return result.encode(MEDIA_TYPES[media]), headers
