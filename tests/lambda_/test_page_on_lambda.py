"""The product page's conversation, word for word, against the built functions and DynamoDB."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hector.emulator import Emulator
from hector.stores.dynamodb import DynamoDBStore
from hector.stores.dynamodb.schema import DEFINITION
from tests.engines import need
from tests.lambda_ import built
from tests.lambda_.stack import made
from tests.support import wait_until


@pytest.fixture
async def aws(built_template: Path, dynamodb_local: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    """The deployed product: every request may meet another process, and they share nothing but the table."""
    table = f"hector-{uuid.uuid4().hex[:8]}"
    # DynamoDB Local keeps the tables of each key apart.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "emulator")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "emulator")
    store = DynamoDBStore(table, region="us-east-1", endpoint_url=dynamodb_local)
    await store.set_up()
    await store.aclose()
    emulator = Emulator.from_template(
        built_template,
        parameters=built.PARAMETERS,
        resources={"Table": table},
        environment={"AWS_ENDPOINT_URL_DYNAMODB": dynamodb_local, "HECTOR_QUEUE": ""},
    )
    async with emulator:
        yield emulator


async def curl(*arguments: str) -> str:
    """The real curl, as the page prints it."""
    path = need(shutil.which("curl"), "curl is not here")
    process = await asyncio.create_subprocess_exec(path, "-sS", *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


def frames(stream: str) -> list[tuple[str, dict[str, Any]]]:
    """(event, data) of every frame; comments are left out."""
    found = []
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_the_template_makes_the_table_that_the_store_expects() -> None:
    table = made()["Table"]["Properties"]
    assert {name: table[name] for name in DEFINITION} == DEFINITION


async def test_a_session_remembers(aws: Emulator) -> None:
    created = json.loads(await curl("-X", "POST", f"{aws.url}/sessions", "-d", '{"agentId": "support_agent"}'))
    tasks = f"{aws.url}/sessions/{created['sessionId']}/tasks"
    await curl("-X", "POST", tasks, "-d", '{"input":{"type":"text/plain","content":"My name is Alice"}}')
    answer = await curl("-X", "POST", tasks, "-d", '{"input":{"type":"text/plain","content":"What is my name?"}}')
    assert "Your name is Alice" in answer
    assert {call.function for call in aws.invocations} == {"CreateSession", "PostTask"}


async def test_an_answer_streams_token_by_token(aws: Emulator) -> None:
    body = '{"message":{"role":"user","parts":[{"type":"text","text":"Explain quantum computing"}]}}'
    headers = ("-H", "Accept: text/event-stream", "-H", "Content-Type: application/json")
    output = frames(await curl("-N", *headers, "-d", body, f"{aws.url}/agents/my_agent/message/stream"))
    names = [name for name, _ in output]
    assert names[-1] == "status"
    assert set(names[:-1]) == {"message"}
    assert len(names) > 5
    for _, data in output[:-1]:
        assert data["message"]["role"] == "assistant"
        assert data["message"]["parts"][0]["type"] == "text"
    assert output[-1][1]["status"] == {"state": "completed"}
    text = "".join(data["message"]["parts"][0]["text"] for _, data in output[:-1])
    assert "quantum computing" in text.lower()


async def test_tokens_leave_while_the_answer_is_made(aws: Emulator) -> None:
    body = {"message": {"role": "user", "parts": [{"type": "text", "text": "count to 8 every 100 ms"}]}}
    arrivals = []
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("POST", f"{aws.url}/agents/my_agent/message/stream", json=body) as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("event: message"):
                arrivals.append(time.monotonic())
    assert len(arrivals) == 8
    assert arrivals[-1] - arrivals[0] > 0.6, "all at once is not streaming"


async def test_a_turn_goes_on_after_its_client_has_gone_and_can_be_read_later(aws: Emulator) -> None:
    body = {"message": {"role": "user", "parts": [{"type": "text", "text": "count to 10 every 100 ms"}]}}
    async with httpx.AsyncClient(timeout=30) as client:
        async with client.stream("POST", f"{aws.url}/agents/my_agent/message/stream", json=body) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    task = json.loads(line.removeprefix("data:"))["task_id"]
                    break
        replay = frames((await client.get(f"{aws.url}/tasks/{task}/stream")).text)
    texts = [data["message"]["parts"][0]["text"] for name, data in replay if name == "message"]
    assert "".join(texts) == "1 2 3 4 5 6 7 8 9 10"
    assert replay[-1][1]["status"] == {"state": "completed"}


async def test_a_cut_stream_is_resumed_from_another_process_byte_for_byte(aws: Emulator) -> None:
    body = {"message": {"role": "user", "parts": [{"type": "text", "text": "count to 15 every 100 ms"}]}}
    async with httpx.AsyncClient(base_url=aws.url, timeout=30) as client:
        received = ""
        async with client.stream("POST", "/agents/my_agent/message/stream", json=body) as answer:
            async for text in answer.aiter_text():
                received += text
                if received.count("\n\nid: ") >= 4:
                    break
        seen = received[: received.rindex("\n\n") + 2]
        task = frames(seen)[0][1]["task_id"]
        last = seen.count("\nid: ")
        headers = {"Last-Event-ID": str(last)}
        rest = (await client.get(f"/tasks/{task}/stream", headers=headers)).text
        again = (await client.get(f"/tasks/{task}/stream")).text
    assert (seen + rest.removeprefix(": ok\n\n")) == again
    assert frames(again)[-1][1]["status"] == {"state": "completed"}
    producing, resuming = aws.invocations[:2]
    assert producing.pid != resuming.pid, "the first process was still at work"
    assert {call.function for call in aws.invocations} == {"StreamResponse"}


async def test_followers_of_a_killed_process_get_their_terminal_event(aws: Emulator) -> None:
    body = {"message": {"role": "user", "parts": [{"type": "text", "text": "count to 500 every 100 ms"}]}}
    async with httpx.AsyncClient(base_url=aws.url, timeout=60) as client:
        producing = asyncio.create_task(client.post("/agents/my_agent/message/stream", json=body))
        await wait_until(lambda: bool(aws.invocations) and b"id: 3" in aws.invocations[0].content, 20)
        text = aws.invocations[0].content.partition(bytes(8))[2].decode()
        first = frames(text[: text.rindex("\n\n")])[0][1]
        followers = [asyncio.create_task(client.get(f"/tasks/{first['task_id']}/stream")) for _ in range(2)]
        await wait_until(lambda: len(aws.invocations) == 3 and b"id: 3" in aws.invocations[2].content, 20)
        aws.instances("StreamResponse")[0].kill()
        with pytest.raises(httpx.RemoteProtocolError):
            await producing
        ends = [frames((await follower).text)[-1] for follower in followers]
        for name, data in ends:
            assert name == "status"
            assert data["status"]["state"] == "failed"
            assert data["status"]["error"]["code"] == "worker_lost"
        ask = {"input": {"type": "text/plain", "content": "My name is Alice"}}
        answer = await client.post(f"/sessions/{first['context_id']}/tasks", json=ask)
        assert answer.json()["status"]["state"] == "completed"


async def test_a_cancel_reaches_the_process_that_runs_the_turn(aws: Emulator) -> None:
    body = {"message": {"role": "user", "parts": [{"type": "text", "text": "count to 500 every 100 ms"}]}}
    output = ""
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream("POST", f"{aws.url}/agents/my_agent/message/stream", json=body) as answer,
    ):
        async for text in answer.aiter_text():
            asked = "task_id" in output
            output += text
            if not asked and "task_id" in output:
                task = frames(output.rpartition("\n\n")[0])[0][1]["task_id"]
                assert (await client.post(f"{aws.url}/tasks/{task}/cancel")).status_code == 200
    assert frames(output)[-1][1]["status"]["state"] == "canceled"
    assert {call.function for call in aws.invocations} == {"StreamResponse", "PostTask"}


async def test_sessions_are_listed_read_and_ended_across_functions(aws: Emulator) -> None:
    async with httpx.AsyncClient(base_url=aws.url, timeout=30) as client:
        first = await client.post("/sessions", json={"agentId": "my_agent"})
        path = f"/sessions/{first.json()['sessionId']}"
        assert [item["sessionId"] for item in (await client.get("/sessions")).json()["items"]] == [path[10:]]
        assert (await client.get(path)).json()["status"] == "active"
        assert (await client.delete(path)).status_code == 204
        assert (await client.get(path)).status_code == 404
        ask = {"input": {"type": "text/plain", "content": "hello"}}
        answer = await client.post(f"{path}/tasks", json=ask)
        gone = await client.get(path)
    assert gone.json()["status"] == 404, "problem details are text, not base64"
    assert answer.status_code == answer.json()["status"] == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_turn_whose_process_is_killed_ends_and_its_session_goes_on(aws: Emulator) -> None:
    async with httpx.AsyncClient(base_url=aws.url, timeout=60) as client:
        session = (await client.post("/sessions", json={"agentId": "my_agent"})).json()["sessionId"]
        ask = {"input": {"type": "text/plain", "content": "count to 500 every 100 ms"}}
        task, killed = "", 0.0

        async def read() -> None:
            nonlocal task, killed
            async with client.stream("POST", f"/sessions/{session}/tasks/stream", json=ask) as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("data:") and not task:
                        task = json.loads(line.removeprefix("data:"))["task_id"]
                        killed = time.monotonic()
                        aws.instances("StreamResponse")[0].kill()

        with pytest.raises(httpx.RemoteProtocolError):
            await read()
        followed = frames((await client.get(f"/tasks/{task}/stream")).text)
        assert followed[-1][1]["status"]["state"] == "failed"
        assert time.monotonic() - killed < 17 + 3, "lease time + 2 s, and a new process"
        ask = {"input": {"type": "text/plain", "content": "My name is Alice"}}
        assert (await client.post(f"/sessions/{session}/tasks", json=ask)).json()["status"]["state"] == "completed"


async def test_a_session_is_changed_read_forked_exported_and_imported_across_functions(aws: Emulator) -> None:
    async with httpx.AsyncClient(base_url=aws.url, timeout=30) as client:
        key = {"Idempotency-Key": "one"}
        made = [(await client.post("/sessions", json={"agentId": "my_agent"}, headers=key)).json() for _ in range(2)]
        assert made[0] == made[1]
        path = f"/sessions/{made[0]['sessionId']}"
        ask = {"input": {"type": "text/plain", "content": "My name is Alice 😀"}}
        await client.post(f"{path}/tasks", json=ask)
        changed = (await client.patch(path, json={"ttl": "2h", "metadata": {"plan": "gold"}})).json()
        assert (changed["ttl"], changed["metadata"], changed["turns"]) == (7200, {"plan": "gold"}, 1)
        fork = (await client.post(f"{path}/fork")).json()
        exported = await client.get(f"{path}/export")
        assert exported.headers["content-type"] == "application/x-ndjson"
        headers = {"Content-Type": "application/x-ndjson"}
        imported = (await client.post("/sessions/import", content=exported.content, headers=headers)).json()
        for copy in (fork, imported):
            assert (copy["turns"], copy["metadata"]) == (1, {"plan": "gold"})
            messages = (await client.get(f"/sessions/{copy['sessionId']}/messages")).json()["items"]
            assert [message["role"] for message in messages] == ["user", "assistant"]
            assert messages[0]["parts"][0]["text"] == "My name is Alice 😀"
        refused = await client.post("/sessions/import", content=exported.content[:-10], headers=headers)
        assert (refused.status_code, refused.json()["field"]) == (400, "line 3")
    assert {call.function for call in aws.invocations} == {"CreateSession", "PostTask", "StreamResponse"}
