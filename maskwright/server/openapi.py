"""The API's description: made from the tasks and fields themselves, so that it is true."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from .. import __version__
from .answers import MEDIA_TYPES
from .fields import SHORT, FormField
from .job_api import FILM_FORMATS, JOB_FIELDS
from .settings import ServerSettings
from .tasks import TASKS, Task

__all__ = ["STYLE", "describe_api", "write_page"]

STYLE = """\
:root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5; }
main { max-width: 60rem; margin: auto; padding: 1rem; }
th, td { padding: 0.2rem 1rem 0.2rem 0; text-align: left; vertical-align: top; }
"""

_Schema = dict[str, Any]
_REF = "#/components/schemas/"
_REASONS = {
    "400": "The form or the picture is damaged.",
    "401": "The token is missing or wrong.",
    "403": "The Host or the Origin is not allowed, or addresses are not fetched.",
    "404": "There is no such thing.",
    "406": "Nothing that Accept names can be had.",
    "408": "The upload took too long.",
    "409": "The job is not done.",
    "413": "The upload or the picture is too large.",
    "415": "It is no picture, or no form.",
    "422": "A field is wrong.",
    "429": "There are too many jobs.",
    "500": "The server failed.",
    "501": "Films cannot be cut on this server.",
    "503": "Busy, stopping, too slow, or the model is not here.",
}
_EVERYWHERE = ("401", "403", "500")
_PICTURE = ("400", "406", "408", "413", "415", "422", "503")
_WAIT = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_REQUEST_ID = {"X-Request-Id": {"description": "This request's name in the log.", "schema": {"type": "string"}}}


def describe_api(settings: ServerSettings) -> dict[str, Any]:
    """The OpenAPI document of a server.

    Args:
        settings: How it behaves.
    """
    paths: dict[str, Any] = {f"/api/{task.name}": {"post": _picture_operation(task)} for task in TASKS.values()}
    paths["/api/remove"]["get"] = _address_operation(TASKS["remove"])
    paths |= _model_paths() | _job_paths() | _other_paths()
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Maskwright",
            "version": __version__,
            "description": "Masks, cut-outs, parts of people and of drawn faces.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": _schemas()},
    }
    if settings.token is not None:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        for path in ("/healthz", "/readyz"):
            paths[path]["get"]["security"] = []
    return document


def _operation(summary: str, responses: Mapping[str, Any], failures: Iterable[str] = (), **rest: Any) -> _Schema:
    described = {**responses, **{status: _failure(status) for status in sorted({*failures, *_EVERYWHERE})}}
    for response in described.values():
        response["headers"] = {**response.get("headers", {}), **_REQUEST_ID}
    return {"summary": summary, "responses": described, **rest}


def _failure(status: str) -> _Schema:
    waits = {"headers": dict(_WAIT)} if status in ("429", "503") else {}
    return {"description": _REASONS[status], **_json("Error"), **waits}


def _json(name: str) -> _Schema:
    return {"content": {"application/json": {"schema": {"$ref": _REF + name}}}}


def _field_schema(field: FormField) -> _Schema:
    return {**field.schema, "description": field.help}


def _properties(fields: Mapping[str, FormField]) -> _Schema:
    """The schema of each field under its long name, and under rembg's where it has one."""
    found = {name: _field_schema(field) for name, field in fields.items()}
    for short, name in SHORT.items():
        if name in fields:
            found[short] = {**fields[name].schema, "description": f"rembg's name of {name}."}
    return found


def _query(fields: Mapping[str, FormField]) -> list[_Schema]:
    return [
        {"name": name, "in": "query", "schema": schema, "description": schema["description"]}
        for name, schema in _properties(fields).items()
    ]


_FILE: _Schema = {"type": "string", "format": "binary"}


def _form(file: _Schema, fields: Mapping[str, FormField], files: Mapping[str, str], repeated: Iterable[str]) -> _Schema:
    """The body of a request, a form."""
    others: _Schema = {
        name: {"type": "array", "items": _FILE, "description": help_}
        if name in repeated
        else {**_FILE, "description": help_}
        for name, help_ in files.items()
    }
    properties = {"file": file, **_properties(fields), **others}
    schema = {"type": "object", "required": ["file"], "properties": properties, "additionalProperties": False}
    binary = {name: {"contentType": "application/octet-stream"} for name in ("file", *files)}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema, "encoding": binary}}}


def _result_response() -> _Schema:
    content: _Schema = {media: {"schema": dict(_FILE)} for media in MEDIA_TYPES}
    content["application/json"] = {"schema": {"$ref": _REF + "Result"}}
    headers = {
        "X-Maskwright-Notes": {"description": "JSON: what there is to know.", "schema": {"type": "string"}},
        "X-Maskwright-Crop-Region": {"description": "x1,y1,x2,y2.", "schema": {"type": "string"}},
    }
    return {
        "description": "What came of the picture, in the form that Accept asks for.",
        "content": content,
        "headers": headers,
    }


def _picture_operation(task: Task) -> _Schema:
    repeated = task.files if task.name == "mask" else ()
    return _operation(
        task.summary,
        {"200": _result_response()},
        _PICTURE,
        operationId=task.name,
        parameters=_query(task.fields),
        requestBody=_form({**_FILE, "description": task.picture}, task.fields, task.files, repeated),
    )


def _address_operation(task: Task) -> _Schema:
    url = {
        "name": "url",
        "in": "query",
        "required": True,
        "schema": {"type": "string", "format": "uri"},
        "description": "Where the picture lies, on the public web. Refused unless the server runs with --allow-urls.",
    }
    return _operation(
        f"{task.summary} that lies at an address",
        {"200": _result_response()},
        _PICTURE,
        operationId="removeFromUrl",
        parameters=[url, *_query(task.fields)],
    )


def _model_paths() -> _Schema:
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}, "description": "Or an alias."}
    listed = {"200": {"description": "All models.", **_json("Models")}}
    one = {"200": {"description": "What is known of it.", **_json("Model")}}
    return {
        "/api/models": {"get": _operation("The catalog", listed, operationId="models")},
        "/api/models/{name}": {"get": _operation("A model", one, ["404"], operationId="model", parameters=[name])},
    }


def _job_paths() -> _Schema:
    id_ = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "description": "The job's."}
    fields = {
        **JOB_FIELDS,
        **{name: field for task in ("anime", "person", "remove") for name, field in TASKS[task].fields.items()},
    }
    files = {
        "type": "array",
        "items": _FILE,
        "minItems": 1,
        "description": "Pictures, or one zip of them, or one film.",
    }
    background = {"background": TASKS["remove"].files["background"]}
    location = {"Location": {"description": "Where the job is.", "schema": {"type": "string"}}}
    zip_: _Schema = {"application/zip": {"schema": dict(_FILE)}}
    film = {media: {"schema": dict(_FILE)} for media in ("video/webm", "video/quicktime", "video/mp4")}
    stream = {"text/event-stream": {"schema": {"type": "string"}}}
    record = {"description": "What it is now.", **_json("Job")}
    one: _Schema = {"parameters": [id_]}
    return {
        "/api/jobs": {
            "post": _operation(
                "Work on several pictures, or on a film",
                {"202": {"description": "It waits for its turn.", **_json("Job"), "headers": location}},
                ("400", "408", "413", "415", "422", "429", "501", "503"),
                operationId="createJob",
                parameters=_query(fields),
                requestBody=_form(files, fields, background, ()),
                description="The fields are those of the task. A film's format is one of "
                + ", ".join(FILM_FORMATS)
                + ".",
            )
        },
        "/api/jobs/{id}": {
            **one,
            "get": _operation("A job", {"200": record}, ["404"], operationId="job"),
            "delete": _operation(
                "Cancel a job and delete what it has",
                {"204": {"description": "Done."}},
                ["404"],
                operationId="deleteJob",
            ),
        },
        "/api/jobs/{id}/events": {
            **one,
            "get": _operation(
                "A job's progress as server-sent events",
                {
                    "200": {
                        "description": "progress, then done, failed or cancelled; each holds a Job.",
                        "content": stream,
                    }
                },
                ["404"],
                operationId="jobEvents",
            ),
        },
        "/api/jobs/{id}/result": {
            **one,
            "get": _operation(
                "What came of a job",
                {"200": {"description": "A zip of pictures with report.json, or a film.", "content": {**zip_, **film}}},
                ["404", "409"],
                operationId="jobResult",
            ),
        },
    }


def _other_paths() -> _Schema:
    status = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
    alive = {"description": "Yes.", "content": {"application/json": {"schema": status}}}
    text = {"description": "Counts.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    document = {"description": "This.", "content": {"application/json": {"schema": {"type": "object"}}}}
    page: _Schema = {"application/json": {"schema": {"type": "object"}}, "text/html": {"schema": {"type": "string"}}}
    both = {"200": {"description": "This.", "content": page}}
    return {
        "/api": {"get": _operation("This description; as a page where Accept asks for HTML", both, operationId="api")},
        "/openapi.json": {"get": _operation("This description", {"200": document}, operationId="openapi")},
        "/healthz": {"get": _operation("Whether it lives", {"200": dict(alive)}, operationId="healthz")},
        "/readyz": {"get": _operation("Whether it takes work", {"200": dict(alive)}, ["503"], operationId="readyz")},
        "/metrics": {"get": _operation("Counts for Prometheus", {"200": text}, operationId="metrics")},
    }


def _schemas() -> _Schema:
    optional_text: _Schema = {"type": ["string", "null"]}
    numbers: _Schema = {"type": "array", "items": {"type": "integer"}}
    return {
        "Error": _object(
            {
                "error": {"type": "string", "description": "What is wrong."},
                "expected": optional_text,
                "got": optional_text,
                "hint": {**optional_text, "description": "One cure."},
                "detail": {"type": "string", "description": "The whole sentence."},
                "request_id": {"type": "string"},
            }
        ),
        "Mask": _object(
            {
                "segmentation": _object({"size": numbers, "counts": {"type": "string"}}),
                "area": {"type": "integer"},
                "bbox": numbers,
                "iscrowd": {"type": "integer"},
                "category_id": {"type": "integer"},
            },
            description="A COCO annotation: compressed run lengths of the mask cut at one half.",
        ),
        "Result": _object(
            {
                "size": {**numbers, "description": "Height and width."},
                "masks": {"type": "object", "additionalProperties": {"$ref": _REF + "Mask"}},
                "crop_region": {"type": ["array", "null"], "items": {"type": "integer"}},
                "provenance": {"type": ["object", "null"]},
                "notes": {"type": "array", "items": {"type": "string"}},
            }
        ),
        "Model": _object(
            {
                "name": {"type": "string"},
                "aliases": {"type": "array", "items": {"type": "string"}},
                "family": {"type": "string"},
                "summary": {"type": "string"},
                "parts": {"type": "array", "items": {"type": "string"}},
                "labels": {"type": "array", "items": {"type": "string"}},
                "license": {"type": "string"},
                "license_url": {"type": "string"},
                "commercial": {"type": ["boolean", "null"]},
                "bytes": {"type": ["integer", "null"]},
                "here": {"type": "boolean", "description": "Whether callers can have it now."},
            }
        ),
        "Models": _object(
            {"default": {"type": "string"}, "models": {"type": "array", "items": {"$ref": _REF + "Model"}}}
        ),
        "Job": _object(
            {
                "id": {"type": "string"},
                "state": {"enum": ["queued", "running", "done", "failed", "cancelled"]},
                "total": {"type": "integer", "description": "Pictures, or frames; 0 while unknown."},
                "done": {"type": "integer"},
                "failed": {"type": "object", "additionalProperties": {"type": "string"}},
                "error": optional_text,
                "result": {**optional_text, "description": "The path of the result, once it is done."},
                "expires_in": {"type": ["integer", "null"], "description": "Seconds."},
            }
        ),
    }


def _object(properties: _Schema, **rest: Any) -> _Schema:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
        **rest,
    }


def write_page(document: Mapping[str, Any]) -> str:
    """The description as a page, without a script.

    Args:
        document: From `describe_api`.
    """
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'><title>Maskwright: the API</title>",
        "<link rel='stylesheet' href='/api.css'></head><body><main><h1>Maskwright: the API</h1>",
        "<p>For programs: <a href='/openapi.json'>openapi.json</a>. For people: <a href='/'>the page</a>.</p>",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method != "parameters":
                parts += _operation_section(path, method, operation)
    return "\n".join([*parts, "</main></body></html>"])


def _operation_section(path: str, method: str, operation: Mapping[str, Any]) -> list[str]:
    content = operation.get("requestBody", {}).get("content", {})
    fields = {each["name"]: each["schema"] for each in operation.get("parameters", [])}
    for kind in content.values():  # what may stand in the query may stand in the form too
        fields = kind["schema"]["properties"]
    rows = [
        f"<tr><th scope='row'><code>{escape(name)}</code></th><td>{escape(_kind(schema))}</td>"
        f"<td>{escape(schema.get('description', ''))}</td></tr>"
        for name, schema in fields.items()
    ]
    table = ["<table>", *rows, "</table>"] if rows else []
    answers = ", ".join(operation["responses"])
    heading = f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}.</p>"
    return [heading, *table, f"<p>Answers: {answers}.</p>"]


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    return "file" if schema.get("format") == "binary" else "files" if schema["type"] == "array" else str(schema["type"])
