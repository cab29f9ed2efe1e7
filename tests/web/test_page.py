"""The mission page's own commands, as printed, by curl against `hector serve` on a real port."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.engines import need
from tests.processes import HectorServer, hector_server
from tests.support import frames


@pytest.fixture(scope="module")
def server() -> Iterator[HectorServer]:
    need(shutil.which("curl"), "curl is not installed")
    with hector_server() as running:
        yield running


def curl(*arguments: str) -> str:
    run = subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, timeout=30, check=True)
    return run.stdout


def test_multi_turn_sessions(server: HectorServer) -> None:
    created = curl("-X", "POST", f"{server.url}/sessions", "-d", '{"agentId": "support_agent"}')
    session_id = json.loads(created)["sessionId"]
    tasks = f"{server.url}/sessions/{session_id}/tasks"
    curl("-X", "POST", tasks, "-d", '{"input":{"type":"text/plain","content":"My name is Alice"}}')
    answer = curl("-X", "POST", tasks, "-d", '{"input":{"type":"text/plain","content":"What is my name?"}}')
    assert json.loads(answer)["output"] == {"type": "text/plain", "content": "Your name is Alice."}
    assert json.loads(answer)["status"]["state"] == "completed"


def test_real_time_streaming(server: HectorServer) -> None:
    stream = curl(
        "-N", "-H", "Accept: text/event-stream", "-H", "Content-Type: application/json",
        "-d", '{"message":{"role":"user","parts":[{"type":"text","text":"Explain quantum computing"}]}}',
        f"{server.url}/agents/my_agent/message/stream",
    )  # fmt: skip
    first, second, *_, last = frames(stream)
    task_id = first.data["task_id"]
    assert [first.event, second.event, last.event] == ["message", "message", "status"]
    assert first.data == {
        "task_id": task_id,
        "context_id": task_id.rpartition("-")[0],
        "message": {"role": "assistant", "parts": [{"type": "text", "text": "Quantum"}]},
    }
    assert second.data == {
        "task_id": task_id,
        "message": {"role": "assistant", "parts": [{"type": "text", "text": " computing"}]},
    }
    assert last.data == {"task_id": task_id, "status": {"state": "completed"}}


def test_the_lines_of_a_frame_are_those_of_the_page(server: HectorServer) -> None:
    body = '{"message":{"role":"user","parts":[{"type":"text","text":"What is my name?"}]}}'
    stream = curl("-N", "-d", body, f"{server.url}/agents/my_agent/message/stream")
    frame = frames(stream)[1]
    assert frame.raw == (
        f'id: 2\nevent: message\ndata: {{"task_id":"{frame.data["task_id"]}","message":'
        '{"role":"assistant","parts":[{"type":"text","text":" have"}]}}'
    )


def test_a_session_is_ended_explicitly(server: HectorServer) -> None:
    session_id = json.loads(curl("-d", '{"agentId": "my_agent"}', f"{server.url}/sessions"))["sessionId"]
    one = f"{server.url}/sessions/{session_id}"
    assert curl("-X", "DELETE", "-o", "/dev/null", "-w", "%{http_code}", one) == "204"
    assert curl("-o", "/dev/null", "-w", "%{http_code}", one) == "404"


def test_it_starts_with_no_configuration_and_says_where(server: HectorServer) -> None:
    assert server.greeting.startswith("Serving assistant, support_agent, my_agent at http://127.0.0.1:")
    assert json.loads(curl(f"{server.url}/health"))["sessionStore"] == "memory"
    assert "swagger" in curl(f"{server.url}/docs")
