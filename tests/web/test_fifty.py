"""Fifty posts at once to one session over HTTP, under each policy: what the conversation is like afterwards."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from tests.web.test_api import session_of
from tests.web.test_busy import says
from tests.web.test_sessions import all_messages

LIMIT = 40


async def said_in(client: httpx.AsyncClient, session_id: str) -> list[str]:
    return [message["parts"][0]["text"] for message in await all_messages(client, session_id, LIMIT)]


def called(answer: httpx.Response) -> str:
    """The name that the builtin agent was told, by its answer."""
    return str(answer.json()["output"]["content"]).removeprefix("Your name is ").removesuffix(".")


@pytest.mark.parametrize("policy", ["reject", "enqueue", "interrupt"])
async def test_the_conversation_is_whole_and_the_same_for_everybody(on_any: httpx.AsyncClient, policy: str) -> None:
    session_id = await session_of(on_any)

    async def post(number: int) -> tuple[int, int]:
        answer = await on_any.post(f"/sessions/{session_id}/tasks", json=says(f"My name is N{number}", policy))
        assert answer.status_code in (200, 409), answer.text
        return number, answer.status_code

    answers = await asyncio.gather(*(post(number) for number in range(50)))
    accepted = [number for number, status in answers if status == 200]
    assert len(accepted) >= {"reject": 1, "enqueue": 11, "interrupt": 50}[policy]
    texts = await said_in(on_any, session_id)
    users = [text for text in texts if text.startswith("My name is N")]
    assert sorted(users) == sorted(f"My name is N{number}" for number in accepted), "none lost, none twice"
    exported = [json.loads(line) for line in (await on_any.get(f"/sessions/{session_id}/export")).text.splitlines()]
    assert [turn["input"]["parts"][0]["text"] for turn in exported if turn["type"] == "turn"] == users
    fork = (await on_any.post(f"/sessions/{session_id}/fork", json={})).json()["sessionId"]
    assert await said_in(on_any, fork) == texts
    for same in (session_id, fork):
        answer = await on_any.post(f"/sessions/{same}/tasks", json=says("What is my name?"))
        assert called(answer) == users[-1].removeprefix("My name is ")
