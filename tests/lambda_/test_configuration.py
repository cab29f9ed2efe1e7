"""The project's hector.yaml goes into the layer's root, and the functions serve what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx

from hector.emulator import Emulator
from hector.emulator.template import load
from tests.lambda_ import built
from tests.lambda_.test_layers import build_layer

CONFIG = """
llms:
  builtin: {type: builtin}
agents:
  greeter: {name: Greeter, llm: builtin}
"""


def test_the_build_puts_it_there_and_does_without_it(tmp_path: Path) -> None:
    target = build_layer.Target.read(built.ROOT / "layers" / "targets" / f"{built.RUNTIME}-{built.ARCHITECTURE}")
    (tmp_path / "hector.yaml").write_text(CONFIG)
    choices = build_layer.Choices(files=[tmp_path / "hector.yaml", tmp_path / "absent.yaml"])
    build_layer.build(built.ROOT / "layers" / "response_streaming", target, tmp_path / "out", choices)
    assert (tmp_path / "out" / "hector.yaml").read_text() == CONFIG
    assert not (tmp_path / "out" / "absent.yaml").exists()
    makefile = (built.ROOT / "layers" / "hector" / "Makefile").read_text()
    assert '--files "$(HERE)../../hector.yaml"' in makefile


async def test_the_functions_serve_it(built_template: Path, tmp_path: Path) -> None:
    (tmp_path / "hector.yaml").write_text(CONFIG)
    stack = load(built_template, built.PARAMETERS)
    functions = tuple(replace(function, layers=(*function.layers, tmp_path)) for function in stack.functions)
    async with (
        Emulator(
            stack=replace(stack, functions=functions), environment={"HECTOR_STORE": "memory:", "HECTOR_QUEUE": ""}
        ) as aws,
        httpx.AsyncClient(base_url=aws.url, timeout=30) as client,
    ):
        agents = (await client.get("/agents")).text
        assert "greeter" in agents
        assert "support_agent" not in agents
        assert (await client.post("/sessions", json={"agentId": "greeter"})).status_code == 201
        assert (await client.post("/sessions", json={"agentId": "support_agent"})).status_code == 404
