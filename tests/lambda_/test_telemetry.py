"""What Powertools and X-Ray get to know of a turn: its measures and ids, and nothing of what was said."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from hector import telemetry
from hector.emulator import Emulator
from hector.live import LiveLogs
from hector.model import session_id_of
from hector.services import Services
from hector.telemetry import Measure, on_lambda
from hector.web.apps import stream_app, task_app
from hector.web.context import ANONYMOUS
from hector.web.observed import Observed
from hector.wiring import build
from tests.lambda_ import built
from tests.support import Context

SECRET = "Wollmilchsau"
GATEWAY_ID = "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Listening as on Lambda, on a root handler like Lambda's, everything down to DEBUG."""
    monkeypatch.setenv("HECTOR_STACK", "my-stack")
    root, stream = logging.getLogger(), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.terminator = ""  # as Lambda's sink: the formatter ends the line
    levels = {name: logging.getLogger(name).level for name in ("", *on_lambda._TALKATIVE)}
    others = root.handlers[:]
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG)
    on_lambda.listen()
    yield stream
    telemetry.listen()
    root.handlers[:] = others
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
async def services(log: io.StringIO) -> AsyncIterator[Services]:
    from hector import config

    services = build(config.load())
    yield services
    await services.aclose()


def through_the_gateway(app: ASGIApp) -> httpx.AsyncClient:
    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope["aws.event"] = {"requestContext": {"requestId": GATEWAY_ID}}
        await app(scope, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(call, raise_app_exceptions=False), base_url="http://api")


def lines(log: io.StringIO, message: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in found if line["message"] == message]


def metrics(output: str) -> dict[str, list[float]]:
    """Every value of the embedded metric format, which has to be of our namespace and service."""
    found: dict[str, list[float]] = {}
    for line in output.splitlines():
        content = json.loads(line)
        (directive,) = content["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "Hector"
        assert directive["Dimensions"] == [["service"]]
        assert content["service"] == "my-stack"
        for metric in directive["Metrics"]:
            value = content[metric["Name"]]
            found.setdefault(metric["Name"], []).extend(value if isinstance(value, list) else [value])
            assert metric["Unit"] == ("Milliseconds" if metric["Name"] == "TimeToFirstToken" else "Count")
    return found


def said(text: str) -> dict[str, Any]:
    return {"message": {"role": "user", "parts": [{"type": "text", "text": text}]}}


def task_of(stream: str) -> str:
    found: str = json.loads(next(line for line in stream.splitlines() if line.startswith("data:"))[5:])["task_id"]
    return found


async def test_a_turn_is_measured_and_logged_without_a_word_of_it(
    services: Services, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    async with through_the_gateway(stream_app(services)) as client:
        answer = await client.post("/agents/my_agent/message/stream", json=said(f"My name is {SECRET}"))
    assert SECRET in answer.text, "the answer holds what was said"
    output = capsys.readouterr().out
    found = metrics(output)
    usage = {name: found.pop(name) for name in ("InputTokens", "OutputTokens") if name in found}
    assert found.pop("TimeToFirstToken")[0] >= 0
    assert found == {"Turns": [1], "OpenStreams": [1]}
    (line,) = lines(log, "turn ended")
    assert line["correlation_id"] == GATEWAY_ID
    assert line["task_id"] == task_of(answer.text)
    assert line["session_id"] == session_id_of(task_of(answer.text))
    assert (line["state"], line["agent_id"], line["service"]) == ("completed", "my_agent", "my-stack")
    assert line["level"] == "INFO"
    assert [line["input_tokens"]] == usage["InputTokens"]
    assert [line["output_tokens"]] == usage["OutputTokens"]
    assert SECRET not in log.getvalue() + output


async def test_a_turn_that_fails(services: Services, log: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    async with through_the_gateway(task_app(services)) as client:
        answer = await client.post("/agents/my_agent/message/send", json=said(f"fail please {SECRET}"))
    assert answer.json()["status"]["state"] == "failed"
    output = capsys.readouterr().out
    found = metrics(output)
    assert (found["Turns"], found["FailedTurns"]) == ([1], [1])
    (line,) = lines(log, "turn ended")
    assert (line["state"], line["error_code"]) == ("failed", answer.json()["status"]["error"]["code"])
    assert SECRET not in log.getvalue() + output


async def test_a_warning_in_a_turn_names_task_session_and_request(services: Services, log: io.StringIO) -> None:
    """Whoever logs it: the ids come with the context."""

    async def answer(turn: Any) -> str:
        logging.getLogger("somebody.elses").warning("a line")
        return "done"

    from dataclasses import replace

    from hector.agents.python import PythonAgent

    agents: Any = services.agents
    agents["my_agent"] = replace(agents["my_agent"], agent=PythonAgent(answer))
    async with through_the_gateway(task_app(services)) as client:
        task = (await client.post("/agents/my_agent/message/send", json=said("hello"))).json()["taskId"]
    (line,) = lines(log, "a line")
    assert (line["task_id"], line["session_id"], line["correlation_id"]) == (task, session_id_of(task), GATEWAY_ID)


async def test_cancels_and_resumes(services: Services, log: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    async with through_the_gateway(task_app(services)) as tasks, through_the_gateway(stream_app(services)) as streams:
        answer = await streams.post("/agents/my_agent/message/stream", json=said("count to 3"))
        task = task_of(answer.text)
        assert metrics(capsys.readouterr().out)["Turns"] == [1]
        await streams.get(f"/tasks/{task}/stream", headers={"Last-Event-ID": "1"})
        assert metrics(capsys.readouterr().out) == {"Resumes": [1], "OpenStreams": [1]}
        await streams.get(f"/tasks/{task}/stream")
        assert metrics(capsys.readouterr().out) == {"OpenStreams": [1]}, "from the beginning is no resume"
        session = await services.turns.create_session(ANONYMOUS, "my_agent")
        asked = {"input": {"type": "text/plain", "content": "be silent for 30 seconds"}}
        waiting = asyncio.create_task(tasks.post(f"/sessions/{session.id}/tasks", json=asked))
        while (open_task := (await services.store.read_session(ANONYMOUS, session.id)).open_task_id) is None:
            await asyncio.sleep(0.02)
        await services.turns.cancel(ANONYMOUS, open_task)
        assert (await waiting).json()["status"]["state"] == "canceled"
        assert metrics(capsys.readouterr().out)["Cancels"] == [1]


def test_a_stream_counts_once_for_each_minute(log: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    stream = telemetry.OpenStream()
    stream.tick()
    assert capsys.readouterr().out == ""
    for _ in range(2):
        stream._next -= telemetry.MINUTE
        stream.tick()
        stream.tick()
        assert metrics(capsys.readouterr().out) == {"OpenStreams": [1]}, "while it is open"
    stream.close()
    telemetry.flush()
    assert metrics(capsys.readouterr().out) == {"OpenStreams": [1]}


def test_what_is_counted_often_is_one_sum(log: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(250):
        telemetry.count(Measure.OUTPUT_TOKENS, number)
    telemetry.count(Measure.FIRST_TOKEN, 12.5)
    telemetry.count(Measure.FIRST_TOKEN, 20)
    telemetry.flush()
    assert metrics(capsys.readouterr().out) == {"OutputTokens": [31_125], "TimeToFirstToken": [12.5, 20]}
    telemetry.flush()
    assert capsys.readouterr().out == "", "once"


def test_nothing_counted_is_nothing_said(log: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.flush()
    assert capsys.readouterr().out == ""


async def test_a_lost_worker_is_counted(
    services: Services, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    from hector.model import Message, Principal, Role
    from hector.recovery import Recovery
    from hector.stores.memory import MemoryStore

    now = [1_000_000]
    store = MemoryStore(lambda: now[0])
    lost = build(services.settings, store=store, clock=lambda: now[0])
    principal = Principal("alice")
    session = await lost.turns.create_session(principal, "my_agent")
    task = await lost.turns.start(principal, session.id, Message.of(Role.USER, "be silent for 30 seconds"))
    now[0] += 60_000
    await Recovery(store, LiveLogs(), lambda: now[0]).close(principal, task.id)
    telemetry.flush()
    assert metrics(capsys.readouterr().out)["LostWorkers"] == [1]
    await lost.aclose()


def test_what_the_work_queue_and_the_sweep_do_is_handed_on_too(
    log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    from hector import config
    from hector.events.handle import event_handler
    from response_streaming import async_handler

    handler = async_handler(event_handler(build(config.load())))
    telemetry.count(Measure.LOST_WORKERS)
    handler({"source": "aws.events", "detail-type": "Scheduled Event"}, Context())
    assert metrics(capsys.readouterr().out) == {"LostWorkers": [1]}


Traced = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traced]:
    """A daemon as Lambda has it. Gives what it was sent."""
    daemon = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    daemon.bind(("127.0.0.1", 0))
    daemon.settimeout(0.2)
    monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", f"127.0.0.1:{daemon.getsockname()[1]}")

    def received() -> list[dict[str, Any]]:
        found = []
        try:
            while True:
                header, _, body = daemon.recv(65_536).partition(b"\n")
                assert json.loads(header) == {"format": "json", "version": 1}
                found.append(json.loads(body))
        except TimeoutError:
            return found

    yield received
    daemon.close()


async def test_a_turn_is_a_subsegment_of_its_invocations_trace(
    services: Services, traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a87bd80c:0"
    monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
    async with through_the_gateway(task_app(services)) as client:
        task = (await client.post("/agents/my_agent/message/send", json=said(f"My name is {SECRET}"))).json()["taskId"]
        await client.post("/agents/my_agent/message/send", json=said("fail please"))
    turn, failed = traced()
    assert (turn["trace_id"], turn["parent_id"]) == ("1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8")
    assert (turn["type"], turn["name"], turn["fault"]) == ("subsegment", "turn", False)
    assert len(turn["id"]) == 16
    assert turn["start_time"] <= turn["end_time"]
    assert turn["annotations"]["task_id"] == task
    assert turn["annotations"]["session_id"] == session_id_of(task)
    assert all(name.replace("_", "").isalnum() for name in turn["annotations"]), "X-Ray takes no other names"
    assert SECRET not in json.dumps(turn)
    assert failed["fault"] is True


@pytest.mark.parametrize("trace", ["", "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"])
async def test_what_is_not_traced_is_not_sent(
    services: Services, traced: Traced, monkeypatch: pytest.MonkeyPatch, trace: str
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
    async with through_the_gateway(task_app(services)) as client:
        assert (await client.post("/agents/my_agent/message/send", json=said("hello"))).status_code == 200
    assert traced() == []


async def test_nothing_is_handed_on_before_the_answer_is_out(services: Services) -> None:
    """Powertools' import would hold back the last token."""
    order = []

    class Watching(telemetry.Listener):
        def flush(self) -> None:
            order.append("flush")

    telemetry.listen(Watching())
    messages = [{"type": "http.request", "body": json.dumps(said("hi")).encode(), "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        order.append("delivered")
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        order.append("last" if message["type"].endswith("body") and not message.get("more_body") else "part")

    scope = {
        "type": "http", "method": "POST", "path": "/agents/my_agent/message/stream", "headers": [],
        "query_string": b"", "asgi": {"version": "3.0", "spec_version": "2.4"}, "server": ("api", 80), "scheme": "http",
    }  # fmt: skip
    await stream_app(services)(scope, receive, send)
    assert order[-3:] == ["last", "delivered", "flush"]
    assert set(order[:-3]) == {"part"}


async def test_an_application_that_breaks_off_does_not_wait_for_what_never_comes(services: Services) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("broken")

    async def receive() -> Any:
        raise AssertionError("there is no end to wait for")

    async def send(message: Any) -> None: ...

    with pytest.raises(RuntimeError, match="broken"):
        await Observed(broken)({"type": "http"}, receive, send)


def test_listening_imports_no_powertools() -> None:
    code = """
import sys
from hector import telemetry
from hector.telemetry import on_lambda
on_lambda.listen()
assert telemetry.listening()
telemetry.count(telemetry.Measure.TURNS)
print([name for name in sys.modules if name.startswith("aws_lambda_powertools")])
"""
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(built.ROOT / "layers" / "hector")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "[]", result.stderr


def test_without_powertools_it_says_so_and_goes_on() -> None:
    code = "from hector import telemetry\nfrom hector.telemetry import on_lambda\non_lambda.listen()\n"
    code = f"import sys\nsys.modules['aws_lambda_powertools'] = None\n{code}assert not telemetry.listening()"
    environment = {"PYTHONPATH": str(built.ROOT / "layers" / "hector")}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "hector-serverless[lambda]" in result.stderr


async def test_on_the_built_functions(built_template: Path) -> None:
    """With the layer's own Powertools, under awslambdaric's own log handler, at the level that says most."""
    environment = {
        "HECTOR_STORE": "memory:",
        "HECTOR_QUEUE": "",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": "DEBUG",
    }
    async with (
        Emulator.from_template(built_template, parameters=built.PARAMETERS, environment=environment) as aws,
        httpx.AsyncClient(base_url=aws.url, timeout=30) as client,
    ):
        answer = await client.post("/agents/my_agent/message/stream", json=said(f"My name is {SECRET}"))
        await client.post("/agents/my_agent/message/stream", json=said(f"fail please {SECRET}"))
        assert SECRET in answer.text
        await aws.idle()
        written = [line for instance in aws.instances("StreamResponse") for line in instance.log]
    assert SECRET not in "\n".join(written)
    parsed = [json.loads(line) for line in written if line.startswith("{")]
    ended = [line for line in parsed if line.get("message") == "turn ended"]
    assert [line["state"] for line in ended] == ["completed", "failed"]
    assert ended[0]["task_id"] == task_of(answer.text)
    assert all(line["correlation_id"] and line["aws_request_id"] for line in ended)
    assert sum(line["Turns"][0] for line in parsed if "Turns" in line) == 2
