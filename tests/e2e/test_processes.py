"""Several server processes on one store: resume elsewhere, cancel from elsewhere, survive a crash."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from hector.log_writer import LEASE
from hector.stores.dynamodb import DynamoDBStore
from tests.processes import HectorServer, hector_server
from tests.support import Frame, frames

Servers = tuple[HectorServer, HectorServer]


STORES = {
    "dynamodb": "processes_table_url", "sqlite": "sqlite_url", "postgresql": "postgresql_url",
    "redis": "redis_url", "redis-cluster": "redis_cluster_url",
}  # fmt: skip
"""Each store that processes can share, and the fixture that gives its HECTOR_STORE."""


@pytest.fixture(scope="module")
def processes_table_url(dynamodb_local: str) -> str:
    async def create() -> None:
        store = DynamoDBStore("processes", endpoint_url=dynamodb_local)
        await store.set_up()
        await store.aclose()

    asyncio.run(create())
    return f"dynamodb://processes?endpoint_url={dynamodb_local}"


@pytest.fixture(scope="module", params=STORES)
def store_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(STORES[request.param])
    return url


@pytest.fixture(scope="module")
def servers(store_url: str) -> Iterator[Servers]:
    with hector_server(HECTOR_STORE=store_url) as one, hector_server(HECTOR_STORE=store_url) as other:
        yield one, other


@pytest.fixture
async def here(servers: Servers) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=servers[0].url, timeout=40) as client:
        yield client


@pytest.fixture
async def elsewhere(servers: Servers) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=servers[1].url, timeout=40) as client:
        yield client


async def new_session(client: httpx.AsyncClient) -> str:
    session_id: str = (await client.post("/sessions", json={"agentId": "my_agent"})).json()["sessionId"]
    return session_id


def says(text: str) -> dict[str, dict[str, str]]:
    return {"input": {"type": "text/plain", "content": text}}


async def read_until(client: httpx.AsyncClient, path: str, body: object, count: int) -> str:
    """What came until `count` frames were whole; then the connection is cut."""
    received = ""
    async with client.stream("POST", path, json=body) as response:
        async for text in response.aiter_text():
            received += text
            if received.count("\n\nid: ") + received.startswith("id: ") >= count and received.endswith("\n\n"):
                break
    return received


async def test_a_conversation_goes_on_in_another_process(here: httpx.AsyncClient, elsewhere: httpx.AsyncClient) -> None:
    session_id = await new_session(here)
    await here.post(f"/sessions/{session_id}/tasks", json=says("My name is Alice"))
    answer = await elsewhere.post(f"/sessions/{session_id}/tasks", json=says("What is my name?"))
    assert answer.json()["output"]["content"] == "Your name is Alice."


async def test_cut_after_every_event_and_resumed_in_another_process(
    here: httpx.AsyncClient, elsewhere: httpx.AsyncClient
) -> None:
    session_id = await new_session(here)
    whole = await here.post(f"/sessions/{session_id}/tasks/stream", json=says("count to 25"))
    uncut = frames(whole.text)
    path = f"/tasks/{uncut[0].data['task_id']}/stream"
    assert [frame.id for frame in uncut] == list(range(1, 27))
    for cut in range(len(uncut)):
        resumed = await elsewhere.get(path, headers={"Last-Event-ID": str(cut)})
        assert raw(uncut[:cut] + frames(resumed.text)) == raw(uncut), f"cut after {cut}"


async def test_a_running_answer_is_cut_again_and_again_and_resumed_elsewhere(
    here: httpx.AsyncClient, elsewhere: httpx.AsyncClient
) -> None:
    session_id = await new_session(here)
    path = f"/sessions/{session_id}/tasks/stream"
    received = frames(await read_until(here, path, says("count to 30 every 50 ms"), 3))
    assert received[-1].id < 31, "the answer was still running when the connection was cut"
    stream = f"/tasks/{received[0].data['task_id']}/stream"
    while received[-1].event != "status":
        async with elsewhere.stream("GET", stream, headers={"Last-Event-ID": str(received[-1].id)}) as response:
            async for text in response.aiter_text():
                new = frames(text)
                received += new
                if new:
                    break
    uncut = frames((await here.get(stream)).text)
    assert raw(received) == raw(uncut)


async def test_a_cancel_from_another_process_stops_a_silent_model_within_a_second(
    here: httpx.AsyncClient, elsewhere: httpx.AsyncClient
) -> None:
    session_id = await new_session(here)
    path = f"/sessions/{session_id}/tasks/stream"
    (first,) = frames(await read_until(here, path, says("be silent for 60 seconds"), 1))
    started = time.monotonic()
    canceled = await elsewhere.post(f"/tasks/{first.data['task_id']}/cancel")
    assert canceled.json()["status"]["state"] == "canceled"
    assert time.monotonic() - started < 1.5  # the promise is a second; the rest is for a busy test machine
    answer = await elsewhere.post(f"/sessions/{session_id}/tasks", json=says("My name is Bob"))
    assert answer.json()["status"]["state"] == "completed"


async def test_when_the_producing_process_is_killed_followers_get_one_end_and_the_session_goes_on(
    elsewhere: httpx.AsyncClient, store_url: str
) -> None:
    with hector_server(HECTOR_STORE=store_url) as doomed:
        async with httpx.AsyncClient(base_url=doomed.url, timeout=40) as client:
            session_id = await new_session(client)
            path = f"/sessions/{session_id}/tasks/stream"
            received = frames(await read_until(client, path, says("count to 1000 every 20 ms"), 10))
        stream = f"/tasks/{received[0].data['task_id']}/stream"
        following = asyncio.create_task(elsewhere.get(stream))
        await asyncio.sleep(1)
        doomed.kill()
        killed = time.monotonic()
        followed = frames((await following).text)
        assert time.monotonic() - killed < LEASE / 1000 + 3
    assert [frame.event for frame in followed].count("status") == 1
    assert followed[-1].data["status"]["error"]["code"] == "worker_lost"
    assert [frame.id for frame in followed] == list(range(1, len(followed) + 1))
    assert raw(followed[: len(received)]) == raw(received)
    answer = await elsewhere.post(f"/sessions/{session_id}/tasks", json=says("My name is Carol"))
    assert answer.json()["status"]["state"] == "completed"


def raw(found: list[Frame]) -> str:
    return "\n\n".join(frame.raw for frame in found)
