"""From hector.yaml to the wire: every setting of a model arrives there."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from hector.config.settings import Settings
from hector.model import Message, Role, Usage
from hector.wiring import build
from tests.agents.wires import WIRES, model_server, streaming
from tests.support import ask, new_session


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("openai", {"base_url": "{url}/v1", "api_key": "key", "max_tokens": 50},
         {"model": "a.model", "temperature": 0.5, "max_tokens": 50}),
        ("anthropic", {"base_url": "{url}", "api_key": "key", "max_tokens": 50},
         {"model": "a.model", "temperature": 0.5, "max_tokens": 50}),
        ("anthropic", {"base_url": "{url}", "api_key": "key"}, {"max_tokens": 4096}),
        ("bedrock", {"endpoint_url": "{url}", "region": "eu-north-1", "max_tokens": 50},
         {"inferenceConfig": {"temperature": 0.5, "maxTokens": 50}}),
    ],
)  # fmt: skip
async def test_a_configured_model_answers(name: str, settings: dict[str, Any], expected: dict[str, Any]) -> None:
    wire = WIRES[name]
    bodies: list[dict[str, Any]] = []
    headers: list[str] = []

    async def answer(request: Request) -> Response:
        bodies.append(await request.json())
        headers.append(str(request.headers))
        return await streaming(wire, wire.pieces("Hello"), wire.end())(request)

    async with model_server(wire, answer) as url:
        given = {key: value.format(url=url) if isinstance(value, str) else value for key, value in settings.items()}
        llm = {"type": name, "model": "a.model", "temperature": 0.5, **given}
        agents = {"my_agent": {"llm": "main", "prompt": {"system": "Be brief."}}}
        services = build(Settings.model_validate({"llms": {"main": llm}, "agents": agents}))
        task = await ask(services, await new_session(services), "Hi")
        await services.aclose()
    assert (task.output, task.usage) == (Message.of(Role.AGENT, "Hello"), Usage(20, 3))
    assert {key: bodies[0][key] for key in expected} == expected
    assert "Be brief." in str(bodies[0])
    assert settings.get("region", "key") in headers[0]
