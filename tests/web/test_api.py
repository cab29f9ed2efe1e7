"""The native API: what each route answers, and what it says when the request is wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from hector.agents.base import Progress, Truncated, Turn
from hector.errors import StoreUnavailable
from hector.model import StopReason
from hector.services import Services
from hector.stores.memory import MemoryStore
from tests.support import ManualClock, frames, services_with, serving

HELLO = {"input": {"type": "text/plain", "content": "hello"}}
MESSAGE = {"message": {"role": "user", "parts": [{"type": "text", "text": "hello"}]}}


@pytest.fixture
def services() -> Services:
    return services_with()


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(services) as client:
        yield client


async def session_of(client: httpx.AsyncClient, **body: Any) -> str:
    response = await client.post("/sessions", json={"agentId": "my_agent", **body})
    assert response.status_code == 201
    session_id: str = response.json()["sessionId"]
    return session_id


def assert_problem(response: httpx.Response, status: int, code: str, field: str | None = None, says: str = "") -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (body["status"], body["code"], body.get("field")) == (status, code, field)
    assert says in body["detail"]


async def test_a_session_is_created_read_listed_and_ended(client: httpx.AsyncClient) -> None:
    created = await client.post("/sessions", json={"agentId": "my_agent", "ttl": "90s", "metadata": {"plan": "gold"}})
    assert created.status_code == 201
    session = created.json()
    assert created.headers["location"] == str(client.base_url.join(f"/sessions/{session['sessionId']}"))
    assert (session["agentId"], session["status"], session["ttl"]) == ("my_agent", "active", 90)
    assert session["metadata"] == {"plan": "gold"}
    assert (await client.get(created.headers["location"])).json() == session
    listed = (await client.get("/sessions")).json()
    assert listed == {"items": [session], "nextCursor": None}
    assert (await client.delete(created.headers["location"])).status_code == 204
    gone = await client.get(created.headers["location"])
    assert_problem(gone, 404, "not_found", "sessionId", says="POST /sessions starts one")
    assert (await client.get("/sessions")).json()["items"] == []


async def test_sessions_are_listed_in_pages_by_agent_newest_activity_first() -> None:
    clock = ManualClock()
    async with serving(services_with(MemoryStore(clock), clock=clock)) as client:
        ids = []
        for agent in ("my_agent", "assistant", "my_agent", "my_agent"):
            ids.append(await session_of(client, agentId=agent))
            clock.advance(seconds=1)
        await client.post(f"/sessions/{ids[0]}/tasks", json=HELLO)
        first = (await client.get("/sessions", params={"agentId": "my_agent", "limit": 2})).json()
        second = (await client.get("/sessions", params={"agentId": "my_agent", "cursor": first["nextCursor"]})).json()
        found = [session["sessionId"] for session in first["items"] + second["items"]]
        assert found == [ids[0], ids[3], ids[2]]
        assert second["nextCursor"] is None


async def test_a_task_answers_with_its_status_output_and_usage(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    answered = await client.post(f"/sessions/{session_id}/tasks", json=HELLO)
    assert answered.status_code == 200
    task = answered.json()
    assert task["sessionId"] == session_id
    assert task["status"]["state"] == "completed"
    assert task["output"]["type"] == "text/plain"
    assert task["output"]["content"].startswith("You said: “hello”.")
    assert task["usage"]["inputTokens"] == 1
    assert (await client.get(f"/tasks/{task['taskId']}")).json() == task
    assert (await client.get("/tasks", params={"sessionId": session_id})).json() == {
        "items": [task],
        "nextCursor": None,
    }


async def test_a_task_that_runs_is_read_with_its_newest_note() -> None:
    async def answer(turn: Turn) -> AsyncIterator[Any]:
        yield Progress("reading page 3 of 4", 0.75)
        await asyncio.sleep(60)

    async with serving(services_with(agent=answer)) as client:
        tasks = f"/sessions/{await session_of(client)}/tasks"
        path = (await client.post(tasks, json=HELLO, headers={"Prefer": "respond-async"})).headers["location"]
        async with asyncio.timeout(5):
            while "message" not in (status := (await client.get(path)).json()["status"]):
                await asyncio.sleep(0.02)
        assert (status["state"], status["message"], status["fraction"]) == ("working", "reading page 3 of 4", 0.75)
        canceled = (await client.post(f"{path}/cancel")).json()
        assert canceled["status"].keys() == {"state", "timestamp"}


async def test_tasks_are_listed_in_pages_newest_first(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    ids = [(await client.post(f"/sessions/{session_id}/tasks", json=HELLO)).json()["taskId"] for _ in range(5)]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get("/tasks", params={"sessionId": session_id, "limit": 2, **cursor})).json()
        found += [task["taskId"] for task in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert found == ids[::-1]


async def test_all_three_streams_carry_the_same_frames(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    streamed = await client.post(f"/sessions/{session_id}/tasks/stream", json=HELLO)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.headers["cache-control"] == "no-cache"
    assert streamed.text.startswith(": ok\n\n"), "bytes flow before the first token"
    *_, last = frames(streamed.text)
    replayed = await client.get(f"/tasks/{last.data['task_id']}/stream")
    assert replayed.text == streamed.text
    named = await client.post("/agents/my_agent/message/stream", json=MESSAGE)
    assert [frame.event for frame in frames(named.text)] == [frame.event for frame in frames(streamed.text)]


async def test_a_message_goes_on_in_the_session_that_it_names(client: httpx.AsyncClient) -> None:
    def body(text: str, **more: Any) -> dict[str, Any]:
        return {"message": {"role": "user", "parts": [{"type": "text", "text": text}]}, **more}

    stream = await client.post("/agents/my_agent/message/stream", json=body("My name is Alice"))
    context_id = frames(stream.text)[0].data["context_id"]
    sent = await client.post("/agents/my_agent/message/send", json=body("What is my name?", contextId=context_id))
    assert sent.json()["output"]["content"] == "Your name is Alice."
    inner = body("What is my name?")
    inner["message"]["contextId"] = context_id
    assert (await client.post("/agents/my_agent/message/send", json=inner)).json()["sessionId"] == context_id
    other = await client.post("/agents/assistant/message/send", json=body("hi", contextId=context_id))
    assert_problem(other, 400, "invalid_request", "contextId", "That session is with agent 'my_agent'")


async def test_resume_by_last_event_id_or_after(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    whole = (await client.post(f"/sessions/{session_id}/tasks/stream", json=HELLO)).text
    all_frames = frames(whole)
    path = f"/tasks/{all_frames[0].data['task_id']}/stream"
    for cut in range(len(all_frames)):
        by_header = await client.get(path, headers={"Last-Event-ID": str(cut)})
        by_query = await client.get(path, params={"after": cut})
        assert by_header.text == by_query.text
        assert [frame.raw for frame in frames(by_header.text)] == [frame.raw for frame in all_frames[cut:]]
    seen_all = await client.get(path, headers={"Last-Event-ID": str(len(all_frames))})
    assert (seen_all.status_code, seen_all.content) == (204, b"")
    assert_problem(await client.get(path, params={"after": "-1"}), 400, "invalid_request", "after")
    assert_problem(await client.get(path, headers={"Last-Event-ID": "x"}), 400, "invalid_request", "Last-Event-ID")


async def test_a_stream_names_itself_before_its_first_event(client: httpx.AsyncClient) -> None:
    message = {"message": {"role": "user", "parts": [{"type": "text", "text": "be silent for 30 seconds"}]}}
    async with client.stream("POST", "/agents/my_agent/message/stream", json=message) as silent:
        address = silent.headers["content-location"]
    assert address.startswith(f"{client.base_url}/tasks/")
    canceled = await client.post(address.removesuffix("/stream") + "/cancel")
    assert canceled.json()["status"]["state"] == "canceled"
    assert frames((await client.get(address)).text)[-1].data["status"] == {"state": "canceled"}


async def test_a_quiet_stream_is_kept_open_by_comments_and_a_long_wait_by_white_space() -> None:
    async with serving(services_with(heartbeat=0.05)) as client:
        body = {"input": {"type": "text/plain", "content": "count to 3 every 150 ms"}}
        session_id = await session_of(client)
        stream = await client.post(f"/sessions/{session_id}/tasks/stream", json=body)
        assert stream.text.count(": heartbeat\n\n") >= 2
        assert [frame.id for frame in frames(stream.text)] == [1, 2, 3, 4]
        waited = await client.post(f"/sessions/{session_id}/tasks", json=body)
        assert waited.text.startswith("  ")
        assert waited.json()["output"]["content"] == "1 2 3"


async def test_cancel_answers_with_the_canceled_task(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    slow = {"input": {"type": "text/plain", "content": "be silent for 60 seconds"}}
    waiting = asyncio.create_task(client.post(f"/sessions/{session_id}/tasks", json=slow))
    while not (busy := (await client.get(f"/sessions/{session_id}")).json()).get("openTaskId"):
        await asyncio.sleep(0.01)
    assert busy["status"] == "busy"
    task_id = busy["openTaskId"]
    assert (await client.get(f"/tasks/{task_id}")).json()["status"]["state"] == "working"
    refused = await client.post(f"/sessions/{session_id}/tasks", json=HELLO)
    assert_problem(refused, 409, "session_busy", says="Wait for it to end, cancel it, or follow its stream")
    assert refused.json()["taskId"] == task_id
    assert int(refused.headers["retry-after"]) >= 1
    canceled = await client.post(f"/tasks/{task_id}/cancel")
    assert canceled.json()["status"]["state"] == "canceled"
    assert (await waiting).json()["status"]["state"] == "canceled"
    again = await client.post(f"/tasks/{task_id}/cancel")
    assert_problem(again, 409, "task_not_cancelable", says="already canceled")
    assert (await client.post(f"/sessions/{session_id}/tasks", json=HELLO)).status_code == 200


async def test_one_idempotency_key_is_one_task_also_as_a_stream(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    key = {"Idempotency-Key": "order-7"}
    path = f"/sessions/{session_id}/tasks"
    answers = await asyncio.gather(*(client.post(path, json=HELLO, headers=key) for _ in range(10)))
    assert len({answer.text for answer in answers}) == 1
    stream = await client.post(f"{path}/stream", json=HELLO, headers=key)
    assert frames(stream.text)[0].data["task_id"] == answers[0].json()["taskId"]
    assert len((await client.get("/tasks", params={"sessionId": session_id})).json()["items"]) == 1
    other = {"input": {"type": "text/plain", "content": "something else"}}
    assert_problem(
        await client.post(path, json=other, headers=key), 422, "idempotency_key_reused", "Idempotency-Key", "'order-7'"
    )


async def test_agents_and_health(client: httpx.AsyncClient) -> None:
    agents = (await client.get("/agents")).json()["items"]
    assert [agent["agentId"] for agent in agents] == ["assistant", "support_agent", "my_agent"]
    assert (await client.get("/agents/my_agent")).json() == agents[2]
    assert_problem(
        await client.get("/agents/nobody"), 404, "not_found", "agentId", "assistant, my_agent, support_agent"
    )
    assert (await client.get("/health")).json()["status"] == "ok"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/sessions/{0}", "sessionId"),
        ("/tasks/{0}", "taskId"),
        ("/tasks/{0}/stream", "taskId"),
        ("/tasks?sessionId={0}", "sessionId"),
    ],
)
@pytest.mark.parametrize("id_", ["unknown", "0" * 36, "x" * 3000, "%00", "%ff", "a-" + "0" * 19])
async def test_unknown_ids_are_not_found(client: httpx.AsyncClient, path: str, field: str, id_: str) -> None:
    assert_problem(await client.get(path.format(id_)), 404, "not_found", field)


@pytest.mark.parametrize("path", ["/sessions/..%2f", "/tasks/..%2f", "/tasks/..%2f/stream"])
async def test_an_id_with_a_slash_leads_to_no_route(client: httpx.AsyncClient, path: str) -> None:
    assert_problem(await client.get(path), 404, "not_found", says="There is no route")
    assert_problem(await client.get("/tasks?sessionId=..%2f"), 404, "not_found", "sessionId")


@pytest.mark.parametrize("wrong", ["hi", 7, [], None, True])
async def test_what_is_no_object_is_told_in_the_words_of_json(client: httpx.AsyncClient, wrong: object) -> None:
    refused = await client.post(f"/sessions/{await session_of(client)}/tasks", json={"input": wrong})
    assert_problem(refused, 400, "invalid_request", "input", "input must be an object.")
    refused = await client.post("/agents/my_agent/message/send", json={"message": {"parts": 7}})
    assert_problem(refused, 400, "invalid_request", "message.parts", "message.parts must be an array.")


async def test_a_byte_order_mark_is_left_out(client: httpx.AsyncClient) -> None:
    body = b"\xef\xbb\xbf" + json.dumps({"agentId": "my_agent"}).encode()
    assert (await client.post("/sessions", content=body)).status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "field", "says"),
    [
        (b"", 400, None, "empty"),
        (b"{", 400, None, "not JSON"),
        (b"[]", 400, None, "must be a JSON object, not an array"),
        (b'"x"', 400, None, "not a string"),
        (b"\xff\xfe", 400, None, "not UTF-8"),
        (b'{"agentId": NaN}', 400, None, "NaN is not a JSON value"),
        (b'{"agentId": "\\ud800"}', 400, None, "surrogate"),
        (b"[" * 100_000, 400, None, "nested too deeply"),
        (b"{}", 400, "agentId", "agentId is missing"),
        (b'{"agentId": 7}', 400, "agentId", "agentId is wrong"),
        (b'{"agentID": "my_agent"}', 400, "agentId", "missing"),
        (b'{"agentId": "nobody"}', 404, "agentId", "no agent 'nobody'"),
        (b'{"agentId": "my_agent", "tll": 3}', 400, "tll", "not known here"),
        (b'{"agentId": "my_agent", "ttl": "soon"}', 400, "ttl", "not a duration"),
        (b'{"agentId": "my_agent", "ttl": 0}', 400, "ttl", "greater than 0"),
        (b'{"agentId": "my_agent", "ttl": "9999d"}', 400, "ttl", "longer than"),
        (b'{"agentId": "my_agent", "metadata": []}', 400, "metadata", "metadata must be an object"),
        (b'{"agentId": "my_agent", "metadata": {"x": 1e400}}', 400, None, "not JSON"),
        (b'{"agentId": "my_agent", "metadata": ' + b'{"x":' * 200 + b"1" + b"}" * 200 + b"}", 400, None, "too deeply"),
        (b'{"agentId": "my_agent", "ttl": "' + b"9" * 400 + b'd"}', 400, "ttl", "too long"),
        (b'{"agentId": "my_agent", "metadata": {"x": "' + b"x" * 20_000 + b'"}}', 413, "metadata", "larger than"),
        (b'{"agentId": "' + b"x" * 30_000_000 + b'"}', 413, None, "larger than"),
    ],
)
async def test_a_bad_body_is_refused_with_a_reason(
    client: httpx.AsyncClient, body: bytes, status: int, field: str | None, says: str
) -> None:
    response = await client.post("/sessions", content=body)
    code = {400: "invalid_request", 404: "not_found", 413: "input_too_large"}[status]
    assert_problem(response, status, code, field, says)
    assert (await client.get("/sessions")).json()["items"] == [], "nothing is half written"


@pytest.mark.parametrize(
    ("input_", "field", "says"),
    [
        (None, "input", "missing"),
        ("hello", "input", "must be an object"),
        ({}, "input.content", "missing"),
        ({"content": ""}, "input.content", "at least 1 character"),
        ({"content": "a\0b"}, "input.content", "NUL"),
        ({"content": "x", "type": "image/png"}, "input.content", "not base64"),
        ({"content": "x", "type": "picture"}, "input.type", "must be a media type"),
        ({"content": "x", "tpye": "text/plain"}, "input.tpye", "not known here"),
        ({"content": "x" * 1_048_577}, "input.content", "larger than"),
    ],
)
async def test_a_bad_task_is_refused_before_anything_is_written(
    client: httpx.AsyncClient, input_: Any, field: str, says: str
) -> None:
    session_id = await session_of(client)
    for path in (f"/sessions/{session_id}/tasks", f"/sessions/{session_id}/tasks/stream"):
        response = await client.post(path, json={} if input_ is None else {"input": input_})
        assert response.status_code in (400, 413)
        assert_problem(response, response.status_code, response.json()["code"], field, says)
    assert (await client.get("/tasks", params={"sessionId": session_id})).json()["items"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"message": None}, "message"),
        ({"message": {"role": "agent", "parts": [{"text": "x"}]}}, "message.role"),
        ({"message": {"parts": []}}, "message.parts"),
        ({"message": {"parts": [{"type": "text"}]}}, "message.parts.0.text"),
        ({"message": {"parts": [{"type": "file", "text": "x"}]}}, "message.parts.0.type"),
        ({"contextId": 7}, "contextId"),
        ({"contextId": ""}, "contextId"),
        ({"contextId": "a", "message": {"parts": [{"text": "x"}], "contextId": "b"}}, "contextId"),
    ],
)
async def test_a_bad_message_names_its_field(client: httpx.AsyncClient, change: Any, field: str) -> None:
    for path in ("send", "stream"):
        response = await client.post(f"/agents/my_agent/message/{path}", json={**MESSAGE, **change})
        assert_problem(response, 400, "invalid_request", field)


@pytest.mark.parametrize("limit", ["0", "101", "0000000011111", "x", "-1", "1.5", "", "9" * 5000, "٣"])
async def test_a_bad_limit_is_named(client: httpx.AsyncClient, limit: str) -> None:
    assert_problem(await client.get("/sessions", params={"limit": limit}), 400, "invalid_request", "limit")


async def test_a_foreign_cursor_is_named(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/sessions", params={"cursor": "x"}), 400, "invalid_request", "cursor")


async def test_unknown_routes_and_methods_are_problems_too(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/nothing"), 404, "not_found", says="GET /docs lists the routes")
    refused = await client.put("/sessions")
    assert_problem(refused, 405, "method_not_allowed", says="PUT is not possible")
    assert refused.headers["allow"] == "GET, HEAD, POST"
    assert (await client.put("/sessions/unknown")).headers["allow"] == "DELETE, GET, HEAD, PATCH"
    assert (await client.put("/sessions/import")).headers["allow"] == "POST"
    assert_problem(await client.get("/tasks"), 400, "invalid_request", "sessionId")


async def test_a_bug_is_a_problem_document_without_details(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(services.store, "list_sessions", broken)
    from hector.web.server import whole_app

    transport = httpx.ASGITransport(whole_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.get("/sessions", headers={"Origin": "https://app.example.com"})
    assert_problem(response, 500, "internal", says="RuntimeError")
    assert "secret" not in response.text
    assert response.headers["access-control-allow-origin"] == "*", "a browser's script may read it"


async def test_one_second_past_its_expiry_a_session_is_not_found_on_every_route() -> None:
    clock = ManualClock()
    services = services_with(MemoryStore(clock), clock=clock)
    async with serving(services) as client:
        session_id = await session_of(client, ttl="60s")
        task_id = (await client.post(f"/sessions/{session_id}/tasks", json=HELLO)).json()["taskId"]
        message = {**MESSAGE, "contextId": session_id}

        def requests() -> list[Any]:
            return [
                client.get(f"/sessions/{session_id}"),
                client.get(f"/tasks/{task_id}"),
                client.get(f"/tasks/{task_id}/stream"),
                client.get("/tasks", params={"sessionId": session_id}),
                client.post(f"/sessions/{session_id}/tasks", json=HELLO),
                client.post(f"/sessions/{session_id}/tasks/stream", json=HELLO),
                client.post("/agents/my_agent/message/send", json=message),
                client.post("/agents/my_agent/message/stream", json=message),
                client.post(f"/tasks/{task_id}/cancel"),
                client.delete(f"/sessions/{session_id}"),
            ]

        clock.advance(seconds=59)
        alive = [await request for request in requests()]
        assert [response.status_code for response in alive] == [200] * 8 + [409, 204]

        session_id = await session_of(client, ttl="60s")
        task_id = (await client.post(f"/sessions/{session_id}/tasks", json=HELLO)).json()["taskId"]
        message = {**MESSAGE, "contextId": session_id}
        clock.advance(seconds=61)
        for request in requests():
            gone = await request
            assert_problem(
                gone, 404, "not_found", "taskId" if gone.request.url.path.startswith("/tasks/") else "sessionId"
            )
        assert (await client.get("/sessions")).json()["items"] == []


async def test_a_browser_may_call_from_another_origin(client: httpx.AsyncClient) -> None:
    headers = {
        "Origin": "https://app.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "last-event-id,idempotency-key,prefer,a2a-version,content-type",
    }
    preflight = await client.options("/agents/my_agent/message/stream", headers=headers)
    assert preflight.status_code == 200
    answer = await client.get("/health", headers={"Origin": "https://app.example.com"})
    assert answer.headers["access-control-allow-origin"] == "*"
    exposed = answer.headers["access-control-expose-headers"]
    assert all(name in exposed for name in ("Location", "Content-Location", "Retry-After", "Preference-Applied"))


@pytest.mark.parametrize("asked", [("PUT", "prefer"), ("POST", "x-unknown")])
async def test_what_a_browser_may_not_send_is_told_as_a_problem(
    client: httpx.AsyncClient, asked: tuple[str, str]
) -> None:
    method, header = asked
    headers = {
        "Origin": "https://app.example.com",
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": header,
    }
    refused = await client.options("/sessions", headers=headers)
    assert_problem(refused, 400, "invalid_request", says="Access-Control-Allow-Headers")
    assert refused.headers["access-control-allow-origin"] == "*"
    assert "PATCH" in refused.headers["access-control-allow-methods"]


async def test_a_long_answer_that_cannot_be_told_ends_with_the_problem_in_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for error, code in ((StoreUnavailable("The store is away."), "store_unavailable"), (KeyError("x"), "internal")):
        services = services_with(heartbeat=0.05)

        async def ended(*_: Any, error: Exception = error) -> None:
            await asyncio.sleep(0.2)
            raise error

        monkeypatch.setattr(services.follow, "ended", ended)
        async with serving(services) as client:
            answer = await client.post(f"/sessions/{await session_of(client)}/tasks", json=HELLO)
        assert (answer.status_code, answer.text[0]) == (200, " "), "the status line has left before"
        body = answer.json()
        assert (body["code"], body["status"]) == (code, 503 if code == "store_unavailable" else 500)
        assert body["detail"]


async def test_public_url_is_where_links_lead() -> None:
    async with serving(services_with(public_url="https://chat.example.com/v1/")) as client:
        created = await client.post("/sessions", json={"agentId": "my_agent"})
        assert created.headers["location"].startswith("https://chat.example.com/v1/sessions/")


async def test_an_agent_that_fails_is_a_failed_task(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    fail = {"input": {"type": "text/plain", "content": "fail please"}}
    answer = await client.post(f"/sessions/{session_id}/tasks", json=fail)
    assert answer.json()["status"]["state"] == "failed"
    assert answer.json()["status"]["error"] == {
        "code": "asked_to_fail", "message": "The builtin agent failed, as it was asked to.",
    }  # fmt: skip
    (only,) = frames((await client.post("/agents/my_agent/message/stream", json={
        "message": {"parts": [{"text": "fail please"}]}})).text)  # fmt: skip
    assert (only.id, only.event, only.data["status"]["state"]) == (1, "status", "failed")
    assert only.data["context_id"], "the session is named even where there is no answer"


async def test_what_an_agent_says_can_be_sent_whatever_it_is() -> None:
    def answer(turn: Turn) -> list[str]:
        return ["line\nbreak", "\r\n\r\n", "data: x\n\n", "\ud800", "\u2028", "😀", "", "end"]

    async with serving(services_with(agent=answer)) as client:
        stream = await client.post("/agents/my_agent/message/stream", json=MESSAGE)
        texts = [frame.data["message"]["parts"][0]["text"] for frame in frames(stream.text)[:-1]]
        assert texts == ["line\nbreak", "\r\n\r\n", "data: x\n\n", "\ufffd", "\u2028", "😀", "end"]


async def test_an_answer_that_was_cut_says_so_in_the_task_and_in_the_stream() -> None:
    async def answer(turn: Turn) -> AsyncIterator[object]:
        yield "half"
        yield Truncated(StopReason.MAX_TOKENS)

    async with serving(services_with(agent=answer)) as client:
        stream = await client.post("/agents/my_agent/message/stream", json=MESSAGE)
        *_, last = frames(stream.text)
        assert last.data["status"] == {"state": "completed", "stop_reason": "max_tokens"}
        task = (await client.get(f"/tasks/{last.data['task_id']}")).json()
        assert (task["status"]["state"], task["stopReason"]) == ("completed", "max_tokens")
