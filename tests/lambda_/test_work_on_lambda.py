"""Work that nobody waits for, through the built functions: the queue and its worker, the sweep, the table's stream."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hector.emulator import Emulator, Limits
from hector.emulator.tables import client as dynamodb_client
from tests.lambda_ import built

SPEED = 20  # the sweep comes every three seconds

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def aws(built_template: Path, dynamodb_local: str) -> AsyncIterator[Emulator]:
    table = f"work-{uuid.uuid4().hex[:8]}"
    emulator = Emulator.from_template(
        built_template,
        parameters=built.PARAMETERS,
        resources={"Table": table},
        dynamodb=dynamodb_local,
        speed=SPEED,
        limits=Limits(recursion=2),
    )
    async with emulator:
        yield emulator


@pytest.fixture
async def http(aws: Emulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=aws.url, timeout=60) as client:
        yield client


async def post(http: httpx.AsyncClient, text: str) -> dict[str, Any]:
    """A task in a session of its own, which the worker is to run."""
    session = (await http.post("/sessions", json={"agentId": "my_agent"})).json()["sessionId"]
    ask = {"input": {"type": "text/plain", "content": text}}
    answer = await http.post(f"/sessions/{session}/tasks", json=ask, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    task: dict[str, Any] = answer.json()
    return task


async def ended(http: httpx.AsyncClient, task: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        while True:
            found: dict[str, Any] = (await http.get(f"/tasks/{task['taskId']}")).json()
            if found["status"]["state"] not in {"submitted", "working"}:
                return found
            await asyncio.sleep(0.2)


def runs(aws: Emulator, task: dict[str, Any]) -> list[Any]:
    """The worker's invocations for this task."""
    mine = task["taskId"].encode()
    return [call for call in aws.invocations if call.function == "HandleEvent" and mine in call.event]


async def test_a_task_that_nobody_waits_for_runs_on_the_worker(aws: Emulator, http: httpx.AsyncClient) -> None:
    task = await post(http, "My name is Alice")
    done = await ended(http, task)
    assert done["status"]["state"] == "completed"
    assert "Alice" in done["output"]["content"]
    (record,) = json.loads(runs(aws, task)[0].event)["Records"]
    assert record["eventSourceARN"].endswith(":WorkQueue")
    for _ in range(2):  # a queue may deliver a message again
        again = await aws.invoke("HandleEvent", runs(aws, task)[0].event)
        await again.read()
        assert again.failure is None
    assert await ended(http, task) == done, "nothing ran again"


async def test_a_task_waits_in_line_for_longer_than_lambda_lets_others_loop(
    aws: Emulator, http: httpx.AsyncClient
) -> None:
    first = await post(http, "count to 60 every 100 ms")
    ask = {"input": {"type": "text/plain", "content": "My name is Alice"}, "turnPolicy": "enqueue"}
    path = f"/sessions/{first['sessionId']}/tasks"
    second = (await http.post(path, json=ask, headers={"Prefer": "respond-async"})).json()
    assert (await ended(http, second))["status"]["state"] == "completed"
    assert (await ended(http, first))["status"]["state"] == "completed"
    assert len(runs(aws, second)) > 3
    assert aws.queues["DeadLetters"].messages == []


def worker_of(aws: Emulator, task: dict[str, Any]) -> Any:
    """The process that runs the task."""
    return next(one for one in aws.instances("HandleEvent") if one.pid == runs(aws, task)[0].pid)


async def test_a_worker_that_dies_in_mid_answer_fails_its_task(aws: Emulator, http: httpx.AsyncClient) -> None:
    task = await post(http, "count to 500 every 100 ms")
    received = ""
    async with http.stream("GET", f"/tasks/{task['taskId']}/stream") as answer:
        async for text in answer.aiter_text():
            if "id: 3" in text and "id: 3" not in received:
                worker_of(aws, task).kill()
            received += text
    assert '"code":"worker_lost"' in received.split("event: status")[-1]
    assert (await ended(http, task))["status"]["error"]["code"] == "worker_lost"


async def test_what_an_expired_session_leaves_behind_is_cleared(
    aws: Emulator, http: httpx.AsyncClient, dynamodb_local: str
) -> None:
    task = await post(http, "My name is Alice")
    await ended(http, task)
    (table,) = aws.stack.tables
    dynamodb = dynamodb_client(dynamodb_local)

    def left() -> list[str]:
        found = dynamodb.query(
            TableName=table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": task["sessionId"]}},
        )
        return [item["sk"]["S"] for item in found["Items"]]

    before = await asyncio.to_thread(left)
    assert "hot" in before
    assert len(before) > 2
    assert not [call for call in aws.invocations if call.function == "TableStream"], "renewed leases wake nobody"
    hot = {"pk": {"S": task["sessionId"]}, "sk": {"S": "hot"}}
    await asyncio.to_thread(lambda: dynamodb.delete_item(TableName=table, Key=hot))  # as its TTL does
    async with asyncio.timeout(30):
        while await asyncio.to_thread(left):
            await asyncio.sleep(0.2)
    dynamodb.close()
