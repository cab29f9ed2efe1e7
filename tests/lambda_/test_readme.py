"""The example in the layer's README runs as printed, and its template snippet deploys a streaming route."""

from __future__ import annotations

import re
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


def test_the_template_snippet() -> None:
    api = "Api: {Type: AWS::Serverless::Api, Properties: {StageName: prod}}\n"
    resources = textwrap.indent(api + block("yaml"), "  ")
    template = yaml_parse(f"Transform: AWS::Serverless-2016-10-31\nResources:\n{resources}")
    assert mode(integrations(transform(template)["Resources"])["GET", "/count"]) == "streaming"
