"""The main job on a real language model: SmolLM2, served by llama.cpp, behind the real `hector serve`.

`make model` sets the model up. It is tiny (135 million parameters), so the prompts are ones that it can follow.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from hector.agents.openai import OpenAIAgent
from hector.config.settings import Settings
from hector.wiring import build
from tests.engines import need
from tests.processes import HectorServer, hector_server
from tests.support import ALICE, Frame, ask, frames

ROOT = Path(__file__).parents[2]
CONFIG = (
    (ROOT / "examples/real-model/hector.yaml").read_text().replace("max_tokens: 400", "max_tokens: 150")
    + """
  summarising: {llm: local, prompt: {system: Answer briefly.}, memory: {strategy: summary, messages: 4}}
"""
)
STORY = "Write a long story about a dragon who learns to sing."
ASK = "Repeat: what is the name that I told you?"
START_SECONDS = 60


@pytest.fixture(scope="module")
def model_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A llama.cpp server on a free port."""
    need((ROOT / ".tools/model/.ready").exists(), "the language model is not set up: make model")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("model") / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen([ROOT / "scripts/model_server.sh", str(port)], stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}/v1"
        gives_up_at = time.monotonic() + START_SECONDS
        while not answers(f"{url}/models"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < gives_up_at, log.read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def server(model_url: str) -> Iterator[HectorServer]:
    with hector_server(CONFIG, MODEL_URL=model_url) as server:
        yield server


@pytest.fixture
async def client(server: HectorServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        yield client


async def new_session(client: httpx.AsyncClient, agent: str) -> str:
    answer = await client.post("/sessions", json={"agentId": agent})
    assert answer.status_code == 201, answer.text
    session_id: str = answer.json()["sessionId"]
    return session_id


def saying(text: str) -> dict[str, dict[str, str]]:
    return {"input": {"type": "text/plain", "content": text}}


async def say(client: httpx.AsyncClient, session_id: str, text: str) -> str:
    task = (await client.post(f"/sessions/{session_id}/tasks", json=saying(text))).json()
    assert task["status"]["state"] == "completed", task
    content: str = task["output"]["content"]
    return content


async def follow(
    client: httpx.AsyncClient,
    path: str,
    text: str | None = None,
    *,
    after: int | None = None,
    cut_at: int | None = None,
) -> list[tuple[float, Frame]]:
    """The frames of a stream, each with the moment of its arrival; `cut_at` cuts the connection after that event."""
    arrived: list[tuple[float, Frame]] = []
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    body = saying(text) if text else None
    buffer = ""
    async with client.stream("POST" if text else "GET", path, headers=headers, json=body) as response:
        assert response.status_code == 200, await response.aread()
        async for piece in response.aiter_text():
            whole, _, buffer = (buffer + piece).rpartition("\n\n")
            arrived += [(time.monotonic(), frame) for frame in frames(whole)]
            if cut_at is not None and arrived and arrived[-1][1].id >= cut_at:
                break
    return [(at, frame) for at, frame in arrived if cut_at is None or frame.id <= cut_at]


def told(arrived: list[tuple[float, Frame]]) -> str:
    return "".join(frame.data["message"]["parts"][0]["text"] for _, frame in arrived if frame.event == "message")


def last_state(arrived: list[tuple[float, Frame]]) -> str:
    state: str = arrived[-1][1].data["status"]["state"]
    return state


async def test_it_remembers_what_was_said_in_the_session_and_only_there(client: httpx.AsyncClient) -> None:
    alice, bob, stranger = [await new_session(client, "my_agent") for _ in range(3)]
    await say(client, alice, "My name is Alice. Please repeat my name.")
    await say(client, bob, "My name is Bob. Please repeat my name.")
    for session_id, name in ((alice, "Alice"), (bob, "Bob")):
        answer = await say(client, session_id, ASK)
        assert name in answer
    answer = await say(client, stranger, ASK)
    assert "Alice" not in answer
    assert "Bob" not in answer


async def test_an_answer_streams_token_by_token(client: httpx.AsyncClient) -> None:
    session_id = await new_session(client, "storyteller")
    began = time.monotonic()
    arrived = await follow(client, f"/sessions/{session_id}/tasks/stream", STORY)
    tokens = [at for at, frame in arrived if frame.event == "message"]
    assert len(tokens) > 50
    assert last_state(arrived) == "completed"
    assert tokens[0] - began < (tokens[-1] - began) / 2, "the first token did not wait for the last"
    gaps = [later - earlier for earlier, later in pairwise(tokens)]
    assert sum(gap > 0.0005 for gap in gaps) > len(gaps) / 2, "the tokens came one after another, as they were made"


async def test_a_cut_stream_is_resumed_without_loss(client: httpx.AsyncClient) -> None:
    session_id = await new_session(client, "storyteller")
    first = await follow(client, f"/sessions/{session_id}/tasks/stream", STORY, cut_at=12)
    task_id = first[0][1].data["task_id"]
    second = await follow(client, f"/tasks/{task_id}/stream", after=12, cut_at=30)
    third = await follow(client, f"/tasks/{task_id}/stream", after=30)
    joined = [*first, *second, *third]
    assert [frame.id for _, frame in joined] == list(range(1, len(joined) + 1))
    assert last_state(joined) == "completed"
    replayed = await follow(client, f"/tasks/{task_id}/stream", after=0)
    assert [frame.raw for _, frame in replayed] == [frame.raw for _, frame in joined]
    task = (await client.get(f"/tasks/{task_id}")).json()
    assert task["output"]["content"] == told(joined)


async def test_a_canceled_answer_stops_and_the_session_goes_on(client: httpx.AsyncClient) -> None:
    session_id = await new_session(client, "storyteller")
    started = await follow(client, f"/sessions/{session_id}/tasks/stream", STORY, cut_at=10)
    task_id = started[0][1].data["task_id"]
    canceled_at = time.monotonic()
    task = (await client.post(f"/tasks/{task_id}/cancel")).json()
    assert time.monotonic() - canceled_at < 1.5  # the promise is a second; the rest is for a busy test machine
    assert task["status"]["state"] == "canceled"
    rest = await follow(client, f"/tasks/{task_id}/stream", after=10)
    assert last_state(rest) == "canceled"
    assert task["output"]["content"] == told([*started, *rest])
    assert await say(client, session_id, "Thank you. Please say hello.")


async def test_a_budget_of_tokens_is_kept_as_the_models_own_tokenizer_counts(model_url: str) -> None:
    """The prompt is put together here as this model's template does, and counted by its server."""
    llm = {"type": "openai", "base_url": model_url, "model": "smollm2", "temperature": 0, "max_tokens": 60}
    agent = {"llm": "local", "prompt": {"system": "Answer briefly."}, "memory": {"strategy": "tokens", "tokens": 300}}
    services = build(Settings.model_validate({"llms": {"local": llm}, "agents": {"my_agent": agent}}))
    prompts: list[str] = []

    async def note(request: httpx.Request) -> None:
        if request.url.path.endswith("/chat/completions"):
            shown = json.loads(request.content)["messages"]
            prompts.append("".join(f"<|im_start|>{one['role']}\n{one['content']}<|im_end|>\n" for one in shown))

    model = services.agents["my_agent"].agent
    assert isinstance(model, OpenAIAgent)
    model._client.event_hooks["request"].append(note)
    session_id = (await services.turns.create_session(ALICE, "my_agent")).id
    for number in range(8):
        task = await ask(services, session_id, f"Tell me one sentence about the number {number}.")
        assert task.error is None
    await services.aclose()
    async with httpx.AsyncClient(base_url=model_url.removesuffix("/v1")) as client:
        answers = [await client.post("/extras/tokenize/count", json={"input": prompt}) for prompt in prompts]
    counts = [answer.json()["count"] for answer in answers]
    assert max(counts) <= 300
    assert counts[-1] > 200, "it is made use of"
    assert "number 0" not in prompts[-1]


async def test_a_conversation_goes_on_beyond_its_window_with_a_summary(client: httpx.AsyncClient) -> None:
    session_id = await new_session(client, "summarising")
    path = f"/sessions/{session_id}/tasks/stream"
    notes = []
    for text in ("My name is Alice.", "I live in Rome.", "I like trains.", "I have a cat.", "Say hello.", "Goodbye."):
        arrived = await follow(client, path, text)
        assert last_state(arrived) == "completed"
        notes.append([frame.data["status"].get("message") for _, frame in arrived if frame.event == "status"][:-1])
    assert [bool(said) for said in notes] == [False, False, False, True, False, True], notes
    assert "Summarising the earlier conversation" in str(notes[3])
