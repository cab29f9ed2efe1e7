"""The page's conversation on every backend, with the server killed and started again between the two messages."""

from __future__ import annotations

import httpx
import pytest

from tests.backends import OUTLIVING, FreshURL
from tests.cli.driving import hector
from tests.e2e.test_processes import says
from tests.processes import hector_server


async def say(url: str, session_id: str, text: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, timeout=40) as client:
        return await client.post(f"/sessions/{session_id}/tasks", json=says(text))


async def new_session(url: str) -> str:
    async with httpx.AsyncClient(base_url=url, timeout=40) as client:
        session_id: str = (await client.post("/sessions", json={"agentId": "support_agent"})).json()["sessionId"]
        return session_id


@pytest.mark.parametrize("backend", OUTLIVING)
async def test_the_agent_remembers_alice_after_a_kill(backend: str, fresh_store_url: FreshURL) -> None:
    store = fresh_store_url(backend)
    assert hector("store", "init", store).returncode == 0
    with hector_server(HECTOR_STORE=store) as server:
        session_id = await new_session(server.url)
        assert (await say(server.url, session_id, "My name is Alice")).status_code == 200
        server.kill()
    with hector_server(HECTOR_STORE=store) as server:
        answer = await say(server.url, session_id, "What is my name?")
        assert answer.json()["output"]["content"] == "Your name is Alice."


async def test_in_memory_the_session_is_gone_with_the_server_and_the_answer_says_so() -> None:
    with hector_server() as server:
        assert "memory" in server.greeting
        session_id = await new_session(server.url)
        assert (await say(server.url, session_id, "My name is Alice")).status_code == 200
        server.kill()
    with hector_server() as server:
        answer = await say(server.url, session_id, "What is my name?")
        assert answer.status_code == 404
        assert "it may have ended or expired" in answer.json()["detail"]
