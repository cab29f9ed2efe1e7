"""Idempotency-Key where a session is made: one key, one session, one model call."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from hector.agents.base import Turn
from hector.stores.base import Store
from tests.support import frames, services_with, serving
from tests.web.test_api import MESSAGE, assert_problem

KEY = {"Idempotency-Key": "order-7"}


def message(text: str) -> dict[str, Any]:
    return {"message": {"role": "user", "parts": [{"type": "text", "text": text}]}}


async def test_ten_requests_with_one_key_make_one_session(on_any: httpx.AsyncClient) -> None:
    body = {"agentId": "my_agent", "ttl": "1h", "metadata": {"b": 1, "a": 2}}
    answers = await asyncio.gather(*(on_any.post("/sessions", json=body, headers=KEY) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    same = {"metadata": {"a": 2, "b": 1}, "ttl": 3600, "agentId": "my_agent"}
    assert (await on_any.post("/sessions", json=same, headers=KEY)).json() == answers[0].json()
    assert len((await on_any.get("/sessions")).json()["items"]) == 1


@pytest.mark.parametrize("change", [{"ttl": "2h"}, {"metadata": {"a": 2}}, {"agentId": "assistant"}])
async def test_another_body_under_the_key_is_refused(client: httpx.AsyncClient, change: dict[str, Any]) -> None:
    body = {"agentId": "my_agent", "ttl": "1h", "metadata": {"a": 1}}
    await client.post("/sessions", json=body, headers=KEY)
    refused = await client.post("/sessions", json={**body, **change}, headers=KEY)
    assert_problem(refused, 422, "idempotency_key_reused", "Idempotency-Key", "'order-7'")
    for route in ("send", "stream"):
        refused = await client.post(f"/agents/my_agent/message/{route}", json=MESSAGE, headers=KEY)
        assert_problem(refused, 422, "idempotency_key_reused", "Idempotency-Key")
    assert len((await client.get("/sessions")).json()["items"]) == 1


async def test_a_key_is_free_again_when_its_session_has_ended(on_any: httpx.AsyncClient) -> None:
    first = (await on_any.post("/sessions", json={"agentId": "my_agent"}, headers=KEY)).json()["sessionId"]
    await on_any.delete(f"/sessions/{first}")
    second = (await on_any.post("/sessions", json={"agentId": "assistant"}, headers=KEY)).json()["sessionId"]
    assert second != first


async def test_ten_messages_with_one_key_are_one_session_one_call_one_answer(any_store: Store) -> None:
    calls: list[str] = []

    async def answer(turn: Turn) -> Any:
        calls.append(turn.text)
        for number in range(10):
            yield f"{number} "
            await asyncio.sleep(0.02)

    async with serving(services_with(any_store, agent=answer)) as client:
        path = "/agents/my_agent/message"
        sent, streamed = (
            [client.post(f"{path}/{route}", json=message("hello"), headers=KEY) for _ in range(5)]
            for route in ("send", "stream")
        )
        answers = await asyncio.gather(*sent, *streamed)
        assert [answer.status_code for answer in answers] == [200] * 10
        assert calls == ["hello"]
        tasks, streams = [a.json() for a in answers[:5]], [frames(a.text) for a in answers[5:]]
        assert all(task == tasks[0] for task in tasks)
        assert all([f.raw for f in stream] == [f.raw for f in streams[0]] for stream in streams)
        assert streams[0][0].data["task_id"] == tasks[0]["taskId"]
        assert streams[0][0].data["context_id"] == tasks[0]["sessionId"]
        assert tasks[0]["output"]["content"] == "0 1 2 3 4 5 6 7 8 9 "
        (session,) = (await client.get("/sessions")).json()["items"]
        assert (session["sessionId"], session["turns"]) == (tasks[0]["sessionId"], 1)
        other = await client.post(f"{path}/send", json=message("something else"), headers=KEY)
        assert_problem(other, 422, "idempotency_key_reused", "Idempotency-Key")
        other = await client.post("/agents/assistant/message/send", json=message("hello"), headers=KEY)
        assert_problem(other, 422, "idempotency_key_reused", "Idempotency-Key")
        assert calls == ["hello"]


async def test_a_streaming_key_attaches_again_to_the_running_stream(client: httpx.AsyncClient) -> None:
    path, body = "/agents/my_agent/message/stream", message("count to 20 every 30 ms")
    first = ""
    async with client.stream("POST", path, json=body, headers=KEY) as answer:
        async for chunk in answer.aiter_text():
            first += chunk
            if "id: 3\n" in first:
                break
    again = await client.post(path, json=body, headers=KEY)
    assert again.text.startswith(first[: first.index("id: 3\n")])
    assert [frame.id for frame in frames(again.text)] == list(range(1, 22))
    assert (await client.post(path, json=body, headers=KEY)).text == again.text, "also when it has ended"


@pytest.mark.parametrize("key", ["", "x" * 256])
@pytest.mark.parametrize(
    "path", ["/sessions", "/agents/my_agent/message/send", "/agents/my_agent/message/stream", "/sessions/import"]
)
async def test_a_bad_key_is_named(client: httpx.AsyncClient, key: str, path: str) -> None:
    body = {"agentId": "my_agent"} if path == "/sessions" else MESSAGE
    refused = await client.post(path, json=body, headers={"Idempotency-Key": key})
    assert_problem(refused, 400, "invalid_request", "Idempotency-Key")
