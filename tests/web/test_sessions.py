"""PATCH /sessions/{id}, GET /sessions/{id}/messages, GET /tasks by state."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from hector.stores.memory import MemoryStore
from tests.support import ManualClock, services_with, serving
from tests.web.test_api import HELLO, assert_problem, session_of


def text(content: str) -> dict[str, Any]:
    return {"input": {"type": "text/plain", "content": content}}


async def all_messages(client: httpx.AsyncClient, session_id: str, limit: int, order: str = "asc") -> list[Any]:
    found: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        params = {"limit": str(limit), "order": order, **cursor}
        page = (await client.get(f"/sessions/{session_id}/messages", params=params)).json()
        assert len(page["items"]) == limit or page["nextCursor"] is None
        found += page["items"]
        if page["nextCursor"] is None:
            return found
        cursor = {"cursor": page["nextCursor"]}


async def test_metadata_and_ttl_are_changed(on_any: httpx.AsyncClient) -> None:
    session_id = await session_of(on_any, ttl="60s", metadata={"a": 1, "b": 2})
    path = f"/sessions/{session_id}"
    before = (await on_any.get(path)).json()
    changed = await on_any.patch(path, json={"metadata": {"b": 3}})
    assert changed.status_code == 200
    assert changed.json() == {**before, "metadata": {"b": 3}}
    changed = await on_any.patch(path, json={"ttl": "2h"})
    assert changed.json() == (await on_any.get(path)).json()
    assert (changed.json()["ttl"], changed.json()["metadata"]) == (7200, {"b": 3})
    assert changed.json()["expiresAt"] > before["expiresAt"]
    assert (await on_any.patch(path, json={"metadata": {}})).json()["metadata"] == {}
    assert (await on_any.patch(path, json={})).json() == (await on_any.get(path)).json()


async def test_a_running_turn_goes_on(on_any: httpx.AsyncClient) -> None:
    session_id = await session_of(on_any)
    path = f"/sessions/{session_id}"
    turn = asyncio.create_task(on_any.post(f"{path}/tasks", json=text("count to 10 every 50 ms")))
    while (await on_any.get(path)).json()["status"] != "busy":
        await asyncio.sleep(0.01)
    changed = (await on_any.patch(path, json={"ttl": "10s", "metadata": {"x": 1}})).json()
    assert changed["status"] == "busy"
    assert (await turn).json()["output"]["content"] == "1 2 3 4 5 6 7 8 9 10"
    after = (await on_any.get(path)).json()
    assert (after["turns"], after["ttl"], after["metadata"]) == (1, 10, {"x": 1})


async def test_a_new_ttl_is_kept_to_the_second() -> None:
    clock = ManualClock()
    async with serving(services_with(MemoryStore(clock), clock=clock)) as client:
        path = f"/sessions/{await session_of(client, ttl='1h')}"
        await client.patch(path, json={"ttl": "10s"})
        clock.advance(seconds=9)
        assert (await client.get(path)).status_code == 200
        clock.advance(seconds=1)
        assert_problem(await client.patch(path, json={"ttl": "1h"}), 404, "not_found", "sessionId")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"ttl": "9999d"}, 400, "ttl"),
        ({"ttl": 0}, 400, "ttl"),
        ({"metadata": []}, 400, "metadata"),
        ({"metadata": {"a": ["b\0c"]}}, 400, "metadata"),
        ({"metadata": {"x": "x" * 20_000}}, 413, "metadata"),
        ({"agentId": "assistant"}, 400, "agentId"),
    ],
)
async def test_a_bad_change_changes_nothing(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, field: str
) -> None:
    path = f"/sessions/{await session_of(client, metadata={'a': 1})}"
    before = (await client.get(path)).json()
    refused = await client.patch(path, json=body)
    assert_problem(refused, status, refused.json()["code"], field)
    assert (await client.get(path)).json() == before


async def test_the_conversation_is_read_in_pages_either_way(on_any: httpx.AsyncClient) -> None:
    session_id = await session_of(on_any)
    tasks = []
    for number in range(3):
        tasks.append((await on_any.post(f"/sessions/{session_id}/tasks", json=text(f"turn {number}"))).json())
    failed = (await on_any.post(f"/sessions/{session_id}/tasks", json=text("fail please"))).json()
    whole = await all_messages(on_any, session_id, 100)
    assert [message["role"] for message in whole] == ["user", "assistant"] * 3 + ["user"]
    for number, task in enumerate(tasks):
        asked, answered = whole[2 * number : 2 * number + 2]
        assert asked["taskId"] == answered["taskId"] == task["taskId"]
        assert asked["parts"] == [{"type": "text", "text": f"turn {number}"}]
        assert answered["parts"][0]["text"] == task["output"]["content"]
        assert asked["createdAt"] == task["createdAt"] <= answered["createdAt"] == task["status"]["timestamp"]
    assert whole[-1]["taskId"] == failed["taskId"]
    assert len({message["messageId"] for message in whole}) == 7
    for limit in (1, 2, 3):
        assert await all_messages(on_any, session_id, limit) == whole
        assert await all_messages(on_any, session_id, limit, "desc") == whole[::-1]


async def test_what_is_being_answered_is_part_of_it_and_what_never_began_is_not(on_any: httpx.AsyncClient) -> None:
    session_id = await session_of(on_any)
    running = asyncio.create_task(on_any.post(f"/sessions/{session_id}/tasks", json=text("be silent for 60 seconds")))
    while not (task_id := (await on_any.get(f"/sessions/{session_id}")).json().get("openTaskId")):
        await asyncio.sleep(0.01)
    assert (await on_any.post(f"/sessions/{session_id}/tasks", json=HELLO)).status_code == 409
    (only,) = await all_messages(on_any, session_id, 10)
    assert (only["role"], only["taskId"]) == ("user", task_id)
    states = {}
    for state in ("working", "completed"):
        params = {"sessionId": session_id, "state": state}
        states[state] = [task["taskId"] for task in (await on_any.get("/tasks", params=params)).json()["items"]]
    assert states == {"working": [task_id], "completed": []}
    await on_any.post(f"/tasks/{task_id}/cancel")
    await running


async def test_bad_queries_are_named(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    other = (await client.post(f"/sessions/{await session_of(client)}/tasks", json=HELLO)).json()["taskId"]
    path = f"/sessions/{session_id}/messages"
    for cursor in ("", "x", "x.user", f"{other}.user", f"{session_id}-{'0' * 19}", f"{session_id}-{'0' * 19}.nobody"):
        assert_problem(await client.get(path, params={"cursor": cursor}), 400, "invalid_request", "cursor")
    assert_problem(await client.get(path, params={"order": "up"}), 400, "invalid_request", "order", "asc or desc")
    params = {"sessionId": session_id, "state": "done"}
    assert_problem(await client.get("/tasks", params=params), 400, "invalid_request", "state", "submitted, working")
    assert_problem(await client.get("/sessions/unknown/messages"), 404, "not_found", "sessionId")
