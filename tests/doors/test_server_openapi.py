"""The API's description is complete and true: requests made from it get answers that it names."""

import pytest
from starlette.routing import Route

from maskwright.server import ServerSettings
from maskwright.server.answers import MEDIA_TYPES
from maskwright.server.openapi import describe_api
from maskwright.server.tasks import TASKS
from tests.support.running import running

schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")

_METHODS = ("get", "post", "delete")
_OPERATIONS = [
    (path, method)
    for path, operations in describe_api(ServerSettings())["paths"].items()
    for method in operations
    if method in _METHODS
]


_FIELDS = {"remove": {"bgc": "1,2,3,255"}, "person": {"parts": "hair,face"}, "anime": {"answer": "mask"}}


@pytest.fixture(scope="module")
def server():
    with running(max_upload=1, max_job_upload=1, max_jobs=4) as it:
        yield it


@pytest.fixture(scope="module")
def schema(server):
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")


CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
]


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=str)
@pytest.mark.parametrize(("path", "method"), _OPERATIONS)
def test_answers_are_as_described(schema, path, method, mode):
    checks = [schemathesis.checks.CHECKS.get_one(name) for name in CHECKS]

    @hypothesis.settings(
        max_examples=6, deadline=None, derandomize=True, database=None, suppress_health_check=[*hypothesis.HealthCheck]
    )
    @hypothesis.given(case=schema[path][method.upper()].as_strategy(generation_mode=mode))
    def ask(case):
        case.call_and_validate(checks=checks)

    try:
        ask()
    except hypothesis.errors.Unsatisfiable:
        assert mode is schemathesis.GenerationMode.NEGATIVE  # nothing is asked there, so nothing can be wrong


@pytest.mark.parametrize("accept", [*MEDIA_TYPES])
@pytest.mark.parametrize("name", TASKS)
def test_good_answers_are_as_described(server, schema, name, accept):
    """Generated files are hardly ever pictures: this one is."""
    fields = _FIELDS.get(name, {})
    response = server.post(f"/api/{name}", headers={"Accept": accept}, **fields)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == accept
    schema[f"/api/{name}"]["POST"].validate_response(schemathesis.Response.from_httpx(response, verify=False))


def test_every_path_is_described(server):
    described = set(describe_api(ServerSettings())["paths"])
    routes = {route.path for route in server.server.service.routes if isinstance(route, Route)}
    assert routes - {"/api.css"} == described
