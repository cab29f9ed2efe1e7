"""A busy session over HTTP: turnPolicy, Prefer: respond-async, and clients that go away."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from hector.config.settings import DEFAULTS
from hector.stores.memory import MemoryStore
from tests.support import frames, services_with, serving
from tests.web.test_api import assert_problem, session_of

RESPOND_ASYNC = {"Prefer": "respond-async, wait=10"}
SLOW = "count to 1000 every 20 ms"


def says(text: str, policy: str | None = None) -> dict[str, Any]:
    return {"input": {"type": "text/plain", "content": text}, **({"turnPolicy": policy} if policy else {})}


def message(text: str, **more: Any) -> dict[str, Any]:
    return {"message": {"role": "user", "parts": [{"type": "text", "text": text}]}, **more}


def agents(**turns: Any) -> dict[str, Any]:
    return {"agents": {"my_agent": {**DEFAULTS["agents"]["my_agent"], "turns": turns}}}


async def started(client: httpx.AsyncClient, session_id: str, text: str, policy: str | None = None) -> str:
    """The id of a task that nobody waits for."""
    answer = await client.post(f"/sessions/{session_id}/tasks", json=says(text, policy), headers=RESPOND_ASYNC)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["taskId"])


async def read(client: httpx.AsyncClient, session_id: str) -> dict[str, Any]:
    session: dict[str, Any] = (await client.get(f"/sessions/{session_id}")).json()
    return session


async def only_task(client: httpx.AsyncClient, session_id: str) -> dict[str, Any]:
    """As soon as there is one."""
    async with asyncio.timeout(5):
        while not (items := (await client.get("/tasks", params={"sessionId": session_id})).json()["items"]):
            await asyncio.sleep(0.05)
    [task] = items
    return dict(task)


async def ended(client: httpx.AsyncClient, task_id: str) -> dict[str, Any]:
    await client.get(f"/tasks/{task_id}/stream")
    task: dict[str, Any] = (await client.get(f"/tasks/{task_id}")).json()
    return task


@pytest.mark.parametrize(
    ("prefer", "status"),
    [
        ("Respond-Async;x=1 , wait=1", 202),
        ('note="a \\" b", respond-async=""', 202),
        ('note="a, respond-async, b"', 200),
        ("respond-asynchronously", 200),
    ],
)
async def test_a_preference_is_read_as_the_rfc_says(on_any: httpx.AsyncClient, prefer: str, status: int) -> None:
    session_id = await session_of(on_any)
    answer = await on_any.post(f"/sessions/{session_id}/tasks", json=says("hello"), headers={"Prefer": prefer})
    assert answer.status_code == status


async def test_respond_async_answers_at_once_and_names_the_task(on_any: httpx.AsyncClient) -> None:
    session_id = await session_of(on_any)
    answer = await on_any.post(
        f"/sessions/{session_id}/tasks", json=says("count to 3 every 50 ms"), headers=RESPOND_ASYNC
    )
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "respond-async"
    task = answer.json()
    assert task["status"]["state"] == "submitted"
    assert answer.headers["location"].endswith(f"/tasks/{task['taskId']}")
    stream = frames((await on_any.get(f"/tasks/{task['taskId']}/stream")).text)
    assert stream[-1].data["status"]["state"] == "completed"
    assert (await on_any.get(answer.headers["location"])).json()["output"]["content"] == "1 2 3"


async def test_respond_async_in_a_session_of_its_own(client: httpx.AsyncClient) -> None:
    answer = await client.post("/agents/my_agent/message/send", json=message("count to 3"), headers=RESPOND_ASYNC)
    assert answer.status_code == 202
    assert (await ended(client, answer.json()["taskId"]))["output"]["content"] == "1 2 3"


async def test_respond_async_with_a_key_is_one_turn(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    headers = {**RESPOND_ASYNC, "Idempotency-Key": "k"}
    posts = (client.post(f"/sessions/{session_id}/tasks", json=says("count to 3"), headers=headers) for _ in range(10))
    answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} == {202}
    [task_id] = {answer.json()["taskId"] for answer in answers}
    await ended(client, task_id)
    assert len((await client.get("/tasks", params={"sessionId": session_id})).json()["items"]) == 1


async def test_a_busy_session_refuses_and_says_when_to_come_back(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    running = await started(client, session_id, SLOW)
    await asyncio.sleep(0.2)
    for headers in ({}, RESPOND_ASYNC):
        refused = await client.post(f"/sessions/{session_id}/tasks", json=says("no"), headers=headers)
        assert_problem(refused, 409, "session_busy")
        assert refused.json()["taskId"] == running
        assert int(refused.headers["retry-after"]) >= 1
    await client.post(f"/tasks/{running}/cancel")


async def test_a_message_waits_for_its_turn(on_any: httpx.AsyncClient) -> None:
    session_id = await session_of(on_any)
    running = await started(on_any, session_id, "count to 10 every 50 ms")
    waiting = asyncio.create_task(on_any.post(f"/sessions/{session_id}/tasks", json=says("count to 2", "enqueue")))
    async with asyncio.timeout(5):
        while (session := await read(on_any, session_id)).get("waitingTaskIds", [running])[0] == running:
            await asyncio.sleep(0.02)
    assert session["status"] == "busy"
    answer = (await waiting).json()
    assert answer["taskId"] == session["waitingTaskIds"][0]
    assert answer["output"]["content"] == "1 2"
    assert (await on_any.get(f"/tasks/{running}")).json()["status"]["state"] == "completed"
    assert "waitingTaskIds" not in await read(on_any, session_id)


async def test_a_stream_waits_for_its_turn_and_then_streams(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    await started(client, session_id, "count to 5 every 50 ms")
    body = message("count to 3", contextId=session_id, turnPolicy="enqueue")
    stream = frames((await client.post("/agents/my_agent/message/stream", json=body)).text)
    assert [frame.event for frame in stream] == ["message"] * 3 + ["status"]


async def test_a_message_interrupts(on_any: httpx.AsyncClient) -> None:
    session_id = await session_of(on_any)
    running = await started(on_any, session_id, SLOW)
    answer = await on_any.post(f"/sessions/{session_id}/tasks", json=says("count to 2", "interrupt"))
    assert answer.json()["output"]["content"] == "1 2"
    assert (await on_any.get(f"/tasks/{running}")).json()["status"]["state"] == "canceled"


async def test_the_agents_own_policy_and_its_limit() -> None:
    async with serving(services_with(**agents(policy="enqueue", max_waiting=1))) as client:
        session_id = await session_of(client)
        running = await started(client, session_id, SLOW)
        waiting = await started(client, session_id, "count to 1")
        refused = await client.post(f"/sessions/{session_id}/tasks", json=says("one too many"))
        assert_problem(refused, 409, "too_many_waiting")
        assert refused.headers["retry-after"]
        await client.post(f"/tasks/{running}/cancel")
        assert (await ended(client, waiting))["output"]["content"] == "1"


@pytest.mark.parametrize("policy", ["queue", "", 7, ["enqueue"]])
async def test_an_unknown_policy_is_refused(client: httpx.AsyncClient, policy: Any) -> None:
    session_id = await session_of(client)
    refused = await client.post(f"/sessions/{session_id}/tasks", json={**says("hello"), "turnPolicy": policy})
    assert_problem(refused, 400, "invalid_request", "turnPolicy")


async def test_a_key_stands_for_the_policy_too(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    path, headers = f"/sessions/{session_id}/tasks", {"Idempotency-Key": "k"}
    await client.post(path, json=says("hello", "enqueue"), headers=headers)
    refused = await client.post(path, json=says("hello", "interrupt"), headers=headers)
    assert_problem(refused, 422, "idempotency_key_reused", "Idempotency-Key")


@pytest.mark.parametrize("on_disconnect", ["cancel", "continue"])
@pytest.mark.parametrize("route", ["tasks", "tasks/stream", "spaced"])
async def test_what_becomes_of_a_turn_whose_client_leaves(on_disconnect: str, route: str) -> None:
    heartbeat = 0.1 if route == "spaced" else 10.0
    services = services_with(heartbeat=heartbeat, **agents(on_disconnect=on_disconnect))
    async with serving(services) as client:
        session_id = await session_of(client)
        path = f"/sessions/{session_id}/{route.replace('spaced', 'tasks')}"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.post(path, json=says("be silent for 60 seconds"))
        task = await only_task(client, session_id)
        if on_disconnect == "cancel":
            assert (await ended(client, task["taskId"]))["status"]["state"] == "canceled"
        else:
            await asyncio.sleep(1)
            assert (await client.get(f"/tasks/{task['taskId']}")).json()["status"]["state"] == "working"
            await client.post(f"/tasks/{task['taskId']}/cancel")


@pytest.mark.parametrize("route", ["tasks", "tasks/stream"])
async def test_a_client_that_leaves_before_the_first_byte_has_left(route: str) -> None:
    class Slow(MemoryStore):
        async def submit(self, *arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(1)
            return await super().submit(*arguments, **options)

    async with serving(services_with(Slow(), **agents(on_disconnect="cancel"))) as client:
        session_id = await session_of(client)
        with pytest.raises(httpx.ReadTimeout):
            await client.post(f"/sessions/{session_id}/{route}", json=says("be silent for 60 seconds"), timeout=0.5)
        task = await only_task(client, session_id)
        async with asyncio.timeout(5):
            assert (await ended(client, task["taskId"]))["status"]["state"] == "canceled"


async def test_a_reader_who_leaves_cancels_nothing() -> None:
    async with serving(services_with(**agents(on_disconnect="cancel"))) as client:
        session_id = await session_of(client)
        task_id = await started(client, session_id, "be silent for 60 seconds")
        with pytest.raises(httpx.ReadTimeout):
            await client.get(f"/tasks/{task_id}/stream", timeout=0.3)
        await asyncio.sleep(1)
        assert (await client.get(f"/tasks/{task_id}")).json()["status"]["state"] == "working"
        await client.post(f"/tasks/{task_id}/cancel")
