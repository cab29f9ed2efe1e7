"""What a REST API's events say of paths: at the API's own address, and behind a custom domain with a base path."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mangum.types import LambdaConfig

from hector.web.apps import stream_app, task_app
from response_streaming import asgi_handler
from response_streaming.rest import RestApi
from tests.lambda_ import built
from tests.support import Context, services_with

OWN = "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"
CUSTOM = "api.example.com"
CONFIG = LambdaConfig(api_gateway_base_path="/", text_mime_types=[], exclude_headers=[])

Handler = Callable[[dict[str, Any], Any], Any]


def sample(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((built.ROOT / "events" / f"{name}.json").read_text())
    return content


def at(event: dict[str, Any], domain: str, path: str, outer: str | None = None) -> dict[str, Any]:
    """The event as it comes by this domain; `outer` is the path in the client's URL."""
    context = event["requestContext"] | {"domainName": domain, "path": outer or path}
    headers = event["headers"] | {"Host": domain}
    return event | {
        "path": path,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "requestContext": context,
    }


@pytest.mark.parametrize(
    ("resource", "parameters", "path", "outer", "routed", "base"),
    [
        ("/health", None, "/health", "/prod/health", "/health", "/prod"),
        ("/health", None, "/health", "/health", "/health", ""),
        ("/health", None, "/v1/health", "/v1/health", "/health", "/v1"),
        ("/health", None, "/api/v1/health", "/api/v1/health", "/health", "/api/v1"),
        ("/health", None, "/health/health", "/health/health", "/health", "/health"),
        ("/health", None, "/v1/health/", "/v1/health/", "/health/", "/v1"),
        ("/sessions/{id}", {"id": "s-1"}, "/v1/sessions/s-1", "/v1/sessions/s-1", "/sessions/s-1", "/v1"),
        ("/sessions/{id}", {"id": "a/b"}, "/v1/sessions/a%2Fb", "/v1/sessions/a%2Fb", "/sessions/a/b", "/v1"),
        ("/sessions/{id}", {"id": "ü"}, "/sessions/%C3%BC", "/prod/sessions/%C3%BC", "/sessions/ü", "/prod"),
        ("/agents/{agent}/{proxy+}", {"agent": "a", "proxy": "b/c"}, "/v1/agents/a/b/c", None, "/agents/a/b/c", "/v1"),
        ("/agents/{agent}/{proxy+}", {"agent": "a", "proxy": "b/c"}, "/agents/a/b%2Fc", None, "/agents/a/b/c", ""),
        ("/{proxy+}", {"proxy": "a b/c"}, "/v1/a%20b/c", None, "/a b/c", "/v1"),
        ("/{proxy+}", {"proxy": "a/a"}, "/a/a/a", None, "/a/a", "/a"),
        ("/", None, "/", "/prod/", "/", "/prod"),
        ("/", None, "/v1", "/v1", "/", "/v1"),
        ("/", None, "/v1/", "/v1/", "/", "/v1"),
        ("/", None, "/", "/", "/", ""),
        # What does not fit together is left as it is: console tests, and gateways of other makes.
        ("/{proxy+}", None, "/a/b", "/prod/a/b", "/a/b", "/prod"),
        ("/health", None, "/other", "/prod/other", "/other", "/prod"),
        ("/tasks/{id}/cancel", {"id": "t"}, "/cancel", "/cancel", "/cancel", ""),
    ],
)
def test_the_path_is_what_the_resource_stands_for_and_what_precedes_it_is_the_base(
    resource: str, parameters: dict[str, str] | None, path: str, outer: str | None, routed: str, base: str
) -> None:
    event = sample("post_task") | {"resource": resource, "pathParameters": parameters}
    scope = RestApi(at(event, CUSTOM, path, outer), Context(), CONFIG).scope  # type: ignore[arg-type]
    assert (scope["path"], scope["aws.base_path"]) == (routed, base)


def test_an_event_without_the_clients_path_is_understood() -> None:
    event = sample("post_task") | {"resource": "/health", "path": "/v1/health", "requestContext": {"identity": {}}}
    scope = RestApi(event, Context(), CONFIG).scope  # type: ignore[arg-type]
    assert (scope["path"], scope["aws.base_path"]) == ("/health", "/v1")


@pytest.fixture
def create_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Handler:
    """The function's own handler. Here, it does not make this process's log lines Lambda's."""
    monkeypatch.setattr("hector.telemetry.on_lambda.listen", lambda: None)
    monkeypatch.setenv("HECTOR_STORE", "memory:")
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("create_session", built.ROOT / "functions/create_session/app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Handler = module.handler
    return handler


@pytest.mark.parametrize(
    ("domain", "mapping", "stage"),
    [(OWN, "", "/prod"), (CUSTOM, "", ""), (CUSTOM, "/v1", ""), (CUSTOM, "/sessions", "")],
)
def test_locations_of_sessions(create_session: Handler, domain: str, mapping: str, stage: str) -> None:
    path = f"{mapping}/sessions"
    answer = create_session(at(sample("create_session"), domain, path, stage + path), Context())
    assert answer["statusCode"] == 201, answer
    session_id = json.loads(answer["body"])["sessionId"]
    location = f"https://{domain}{mapping}{stage}/sessions/{session_id}"
    assert answer["headers"]["location"] == location
    event = sample("create_session") | {"httpMethod": "GET", "resource": "/sessions/{id}", "body": None}
    event["pathParameters"] = {"id": session_id}
    path = f"{mapping}/sessions/{session_id}"
    assert create_session(at(event, domain, path, stage + path), Context())["statusCode"] == 200


@pytest.mark.parametrize(("domain", "mapping", "stage"), [(OWN, "", "/prod"), (CUSTOM, "", ""), (CUSTOM, "/v1", "")])
def test_locations_of_tasks(domain: str, mapping: str, stage: str) -> None:
    services = services_with()
    event = sample("post_task")
    path = mapping + event["path"]
    event["headers"] |= {"Prefer": "respond-async"}
    answer = asgi_handler(task_app(services))(at(event, domain, path, stage + path), Context())  # type: ignore[arg-type]
    assert isinstance(answer, dict)
    assert answer["statusCode"] == 202, answer
    task_id = json.loads(answer["body"])["taskId"]
    assert answer["headers"]["location"] == f"https://{domain}{mapping}{stage}/tasks/{task_id}"
    event = sample("stream_response")
    path = mapping + event["path"]
    answer = asgi_handler(stream_app(services))(at(event, domain, path, stage + path), Context())  # type: ignore[arg-type]
    assert isinstance(answer, dict)
    assert answer["statusCode"] == 200, answer
    assert answer["headers"]["content-location"].startswith(f"https://{domain}{mapping}{stage}/tasks/")


def test_a_route_that_is_not_there_is_named_as_the_api_knows_it() -> None:
    event = sample("post_task") | {"resource": "/{proxy+}", "pathParameters": {"proxy": "nothing"}, "httpMethod": "GET"}
    answer = asgi_handler(task_app(services_with()))(at(event, CUSTOM, "/v1/nothing"), Context())  # type: ignore[arg-type]
    assert isinstance(answer, dict)
    assert answer["statusCode"] == 404
    assert "'/nothing'" in json.loads(answer["body"])["detail"]
