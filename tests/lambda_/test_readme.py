"""The example in the layer's README runs as printed, and its template snippet deploys a streaming route."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import httpx
from samtranslator.yaml_helper import yaml_parse

from hector.emulator import Emulator, Function, Route
from hector.emulator.transform import transform
from tests.lambda_ import built
from tests.lambda_.test_template import integrations, mode

README = (built.ROOT / "layers" / "response_streaming" / "README.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_example(built_template: Path, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(block("python").replace("asyncio.sleep(0.5)", "asyncio.sleep(0.1)"))
    layers = tuple(built_template.parent / name for name in ("HectorLayer", "ResponseStreamingLayer"))  # for Starlette
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/response-streaming"}
    function = Function("Count", tmp_path, "app.handler", variables, layers)
    arrivals = []
    async with (
        Emulator([function], [Route("GET", "/count", "Count", streams=True)]) as aws,
        httpx.AsyncClient() as client,
        client.stream("GET", f"{aws.url}/count") as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line:
                arrivals.append((line, time.monotonic()))
    assert [line for line, _ in arrivals] == [f"data: {number}" for number in range(10)]
    assert arrivals[-1][1] - arrivals[0][1] > 0.7


def test_the_layer_is_built_as_printed_and_outside_of_this_project(tmp_path: Path) -> None:
    """With nothing but the three that the page says to take along."""
    layers = tmp_path / "layers"
    layers.mkdir()
    for name in ("response_streaming", "targets"):
        shutil.copytree(built.ROOT / "layers" / name, layers / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(built.ROOT / "layers" / "build_layer.py", layers)
    target = f"{built.RUNTIME}-{built.ARCHITECTURE}"
    command = block("bash").replace("python3.13-arm64", target).replace("python3 ", f"{sys.executable} ", 1)
    result = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert os.access(tmp_path / "layer" / "response-streaming", os.X_OK)
    python = str(tmp_path / "layer" / "python")
    code = "from response_streaming import asgi_handler; print(asgi_handler.__module__)"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": python}, capture_output=True, text=True, check=False
    )
    assert loaded.stdout.strip() == "response_streaming.asgi", loaded.stderr


def test_the_template_snippet() -> None:
    api = "Api: {Type: AWS::Serverless::Api, Properties: {StageName: prod}}\n"
    resources = textwrap.indent(api + block("yaml"), "  ")
    template = yaml_parse(f"Transform: AWS::Serverless-2016-10-31\nResources:\n{resources}")
    assert mode(integrations(transform(template)["Resources"])["GET", "/count"]) == "streaming"
