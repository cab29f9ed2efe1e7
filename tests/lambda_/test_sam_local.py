"""`make sam-local`: the built functions in containers, with one store for all of them. Streams come whole there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.engines import need
from tests.lambda_ import built
from tests.processes import ENVIRONMENT, free_port

DOCKER = "HECTOR_REQUIRE_DOCKER"
IMAGE = f"public.ecr.aws/lambda/python:{built.RUNTIME.removeprefix('python')}-{built.ARCHITECTURE}"
SCRIPT = built.ROOT / "scripts" / "sam_local.sh"

pytestmark = pytest.mark.timeout(400)


def docker(*arguments: str) -> bool:
    path = need(shutil.which("docker"), "sam local needs Docker", DOCKER)
    return subprocess.run([path, *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """What `make sam-local` starts."""
    need(docker("info"), "sam local needs a Docker daemon that runs", DOCKER)
    need(docker("image", "inspect", IMAGE), f"sam local needs the image {IMAGE}: scripts/lambda_image.sh", DOCKER)
    built.sam()
    port, log = free_port(), tmp_path_factory.mktemp("sam-local") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [SCRIPT, "--port", str(port)],
            env={**ENVIRONMENT, "PORT_OF_DYNAMODB": str(free_port())},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            _started(client, process, log)
            yield client
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does; sam removes its containers
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _started(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            client.get("/health")
            return
        time.sleep(0.5)
    raise TimeoutError(log.read_text())


def test_two_messages_are_remembered_across_functions(api: httpx.Client) -> None:
    created = api.post("/sessions", content='{"agentId": "support_agent"}')
    assert created.status_code == 201
    session = created.json()["sessionId"]
    answers = [
        api.post(f"/sessions/{session}/tasks", content=json.dumps({"input": {"type": "text/plain", "content": text}}))
        for text in ("My name is Alice", "What is my name?")
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].json()["output"]["content"] == "Your name is Alice."
    assert api.get(f"/sessions/{session}").json()["turns"] == 2, "another function reads what this one wrote"
    task = api.get(f"/tasks/{answers[0].json()['taskId']}").json()
    assert task["status"]["state"] == "completed"


def test_errors_are_problem_details(api: httpx.Client) -> None:
    assert api.get("/sessions/nobody").json()["status"] == 404


def test_a_stream_comes_whole_and_is_replayed(api: httpx.Client) -> None:
    message = {"message": {"role": "user", "parts": [{"type": "text", "text": "count to 5"}]}}
    answer = api.post("/agents/my_agent/message/stream", json=message)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("event: message") == 5
    assert '"state":"completed"' in answer.text
    task = json.loads(answer.text.split("data: ", 1)[1].split("\n")[0])["task_id"]
    rest = api.get(f"/tasks/{task}/stream", params={"after": "4"})
    assert rest.text.count("event: message") == 1
    assert '"state":"completed"' in rest.text
