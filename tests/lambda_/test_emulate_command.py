"""`hector emulate`: what it says when something is missing, and that it serves the built functions."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from hector.emulator import machine
from hector.emulator.limits import Limits
from hector.emulator.template import load
from hector.errors import ConfigError
from tests.cli.driving import HECTOR, hector
from tests.lambda_ import built
from tests.processes import ENVIRONMENT

SMALL = f"""
Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: {{Type: String, Default: prod}}
  PythonRuntime: {{Type: String, Default: python3.9, AllowedValues: [python3.9, {built.RUNTIME}]}}
Conditions:
  Never: !Equals [!Ref Stage, never]
Mappings:
  Sizes: {{prod: {{memory: 300}}, dev: {{memory: 200}}}}
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: !Ref Stage
      GatewayResponses:
        DEFAULT_4XX:
          StatusCode: 418
          ResponseTemplates: {{text/plain: "$context.error.responseType: $context.error.message"}}
          ResponseParameters: {{Headers: {{X-Echo: method.request.header.Origin, X-Plain: "'yes'"}}}}
        REQUEST_TOO_LARGE: {{ResponseTemplates: {{application/json: '{{"large":${{context.error.messageString}}}}'}}}}
  Toy:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: !Ref PythonRuntime
      Architectures: [{built.ARCHITECTURE}]
      CodeUri: code
      Handler: app.handler
      AutoPublishAlias: live
      MemorySize: !FindInMap [Sizes, !Ref Stage, memory]
      Environment:
        Variables:
          STAGE: !Join ["-", [!Select [0, !Split [",", "a,b"]], !Ref Stage]]
          NOTHING: !If [Never, x, !Ref AWS::NoValue]
      Events:
        Any: {{Type: Api, Properties: {{RestApiId: !Ref Api, Path: /plain, Method: get}}}}
  Topic:
    Type: AWS::SNS::Subscription
    Condition: Never
"""

APP = "def handler(event, context):\n    return {'statusCode': 200, 'body': event['requestContext']['stage']}\n"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text(APP)
    (tmp_path / "template.yaml").write_text(SMALL)
    return tmp_path / "template.yaml"


def refused(*arguments: str, **environment: str) -> str:
    done = hector("emulate", *arguments, **environment)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_without_a_build_it_says_how_to_build(tmp_path: Path) -> None:
    said = refused("--template", str(tmp_path / "template.yaml"))
    assert "there is no built template. Build one: sam build --parameter-overrides" in said
    assert f"PythonRuntime={built.RUNTIME} Architecture={built.ARCHITECTURE}" in said


def test_a_port_that_is_taken(small: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused("--template", str(small), "--port", str(port))
    assert f"cannot listen on 127.0.0.1:{port}: " in said
    assert "Choose another with --port." in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env", "A"], "--env A: expected KEY=VALUE."),
        (["--limit", "speed=1"], "--limit speed: no such limit; there are prelude"),
        (["--parameter", "Nothing=1"], "there is no parameter Nothing; there are Stage, PythonRuntime."),
        (["--parameter", "PythonRuntime=python3.9"], f"Toy is for python3.9 on {built.ARCHITECTURE}; this is"),
        (["--port", "0", "--dynamodb", "http://127.0.0.1:9"], "DynamoDB Local does not answer there"),
    ],
)
def test_wrong_usage(small: Path, arguments: list[str], said: str) -> None:
    assert said in refused("--template", str(small), *arguments)


def test_no_template(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    assert "a.yaml: while parsing" in refused("--template", str(tmp_path / "a.yaml"))
    (tmp_path / "b.yaml").write_text("a: b")
    assert "b.yaml: this is no template: it has no Resources." in refused("--template", str(tmp_path / "b.yaml"))


def test_the_extra_is_named_when_it_is_missing(small: Path, tmp_path: Path) -> None:
    (tmp_path / "samtranslator.py").write_text("raise ImportError")
    path = f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}"
    said = refused("--template", str(small), PYTHONPATH=path)
    assert "pip install 'hector-serverless[emulate]'" in said


def test_a_build_for_another_machine_is_refused(small: Path, tmp_path: Path) -> None:
    other = {"x86_64": 183, "arm64": 62}[built.ARCHITECTURE]
    code = tmp_path / "code"
    (code / "native.so").write_bytes(b"\x7fELF" + bytes(14) + other.to_bytes(2, "little"))
    with pytest.raises(ConfigError, match=f"code is built for {built.RUNTIME} on .*; this is {built.RUNTIME} on"):
        load(small)
    (code / "native.so").unlink()
    (code / "native.cpython-39-x.so").write_bytes(
        b"\x7fELF" + bytes(14) + {"x86_64": 62, "arm64": 183}[built.ARCHITECTURE].to_bytes(2, "little")
    )
    with pytest.raises(ConfigError, match=r"code is built for python3\.9 on"):
        load(small)


def test_the_template_is_read_as_cloudformation_would(small: Path) -> None:
    stack = load(small)
    (toy,) = stack.functions
    assert toy.runtime == machine.RUNTIME, "a parameter that says what runs is this machine's, unless it is given"
    assert toy.memory == 300
    assert dict(toy.environment) == {"STAGE": "a-prod"}
    assert stack.api.edge, "an API is edge-optimised unless it says otherwise"
    assert [(route.method, route.resource, route.function) for route in stack.api.routes] == [("GET", "/plain", "Toy")]
    assert stack.notes == ()
    assert load(small, {"Stage": "dev"}).functions[0].memory == 200


def test_the_projects_own_template(built_template: Path) -> None:
    stack = load(built_template)
    assert not stack.api.edge
    assert {route.function for route in stack.api.routes if route.streams} == {"PostTask", "StreamResponse"}
    preflights = [route for route in stack.api.routes if route.mock is not None]
    assert {route.method for route in preflights} == {"OPTIONS"}
    assert "Last-Event-ID" in (preflights[0].mock or {})["Access-Control-Allow-Headers"]


class Running:
    """`hector emulate` on a port of its own, until the end of the block."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [*HECTOR, "emulate", "--port", "0", *arguments],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.told: list[str] = []

    def __enter__(self) -> Running:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.told.append(line.rstrip())
            if found := re.search(r"Listening on (http://[\d.:]+)", line):
                self.url = found[1]
                return self
        raise AssertionError(self._process.communicate())

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self.errors = self._process.communicate(timeout=20)[1]
        assert self._process.returncode == 0, self.errors


def test_it_serves_with_the_gateways_own_answers(small: Path) -> None:
    with Running("--template", str(small), "--warm", "1", "--limit", "gateway_payload=10") as served:
        assert httpx.get(f"{served.url}/plain").text == "local"
        unknown = httpx.get(f"{served.url}/nowhere", headers={"Origin": "http://here"})
        assert (unknown.status_code, unknown.headers["content-type"]) == (418, "text/plain")
        assert unknown.text == "MISSING_AUTHENTICATION_TOKEN: Missing Authentication Token"
        assert (unknown.headers["x-echo"], unknown.headers["x-plain"]) == ("http://here", "yes")
        large = httpx.post(f"{served.url}/plain", content=b"x" * 11)
        assert (large.status_code, large.json()) == (418, {"large": "HTTP content length exceeded 10 bytes."})
    assert "Functions: Toy" in served.told
    assert "[Toy] REPORT RequestId: " in served.errors
    assert f"limit gateway_payload (10): a body of 11 bytes [{Limits.page('gateway_payload')}]" in served.errors


def test_it_makes_the_table_and_serves_the_product(built_template: Path, dynamodb_local: str) -> None:
    arguments = ["--template", str(built_template), "--dynamodb", dynamodb_local, "--resource", "Table=by-command"]
    with Running(*arguments) as served, httpx.Client(base_url=served.url, timeout=60) as http:
        session = http.post("/sessions", content='{"agentId": "support_agent"}').json()["sessionId"]
        for text in ("My name is Alice", "What is my name?"):
            ask = {"input": {"type": "text/plain", "content": text}}
            answer = http.post(f"/sessions/{session}/tasks", content=json.dumps(ask)).json()
        assert answer["output"]["content"] == "Your name is Alice."
        preflight = http.options("/sessions", headers={"Origin": "http://here"})
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, "*")
        unknown = http.get("/nowhere")
        assert (unknown.status_code, unknown.headers["access-control-allow-origin"]) == (404, "*")
        assert unknown.json()["code"] == "not_found", "in the template's words, not in AWS's"
    assert f"DynamoDB Local at {dynamodb_local}: by-command" in served.told


def test_the_command_line_starts_without_it() -> None:
    code = "import hector.cli.main, sys; print(*[name for name in sys.modules if 'emulat' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert done.stdout.strip() == ""
