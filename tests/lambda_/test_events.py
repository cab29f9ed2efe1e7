"""Every sample event, given to the built function that it is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hector.emulator import Emulator
from tests.lambda_ import built
from tests.lambda_.test_custom_domains import CUSTOM, at, sample

SAMPLES = {"create_session": "CreateSession", "post_task": "PostTask", "stream_response": "StreamResponse"}


async def answer(template: Path, name: str, event: dict[str, Any] | None = None) -> tuple[dict[str, Any], str]:
    """What the function says to its sample event, or to this one: status and headers, and the body."""
    event = event or sample(name)
    store = {"HECTOR_STORE": "memory:", "HECTOR_QUEUE": ""}
    async with Emulator.from_template(template, parameters=built.PARAMETERS, environment=store) as aws:
        call = await aws.invoke(SAMPLES[name], event)
        content = await call.read()
        assert call.error is None, call.error
        if call.mode == "streaming":
            prelude, _, body = content.partition(bytes(8))
            return json.loads(prelude), body.decode()
        response = json.loads(content)
        return response, response["body"]


async def test_create_session(built_template: Path) -> None:
    head, body = await answer(built_template, "create_session")
    assert head["statusCode"] == 201
    assert json.loads(body)["agentId"] == "support_agent"
    host = "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/prod"
    assert head["headers"]["location"] == f"{host}/sessions/{json.loads(body)['sessionId']}"


async def test_post_task(built_template: Path) -> None:
    head, body = await answer(built_template, "post_task")
    assert head["statusCode"] == 200
    assert "Alice" in body


async def test_stream_response(built_template: Path) -> None:
    head, body = await answer(built_template, "stream_response")
    assert head["statusCode"] == 200
    assert head["headers"]["content-type"].startswith("text/event-stream")
    assert "event: message" in body
    assert '"state":"completed"' in body


@pytest.mark.parametrize("name", SAMPLES)
async def test_behind_a_custom_domain_with_a_base_path(built_template: Path, name: str) -> None:
    event = sample(name)
    head, _ = await answer(built_template, name, at(event, CUSTOM, "/v1" + event["path"]))
    assert head["statusCode"] in (200, 201)
    told = {"create_session": "location", "stream_response": "content-location"}
    if name in told:
        assert head["headers"][told[name]].startswith("https://api.example.com/v1/")


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_for_routes_of_their_function(name: str) -> None:
    from tests.lambda_.test_template import EXPECTED

    event = sample(name)
    assert EXPECTED[event["httpMethod"], event["resource"]][0] == SAMPLES[name]
