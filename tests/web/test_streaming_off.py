"""enable_streaming: false: the answer comes in one piece, on every route."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from hector.config.settings import DEFAULTS
from tests.support import frames, services_with, serving
from tests.web.test_api import MESSAGE, session_of

SAY = {"input": {"type": "text/plain", "content": "count to 5"}}
MESSAGE_5 = {"message": {**MESSAGE["message"], "parts": [{"type": "text", "text": "count to 5"}]}}


def agents(common: bool, own: bool | None) -> dict[str, Any]:
    agent = dict(DEFAULTS["agents"]["my_agent"]) | ({} if own is None else {"reasoning": {"enable_streaming": own}})
    return {"agents": {"my_agent": agent}, "reasoning": {"enable_streaming": common}}


async def streams(client: httpx.AsyncClient) -> list[str]:
    session_id = await session_of(client)
    turn = (await client.post(f"/sessions/{session_id}/tasks/stream", json=SAY)).text
    named = (await client.post("/agents/my_agent/message/stream", json=MESSAGE_5)).text
    replayed = [
        (await client.get(f"/tasks/{frames(stream)[0].data['task_id']}/stream")).text for stream in (turn, named)
    ]
    assert replayed == [turn, named]
    return [turn, named, *replayed]


@pytest.mark.parametrize(
    ("common", "own", "pieces"), [(True, None, 5), (False, None, 1), (True, False, 1), (False, True, 5)]
)
async def test_the_agents_own_setting_comes_first(common: bool, own: bool | None, pieces: int) -> None:
    async with serving(services_with(**agents(common, own))) as client:
        for stream in await streams(client):
            *messages, last = frames(stream)
            assert len(messages) == pieces
            assert "".join(frame.data["message"]["parts"][0]["text"] for frame in messages) == "1 2 3 4 5"
            assert (last.id, last.data["status"]["state"]) == (pieces + 1, "completed")
        session_id = await session_of(client)
        for answer in (
            await client.post(f"/sessions/{session_id}/tasks", json=SAY),
            await client.post("/agents/my_agent/message/send", json=MESSAGE_5),
        ):
            assert answer.json()["output"]["content"] == "1 2 3 4 5"
        assert (await client.get("/agents/my_agent")).json()["capabilities"] == {"streaming": pieces > 1}
