"""What HTTP has for everybody: HEAD, media types with parameters, encodings that are refused by name."""

from __future__ import annotations

import gzip

import httpx
import pytest

from hector.services import Services
from hector.web.api import API_ROUTES
from hector.web.apps import stream_app, task_app
from hector.web.server import sessions_app
from tests.web.test_api import HELLO, assert_problem, session_of


async def test_head_is_get_without_a_body_where_that_is_one_json_document(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    task_id = (await client.post(f"/sessions/{session_id}/tasks", json=HELLO)).json()["taskId"]
    for route in (route for route in API_ROUTES if route.method == "GET"):
        path = route.path.format(session_id=session_id, task_id=task_id, agent_id="my_agent")
        query = {"sessionId": session_id} if path == "/tasks" else {}
        head = await client.head(path, params=query)
        if route.answer[1] == "application/json":
            got = await client.get(path, params=query)
            assert (head.status_code, head.content) == (200, b""), path
            assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.content))
            assert head.headers["content-type"] == "application/json"
        else:
            assert head.status_code == 405, path
            assert head.headers["allow"] == "GET"
    assert (await client.head("/docs")).status_code == 200
    assert (await client.head("/sessions/unknown")).status_code == 404
    assert (await client.get("/openapi.json")).json()["paths"]["/health"].keys() == {"get"}


async def test_the_functions_own_apps_do_so_too(services: Services) -> None:
    answered = {}
    for app in (sessions_app(services), task_app(services), stream_app(services)):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://function") as client:
            for path in ("/sessions", "/health", "/agents/my_agent", "/tasks/x/stream", "/sessions/x/export"):
                head = await client.head(path)
                if head.status_code != 404:
                    answered[path] = (head.status_code, head.status_code == 405 or head.content == b"")
    assert answered == {
        "/sessions": (200, True), "/health": (200, True), "/agents/my_agent": (200, True),
        "/tasks/x/stream": (405, True), "/sessions/x/export": (405, True),
    }  # fmt: skip


@pytest.mark.parametrize(
    "given", ["text/plain; charset=utf-8", "text/plain;charset=UTF-8", "TEXT/Plain ; format=flowed"]
)
async def test_the_parameters_of_a_texts_type_are_dropped(client: httpx.AsyncClient, given: str) -> None:
    session_id = await session_of(client)
    asked = {"input": {"type": given, "content": "hello"}}
    task = (await client.post(f"/sessions/{session_id}/tasks", json=asked)).json()
    assert task["input"] == {"type": "text/plain", "content": "hello"}
    parts = [{"text": "hello", "mediaType": given}]
    task = (await client.post("/agents/my_agent/message/send", json={"message": {"parts": parts}})).json()
    assert task["input"] == {"type": "text/plain", "content": "hello"}


async def test_a_file_has_no_parameters_and_is_base64(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    for given, says, field in (
        ("application/json", "is not base64: it must be base64, as application/json is no text/… type.", "content"),
        ("audio/l16; rate=16000", "must be a media type, such as text/plain or image/png.", "type"),
        ("text/;charset=utf-8", "must be a media type", "type"),
    ):
        refused = await client.post(f"/sessions/{session_id}/tasks", json={"input": {"type": given, "content": "{}"}})
        assert_problem(refused, 400, "invalid_request", f"input.{field}", says=f"input.{field} {says}")


async def test_a_body_that_is_encoded_is_refused_by_that_name(client: httpx.AsyncClient) -> None:
    packed = gzip.compress(b'{"agentId":"my_agent"}')
    for path in ("/sessions", "/sessions/import"):
        refused = await client.post(path, content=packed, headers={"Content-Encoding": "gzip"})
        assert_problem(
            refused, 415, "unsupported_media_type", "Content-Encoding", says="'gzip' is not read: send it as"
        )
        assert refused.headers["accept-encoding"] == "identity"
    plain = await client.post("/sessions", json={"agentId": "my_agent"}, headers={"Content-Encoding": "Identity"})
    assert plain.status_code == 201
