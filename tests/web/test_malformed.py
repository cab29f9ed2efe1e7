"""What no client should send: a problem document from every route that takes a body, and nothing is written."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from hector.services import Services
from hector.web.routes import ApiRoute
from hector.web.sessions import SESSION_ROUTES
from hector.web.streams import STREAM_ROUTES
from hector.web.tasks import TASK_ROUTES
from tests.support import services_with, serving
from tests.web.test_api import HELLO, MESSAGE, session_of

NUL = "a\0b"
ROUTES = [route for route in (*SESSION_ROUTES, *TASK_ROUTES, *STREAM_ROUTES) if route.method in ("POST", "PATCH")]
WITH_BODY = [route for route in ROUTES if route.body or route.upload]

BODIES: dict[str, bytes] = {
    "half an object": b'{"a": ',
    "not JSON": b"agentId=my_agent",
    "an array": b"[]",
    "a text": b'"text"',
    "a number": b"7",
    "null": b"null",
    "invalid UTF-8": b'{"agentId": "\xff\xfe"}',
    "UTF-16": '{"agentId": "my_agent"}'.encode("utf-16"),
    "a lone surrogate": b'{"agentId": "\\ud800", "metadata": {"\\udfff": 1}}',
    "a raw NUL": b'{"agentId": "a\x00b"}',
    "NULs": b"\x00" * 1000,
    "100,000 brackets": b"[" * 100_000,
    "100,000 closed brackets": b"[" * 100_000 + b"]" * 100_000,
    "100,000 objects": b'{"a":' * 100_000,
    "NaN": b'{"ttl": NaN}',
    "a huge number": b'{"ttl": 1' + b"0" * 5000 + b"}",
    "an unknown field": b'{"what": "is this"}',
    "30 MB": b"x" * 30_000_000,
    "30 MB of JSON": b'{"metadata": {"x": "' + b"x" * 30_000_000 + b'"}}',
}
WRONG: list[Any] = [None, 7, "text", True, [], [[]], {}, {"a": [1]}, -1, 1e300, NUL, "x" * 5000]
VALID: dict[str, dict[str, Any]] = {
    "CreateSession": {"agentId": "my_agent", "ttl": "1h", "metadata": {}},
    "UpdateSession": {"ttl": "1h", "metadata": {}},
    "ForkSession": {"ttl": "1h", "metadata": {}, "taskId": "x"},
    "PostTask": HELLO,
    "SendMessage": {**MESSAGE, "contextId": "x"},
}


def named(route: ApiRoute) -> str:
    return f"{route.method} {route.path}"


async def address(client: httpx.AsyncClient, route: ApiRoute) -> str:
    return route.path.format(session_id=await session_of(client), agent_id="my_agent", task_id="unknown")


def assert_refused(response: httpx.Response, what: object) -> None:
    assert 400 <= response.status_code < 500, (what, response.text)
    assert response.headers["content-type"] == "application/problem+json", what
    assert response.json()["status"] == response.status_code
    assert response.json()["detail"]


def test_every_route_with_a_body_is_looked_at() -> None:
    assert {route.body.__name__ for route in ROUTES if route.body} == set(VALID)
    assert [named(route) for route in ROUTES if route not in WITH_BODY] == ["POST /tasks/{task_id}/cancel"]


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("route", WITH_BODY, ids=named)
async def test_malformed_bodies(client: httpx.AsyncClient, route: ApiRoute, body: bytes) -> None:
    path = await address(client, route)
    before = (await client.get("/sessions")).json()
    assert_refused(await client.request(route.method, path, content=body), body[:40])
    assert (await client.get("/sessions")).json() == before, "nothing is written"


@pytest.mark.parametrize("route", [route for route in ROUTES if route.body], ids=named)
async def test_wrong_types_in_every_field(client: httpx.AsyncClient, services: Services, route: ApiRoute) -> None:
    path = await address(client, route)
    assert route.body is not None
    whole = VALID[route.body.__name__]
    for field in whole:
        for value in WRONG:
            response = await client.request(route.method, path, json={**whole, field: value})
            if response.is_success:
                continue  # some are right: null where a field is optional, an object as metadata
            assert_refused(response, (field, value))


@pytest.mark.parametrize("route", ROUTES, ids=named)
@pytest.mark.parametrize("id_", ["unknown", "%00", "%ff", "%ed%a0%80", "..%2f..", "x" * 3000, "%0d%0aX: y", "' OR 1"])
async def test_unknown_ids(client: httpx.AsyncClient, route: ApiRoute, id_: str) -> None:
    if "{" not in route.path:
        return
    path = route.path.format(session_id=id_, agent_id=id_, task_id=id_)
    body = VALID[route.body.__name__] if route.body else None
    assert_refused(await client.request(route.method, path, json=body), id_)


@pytest.mark.parametrize("id_", ["unknown", "%00", "%ff", "%ed%a0%80", "x" * 3000, "a.b", "key%23x"])
async def test_unknown_ids_on_the_deployed_store(on_any: httpx.AsyncClient, id_: str) -> None:
    for route in (*SESSION_ROUTES, *TASK_ROUTES, *STREAM_ROUTES):
        if "_id}" in route.path:
            path = route.path.format(session_id=id_, agent_id=id_, task_id=id_)
            body = VALID[route.body.__name__] if route.body else None
            assert_refused(await on_any.request(route.method, path, json=body), (named(route), id_))
    context = {**MESSAGE, "contextId": id_}
    assert_refused(await on_any.post("/agents/my_agent/message/send", json=context), id_)
    assert_refused(await on_any.get("/tasks", params={"sessionId": id_}), id_)


async def test_text_that_only_looks_wrong_is_taken(client: httpx.AsyncClient) -> None:
    words = {"a": "\\u0000 \\ud800 😀 \u2028 \x7f", "deep": json.loads("[" * 50 + "]" * 50)}
    session_id = await session_of(client, metadata=words)
    assert (await client.get(f"/sessions/{session_id}")).json()["metadata"] == words


@pytest.mark.parametrize("path", ["/sessions", "/sessions/import"])
async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_failure_of_the_server(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(services_with()) as client:
        _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode())
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        await asyncio.sleep(0.1)
        assert (await client.get("/sessions")).json()["items"] == []
    assert [record.message for record in caplog.records if record.exc_info] == []
