"""Turns that more than one process has to do with: cut by a deadline, lost with their worker, delivered again."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hector.emulator import Emulator
from hector.emulator.template import load
from tests.agents.wires import WIRES, model_server
from tests.lambda_ import built
from tests.lambda_.test_work_on_lambda import SPEED, ended, post, runs, worker_of
from tests.support import Frame, frames, wait_until

CONFIG = """
llms:
  builtin: {{type: builtin}}
  model: {{type: openai, base_url: "{url}/v1", model: m, api_key: key}}
agents:
  counter: {{llm: builtin, turns: {{on_deadline: hand_over}}}}
  my_agent: {{llm: model}}
"""
SECONDS = 8.0  # of stream_response: a turn is cut three seconds before they are over

pytestmark = pytest.mark.timeout(180)

Running = tuple[Emulator, httpx.AsyncClient]
Deploy = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def deploy(built_template: Path, dynamodb_local: str, tmp_path: Path) -> Deploy:
    """The built functions, with a hector.yaml and a table of their own."""

    @asynccontextmanager
    async def start(url: str = "http://127.0.0.1:9", speed: float = 1) -> AsyncIterator[Running]:
        (tmp_path / "hector.yaml").write_text(CONFIG.format(url=url))
        stack = load(built_template, built.PARAMETERS, {"Table": f"hand-over-{uuid.uuid4().hex[:8]}"})
        functions = tuple(
            replace(
                function,
                layers=(*function.layers, tmp_path),
                timeout=SECONDS if function.name == "StreamResponse" else function.timeout,
            )
            for function in stack.functions
        )
        async with (
            Emulator(stack=replace(stack, functions=functions), dynamodb=dynamodb_local, speed=speed) as aws,
            httpx.AsyncClient(base_url=aws.url, timeout=60) as http,
        ):
            yield aws, http

    return start


async def test_a_turn_that_a_deadline_cuts_goes_on_by_the_queue_and_its_client_has_all_of_it(deploy: Deploy) -> None:
    async with deploy() as (aws, http):
        session = (await http.post("/sessions", json={"agentId": "counter"})).json()["sessionId"]
        ask = {"input": {"content": "count to 50 every 200 ms"}}
        heard = frames((await http.post(f"/sessions/{session}/tasks/stream", json=ask)).text)
        assert heard[-1].data["status"]["state"] == "submitted", "it is not over: the client resumes"
        task = {"taskId": heard[0].data["task_id"]}
        while not _over(heard[-1]):  # a follower's function ends in time, too
            cursor = {"Last-Event-ID": str(heard[-1].id)}
            heard += frames((await http.get(f"/tasks/{task['taskId']}/stream", headers=cursor)).text)
        assert heard[-1].data["status"]["state"] == "completed"
        assert [frame.id for frame in heard] == list(range(1, len(heard) + 1)), "none twice, and none is missing"
        said = [frame.data["message"]["parts"][0]["text"] for frame in heard if frame.event == "message"]
        assert "".join(said) == " ".join(map(str, range(1, 51)))
        worked = runs(aws, task)[0]
        streamed = next(call for call in aws.invocations if call.function == "StreamResponse")
        assert worked.pid != streamed.pid
        assert streamed.failure is None


def _over(frame: Frame) -> bool:
    return frame.event == "status" and frame.data["status"]["state"] not in {"submitted", "working"}


async def test_a_worker_that_dies_before_its_first_event_is_replaced(deploy: Deploy) -> None:
    wire, calls = WIRES["openai"], list[Request]()

    async def answer(request: Request) -> Response:
        calls.append(request)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return StreamingResponse(iter([*wire.pieces("Hello"), *wire.end()]), media_type=wire.media_type)

    async with model_server(wire, answer) as url, deploy(url, speed=SPEED) as (aws, http):
        task = await post(http, "hello")
        await wait_until(lambda: len(calls) == 1, 60)
        worker_of(aws, task).kill()
        done = await ended(http, task)
        assert (done["status"]["state"], done["output"]["content"]) == ("completed", "Hello")
        assert len({call.pid for call in runs(aws, task)}) > 1


async def test_a_record_that_is_delivered_three_times_is_one_call_of_the_model(deploy: Deploy) -> None:
    wire, calls, goes_on = WIRES["openai"], list[str](), asyncio.Event()

    async def answer(request: Request) -> Response:
        calls.append((await request.json())["messages"][-1]["content"])

        async def pieces() -> AsyncIterator[bytes]:
            await goes_on.wait()
            for piece in (*wire.pieces("Hello"), *wire.end()):
                yield piece

        return StreamingResponse(pieces(), media_type=wire.media_type)

    async with model_server(wire, answer) as url, deploy(url) as (aws, http):
        tasks = [await post(http, text) for text in ("one", "two")]
        await wait_until(lambda: len(calls) == 2, 60)
        for task in tasks:
            event = runs(aws, task)[0].event
            for _ in range(2):  # while the first is at work
                again = await aws.invoke("HandleEvent", event)
                assert json.loads(await again.read()) == {"batchItemFailures": []}
        queue = aws.queues["WorkQueue"]
        await wait_until(lambda: queue.counts()["ApproximateNumberOfMessagesDelayed"] == 4)
        goes_on.set()
        for task in tasks:
            done = await ended(http, task)
            assert (done["status"]["state"], done["output"]["content"]) == ("completed", "Hello")
        for message in queue.messages:  # each was to look again later
            queue.hide(message, 0)
        await wait_until(lambda: not queue.messages, 30)
        assert sorted(calls) == ["one", "two"]
        assert all(len(runs(aws, task)) >= 5 for task in tasks)
