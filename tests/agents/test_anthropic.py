"""The anthropic agent: what the SDK sends, and what only this API says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from hector.agents.base import Text, Truncated
from hector.errors import AgentError
from hector.model import StopReason, Usage
from tests.agents.wires import WIRES, AnthropicWire, Wire, model_server, outputs, streaming


@pytest.fixture
def wire() -> Wire:
    return WIRES["anthropic"]


def key_of(request: Request) -> str:
    """In the one header or the other: that is the SDK's affair, and has changed."""
    return request.headers.get("x-api-key") or request.headers["authorization"].removeprefix("Bearer ")


async def test_the_conversation_and_settings_are_sent(wire: Wire) -> None:
    received: list[tuple[str, Any]] = []

    async def answer(request: Request) -> Response:
        received.append((key_of(request), await request.json()))
        return await streaming(wire, wire.pieces("Alice"), wire.end())(request)

    async with model_server(wire, answer) as url:
        assert await outputs(wire.agent(url, temperature=0.2, max_tokens=50)) == [Text("Alice"), Usage(20, 3)]
    assert received == [
        ("key", {
            "model": "m", "stream": True, "temperature": 0.2, "max_tokens": 50, "system": "Be brief.",
            "messages": [
                {"role": "user", "content": "My name is Alice"},
                {"role": "assistant", "content": "Hello Alice"},
                {"role": "user", "content": "What is my name?"},
            ],
        }),
    ]  # fmt: skip


async def test_the_key_may_come_from_the_environment(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def answer(request: Request) -> Response:
        seen.append(key_of(request))
        return await streaming(wire, wire.pieces("Hi"), wire.end())(request)

    monkeypatch.setenv("ANTHROPIC_API_KEY", "from the environment")
    async with model_server(wire, answer) as url:
        await outputs(wire.agent(url, api_key=None))
    assert seen == ["from the environment"]


@pytest.fixture
def _no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The SDK looks for a profile where it would by itself, and finds none; it says so only with the first call."""
    monkeypatch.delenv("ANTHROPIC_CONFIG_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.mark.usefixtures("_no_folder")
async def test_neither_a_key_nor_a_profile(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(*_: object, **__: object) -> None:
        raise AssertionError("the SDK is not asked")

    monkeypatch.setattr("anthropic.resources.messages.AsyncMessages.create", create)
    with pytest.raises(AgentError, match="ANTHROPIC_API_KEY") as raised:
        await outputs(wire.agent("http://127.0.0.1:9", api_key=None))
    assert raised.value.code == "model_no_credentials"


async def test_no_credentials(wire: Wire) -> None:
    async with model_server(wire, streaming(wire, wire.pieces("Hi"), wire.end())) as url:
        with pytest.raises(AgentError, match="ANTHROPIC_API_KEY") as raised:
            await outputs(wire.agent(url, api_key=None))
    assert raised.value.code == "model_no_credentials"


async def test_what_else_speaks_of_authentication_is_no_missing_key(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(*_: object, **__: object) -> None:
        raise TypeError("authentication is a parameter that create() does not have")

    monkeypatch.setattr("anthropic.resources.messages.AsyncMessages.create", create)
    with pytest.raises(TypeError):
        await outputs(wire.agent("http://127.0.0.1:9"))


@pytest.mark.usefixtures("_no_folder")
async def test_credentials_may_be_a_header_that_the_sdk_is_told_to_send(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "Authorization: Bearer of a proxy")
    async with model_server(wire, streaming(wire, wire.pieces("Hi"), wire.end())) as url:
        assert await outputs(wire.agent(url, api_key=None)) == [Text("Hi"), Usage(20, 3)]


async def test_a_usage_that_is_none_is_left_out(wire: AnthropicWire) -> None:
    end = [
        wire._event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": "many"}),
        wire._event("message_stop"),
    ]
    async with model_server(wire, streaming(wire, wire.pieces("Hi"), end)) as url:
        assert await outputs(wire.agent(url)) == [Text("Hi")]


async def test_the_sdk_is_not_installed(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anthropic", None)
    with pytest.raises(AgentError, match=r"pip install 'hector-serverless\[anthropic\]'") as raised:
        await outputs(wire.agent("http://127.0.0.1:9"))
    assert raised.value.code == "sdk_missing"


async def test_thinking_is_not_part_of_the_answer(wire: AnthropicWire) -> None:
    thought = wire._event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hmm"})
    unknown = wire._event("something_new", value=1)
    frames = [*wire.pieces(), thought, unknown, *wire.pieces("Hi")[-1:], *wire.end()]
    async with model_server(wire, streaming(wire, frames)) as url:
        assert await outputs(wire.agent(url)) == [Text("Hi"), Usage(20, 3)]


async def test_an_answer_cut_by_the_context_window_tells_so(wire: AnthropicWire) -> None:
    stop, usage = {"stop_reason": "model_context_window_exceeded"}, {"output_tokens": 3}
    end = [wire._event("message_delta", delta=stop, usage=usage), wire._event("message_stop")]
    async with model_server(wire, streaming(wire, wire.pieces("half"), end)) as url:
        assert await outputs(wire.agent(url)) == [
            Text("half"), Usage(20, 3), Truncated(StopReason.CONTEXT_WINDOW),
        ]  # fmt: skip


async def test_an_event_that_is_not_json_is_a_failure(wire: Wire) -> None:
    broken = b"event: content_block_delta\ndata: {broken\n\n"
    async with model_server(wire, streaming(wire, wire.pieces("half"), [broken])) as url:
        with pytest.raises(AgentError) as raised:
            await outputs(wire.agent(url))
    assert raised.value.code == "model_bad_answer"
