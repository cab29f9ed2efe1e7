"""A client that is generated from the OpenAPI document has the page's conversation."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.engines import need
from tests.processes import hector_server

GENERATOR = Path(__file__).parents[2] / ".tools/openapi_client/bin/openapi-python-client"

CONVERSATION = """
import sys
from page import Client, models
from page.api.agents import list_agents
from page.api.service import health
from page.api.sessions import create_session, delete_session, list_messages, list_sessions, update_session
from page.api.tasks import cancel_task, list_tasks, post_task, read_task, send_message, stream_message
from page.models import Content, Problem, Task, TaskInput, TaskStatusState

with Client(base_url=sys.argv[1]) as client:
    session = create_session.sync(client=client, body=models.CreateSession(agent_id="support_agent"))

    def say(text):
        body = models.PostTask(input_=TaskInput(type_="text/plain", content=text))
        return post_task.sync(session.session_id, client=client, body=body)

    assert isinstance(say("My name is Alice"), Task)
    task = say("What is my name?")
    assert task.output == Content(type_="text/plain", content="Your name is Alice."), task
    assert task.status.state is TaskStatusState.COMPLETED
    assert task.usage.output_tokens > 0
    assert read_task.sync(task.task_id, client=client) == task
    assert list_tasks.sync(client=client, session_id=session.session_id).items[0] == task
    assert len(list_messages.sync(session.session_id, client=client).items) == 4

    said = models.SendMessage(message=models.InputMessage(parts=[models.InputPart(text="Explain quantum computing")]))
    stream = stream_message.sync("my_agent", client=client, body=said)
    assert stream.startswith(": ok") and "event: status" in stream and '"state":"completed"' in stream
    assert isinstance(send_message.sync("my_agent", client=client, body=said), Task)

    assert update_session.sync(session.session_id, client=client, body=models.UpdateSession(ttl="30m")).ttl == 1800
    assert session.session_id in [one.session_id for one in list_sessions.sync(client=client).items]
    assert [agent.capabilities.streaming for agent in list_agents.sync(client=client).items] == [True] * 3
    assert health.sync(client=client).status == "ok"
    refused = cancel_task.sync(task.task_id, client=client)
    assert isinstance(refused, Problem) and refused.code == "task_not_cancelable"
    assert delete_session.sync_detailed(session.session_id, client=client).status_code == 204
    gone = list_messages.sync(session.session_id, client=client)
    assert isinstance(gone, Problem) and gone.status == 404
print("done")
"""


@pytest.fixture
def generator() -> Path:
    return need(GENERATOR if GENERATOR.exists() else None, "openapi-python-client is not set up: make openapi-client")


def test_a_generated_client_has_the_conversation_of_the_page(generator: Path, tmp_path: Path) -> None:
    with hector_server() as server:
        document = tmp_path / "openapi.json"
        document.write_text(httpx.get(f"{server.url}/openapi.json").text)
        made = _run(generator, "generate", "--path", document, "--output-path", tmp_path / "page", "--meta", "none")
        missing = re.findall(r"WARNING parsing (\S+ \S+)", made)
        assert missing == ["POST /sessions/import", "GET /sessions/{session_id}/export"], "these are no JSON"
        assert "Unable to process" not in made
        (tmp_path / "conversation.py").write_text(CONVERSATION)
        assert _run(generator.with_name("python"), tmp_path / "conversation.py", server.url) == "done\n"


def _run(*command: str | Path) -> str:
    """What it prints."""
    ran = subprocess.run(
        [str(part) for part in command],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr
