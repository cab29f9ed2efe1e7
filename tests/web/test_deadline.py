"""A function whose time is nearly over: streams end cleanly, and the turn fails clearly, or goes on elsewhere."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from hector.cli.inprocess import InProcess
from hector.services import Services
from hector.stores.memory import MemoryStore
from hector.web.apps import starlette_app, stream_app, task_app
from hector.web.context import answer_seconds, seconds_left
from hector.web.streams import STREAM_ROUTES
from hector.web.tasks import TASK_ROUTES
from tests.service.test_worker import Queue, work
from tests.support import ALICE, frames, new_session, services_with, slow_to_close

SLOW = {"input": {"content": "count to 100 every 50 ms"}}


class Context:
    """Lambda's, of a function with few seconds left."""

    def __init__(self, milliseconds: int) -> None:
        self._left = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._left


def on_lambda(app: ASGIApp, milliseconds: int) -> ASGIApp:
    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope["aws.context"] = Context(milliseconds)
        scope["aws.event"] = {"requestContext": {"authorizer": {"principalId": ALICE.subject}}}
        await app(scope, receive, send)

    return call


@asynccontextmanager
async def calling(app: ASGIApp, milliseconds: int = 3_800) -> AsyncIterator[httpx.AsyncClient]:
    transport = InProcess(on_lambda(app, milliseconds))
    async with httpx.AsyncClient(transport=transport, base_url="http://function", timeout=20) as client:
        yield client


def handing_over(queue: Queue, **options: Any) -> Services:
    services = services_with(MemoryStore(), queue=queue, **options)
    agents = {id_: replace(agent, hands_over=True) for id_, agent in services.agents.items()}
    services.turns._agents = agents
    return replace(services, agents=agents)


async def test_a_turn_that_its_function_cannot_finish_fails_with_a_clear_code() -> None:
    services = services_with()
    session_id = await new_session(services)
    async with calling(stream_app(services)) as client:
        stream = frames((await client.post(f"/sessions/{session_id}/tasks/stream", json=SLOW)).text)
    assert stream[-1].data["status"]["state"] == "failed"
    assert stream[-1].data["status"]["error"]["code"] == "deadline"
    assert len(stream) > 3


async def test_a_stream_ends_cleanly_and_is_resumed_while_another_process_goes_on() -> None:
    queue = Queue()
    services = handing_over(queue)
    session_id = await new_session(services)
    async with calling(stream_app(services)) as client:
        first = frames((await client.post(f"/sessions/{session_id}/tasks/stream", json=SLOW)).text)
    assert first[-1].data["status"]["state"] == "submitted", "no terminal event: the client knows that it has to resume"
    assert first[-1].data["status"]["message"]
    task_id = first[0].data["task_id"]
    await work(services, queue.take(), seconds_left=60)
    async with calling(stream_app(services)) as client:
        path = f"/tasks/{task_id}/stream"
        rest = frames((await client.get(path, headers={"Last-Event-ID": str(first[-1].id)})).text)
    assert [frame.id for frame in first + rest] == list(range(1, 103))
    assert rest[-1].data["status"]["state"] == "completed"


async def test_a_follower_that_its_function_cannot_serve_to_the_end_is_let_go() -> None:
    services = services_with()
    session_id = await new_session(services)
    async with calling(starlette_app(TASK_ROUTES, services), 600_000) as client:
        answer = await client.post(
            f"/sessions/{session_id}/tasks",
            json={"input": {"content": "be silent for 60 seconds"}},
            headers={"Prefer": "respond-async"},
        )
    task_id = answer.json()["taskId"]
    async with calling(starlette_app(STREAM_ROUTES, services), 3_500) as client:
        stream = await client.get(f"/tasks/{task_id}/stream")
    assert stream.status_code == 200
    assert [frame.data["status"]["state"] for frame in frames(stream.text)] == ["working"], "the agent's only note"
    await services.turns.cancel(ALICE, task_id)
    await services.turns.drain()


@pytest.mark.parametrize(
    ("milliseconds", "turn", "answer"), [(900_000, 897.0, 898.5), (3_000, 0.0, 1.5), (2_000, 0.0, 0.5), (500, 0.0, 0.0)]
)
def test_no_answer_outlasts_its_function(milliseconds: int, turn: float, answer: float) -> None:
    request = Request({"type": "http", "aws.context": Context(milliseconds)})
    assert (seconds_left(request), answer_seconds(request)) == (turn, answer)


@pytest.mark.parametrize("streams", [True, False])
async def test_an_answer_is_over_in_time_with_an_agent_that_is_slow_to_close(streams: bool) -> None:
    services = services_with(agent=slow_to_close)
    session_id = await new_session(services)
    app, path = (stream_app(services), "/stream") if streams else (task_app(services), "")
    began = time.monotonic()
    async with calling(app, 3_500) as client:
        assert (await client.post(f"/sessions/{session_id}/tasks{path}", json=SLOW)).status_code == 200
    await services.turns.drain()
    assert time.monotonic() - began < 3.5 - 0.5


async def test_one_body_says_how_far_the_task_is() -> None:
    queue = Queue()
    services = handing_over(queue, heartbeat=0.1)
    session_id = await new_session(services)
    async with calling(task_app(services)) as client:
        answer = await client.post(f"/sessions/{session_id}/tasks", json=SLOW)
    assert answer.json()["status"]["state"] == "submitted"
    assert queue.sent == [answer.json()["taskId"]]
