"""Many clients of one running task over HTTP: each gets the same bytes, whenever it joins."""

from __future__ import annotations

import asyncio
import re

import httpx

from tests.support import frames

FOLLOWERS = 50


def asking(text: str) -> dict[str, object]:
    return {"message": {"role": "user", "parts": [{"type": "text", "text": text}]}}


def told(stream: str) -> str:
    """The stream as it was told: without the comments, which come when it is quiet."""
    return re.sub(r"^:.*\n\n", "", stream, flags=re.MULTILINE)


async def whole(client: httpx.AsyncClient, address: str, after: int = 0) -> str:
    response = await client.get(address, params={"after": after})
    assert response.status_code == 200
    return told(response.text)


async def test_fifty_followers_of_a_running_task_get_equal_bytes(on_any: httpx.AsyncClient) -> None:
    async with on_any.stream("POST", "/agents/my_agent/message/stream", json=asking("count to 60 every 25 ms")) as own:
        address = own.headers["content-location"]
        following = [asyncio.create_task(whole(on_any, address)) for _ in range(FOLLOWERS - 1)]
        first = told((await own.aread()).decode())
    others = await asyncio.gather(*following)
    assert [frame.id for frame in frames(first)] == list(range(1, 62))
    assert set(others) == {first}
    assert await whole(on_any, address) == first, "and so is the replay"


async def test_who_joins_at_every_event_gets_the_rest_live_and_replayed(on_any: httpx.AsyncClient) -> None:
    joined: dict[int, asyncio.Task[str]] = {}
    anew: list[asyncio.Task[str]] = []
    received = ""
    async with on_any.stream("POST", "/agents/my_agent/message/stream", json=asking("count to 25 every 40 ms")) as own:
        address = own.headers["content-location"]
        async for text in own.aiter_text():
            received += text
            for seen in range(len(joined), received.count("\n\nid: ") + 1):
                joined[seen] = asyncio.create_task(whole(on_any, address, after=seen))
                anew.append(asyncio.create_task(whole(on_any, address)))
    told_frames = frames(received)
    assert [frame.id for frame in told_frames] == list(range(1, 27))
    for seen in range(26):
        rest = "".join(f"{frame.raw}\n\n" for frame in told_frames[seen:])
        assert await joined[seen] == rest, f"joined after {seen}, while the task was running"
        assert await whole(on_any, address, after=seen) == rest, f"replayed after {seen}"
    assert set(await asyncio.gather(*anew)) == {told(received)}
