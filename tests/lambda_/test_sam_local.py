"""`sam local start-api`: the built functions in containers. It cannot stream, so the same answers come whole."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.engines import need
from tests.lambda_ import built

DOCKER = "HECTOR_REQUIRE_DOCKER"
IMAGE = f"public.ecr.aws/lambda/python:{built.RUNTIME.removeprefix('python')}-{built.ARCHITECTURE}"


def docker(*arguments: str) -> bool:
    path = need(shutil.which("docker"), "sam local needs Docker", DOCKER)
    return subprocess.run([path, *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    need(docker("info"), "sam local needs a Docker daemon that runs", DOCKER)
    need(docker("image", "inspect", IMAGE), f"sam local needs an image: docker pull {IMAGE}", DOCKER)
    built_template: Path = request.getfixturevalue("built_template")
    folder = tmp_path_factory.mktemp("sam-local")
    variables = folder / "env.json"
    # Containers share no memory; each test below stays within one function.
    variables.write_text(json.dumps({"Parameters": {"HECTOR_STORE": "memory:", "HECTOR_QUEUE": ""}}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    overrides = [f"{name}={value}" for name, value in built.PARAMETERS.items()]
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                *(built.sam(), "local", "start-api", "--template", str(built_template), "--port", str(port)),
                *("--skip-pull-image", "--warm-containers", "EAGER", "--no-watch", "--env-vars", str(variables)),
                *("--parameter-overrides", *overrides),
            ],
            cwd=built.ROOT,
            env={**os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            _started(client, process, log)
            yield client
    finally:
        process.send_signal(signal.SIGINT)  # sam removes its containers
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()


def _started(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            client.get("/health")
            return
        time.sleep(0.5)
    raise TimeoutError(log.read_text())


pytestmark = pytest.mark.timeout(300)


def test_a_session_is_created_and_read(api: httpx.Client) -> None:
    created = api.post("/sessions", content='{"agentId": "support_agent"}')
    assert created.status_code == 201
    path = f"/sessions/{created.json()['sessionId']}"
    assert api.get(path).json()["agentId"] == "support_agent"
    assert (api.get("/sessions/nobody")).json()["status"] == 404


def test_a_message_is_answered_and_its_task_can_be_read(api: httpx.Client) -> None:
    message = {"message": {"role": "user", "parts": [{"type": "text", "text": "My name is Alice"}]}}
    answer = api.post("/agents/support_agent/message/send", json=message)
    assert answer.status_code == 200
    assert "Alice" in answer.text
    task = api.get(f"/tasks/{answer.json()['taskId']}").json()
    assert task["status"]["state"] == "completed"


def test_a_stream_comes_whole(api: httpx.Client) -> None:
    message = {"message": {"role": "user", "parts": [{"type": "text", "text": "count to 5"}]}}
    answer = api.post("/agents/my_agent/message/stream", json=message)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("event: message") == 5
    assert '"state":"completed"' in answer.text
