"""After every failure of a model that there is a code for, its session goes on: each code, on each kind of server."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from starlette.responses import JSONResponse, Response

from hector.agents.base import Agent
from hector.agents.failures import Code
from hector.model import Message, Part, Role, TaskState
from hector.services import Services
from tests.agents.test_every_model import in_turn
from tests.agents.wires import WIRES, Answer, Wire, model_server, streaming
from tests.support import ALICE, ask, new_session, said, services_with

HELLO = said("hello")
ARCHIVE = Message(Role.USER, (Part(raw=b"\xff\x00", media_type="application/zip"),))
URLS = {wire.path: ["endpoint_url" if name == "bedrock" else "base_url"] for name, wire in WIRES.items()}
NOWHERE = "http://127.0.0.1:9"
NOT_THERE = {("openai", Code.SDK_MISSING), ("openai", Code.MISCONFIGURED), ("anthropic", Code.MISCONFIGURED)}
"""The openai agent needs no SDK, and neither it nor anthropic has a setting that only a turn shows to be wrong."""


class Way(NamedTuple):
    """How a failure is brought about: by what the server says, the agent's settings, or what it finds here."""

    answer: Answer | Response | None = None
    settings: Mapping[str, Any] = MappingProxyType({})
    breaks: Callable[[pytest.MonkeyPatch], None] | None = None
    message: Message = HELLO


def _not_understood(wire: Wire) -> Answer | Response:
    if wire is WIRES["openai"]:
        return JSONResponse({"hello": "there"})
    if wire is WIRES["anthropic"]:
        return streaming(wire, wire.pieces("half"), [b"event: content_block_delta\ndata: {broken\n\n"])
    *_, last = wire.pieces("half")
    return streaming(wire, [last[:-1] + bytes([last[-1] ^ 1])])


def _without_credentials(wire: Wire) -> Way:
    if wire is WIRES["bedrock"]:
        return Way(breaks=lambda patch: patch.delenv("AWS_ACCESS_KEY_ID"))
    if wire is WIRES["anthropic"]:
        return Way(settings={"api_key": None})
    return Way(wire.refusal(401, "who are you?"), {"api_key": "none"})


def _no_sdk(patch: pytest.MonkeyPatch) -> None:
    for module in ("anthropic", "botocore.session"):
        patch.setitem(sys.modules, module, None)


WAYS: dict[Code, Callable[[Wire], Way]] = {
    Code.NO_CREDENTIALS: _without_credentials,
    Code.UNAUTHORIZED: lambda wire: Way(wire.refusal(401, "wrong key")),
    Code.NOT_FOUND: lambda wire: Way(wire.refusal(404, "no such model")),
    Code.MISCONFIGURED: lambda wire: Way(settings={"region": None}),
    Code.THROTTLED: lambda wire: Way(wire.refusal(429, "busy")),
    Code.OVERLOADED: lambda wire: Way(wire.refusal(503, "overloaded")),
    Code.UNREACHABLE: lambda wire: Way(settings=dict.fromkeys(URLS[wire.path], NOWHERE)),
    Code.TIMEOUT: lambda wire: Way(wire.refusal(504, "too slow")),
    Code.DISCONNECTED: lambda wire: Way(streaming(wire, wire.pieces("half"))),
    Code.BAD_ANSWER: lambda wire: Way(_not_understood(wire)),
    Code.REFUSED: lambda wire: Way(wire.refusal(400, "no")),
    Code.FILTERED: lambda wire: Way(streaming(wire, wire.pieces("half"), wire.end("filter"))),
    Code.OVERFLOW: lambda wire: Way(wire.refusal(400, wire.overflow)),
    Code.UNSUPPORTED: lambda wire: Way(message=ARCHIVE),
    Code.SDK_MISSING: lambda wire: Way(breaks=_no_sdk),
}
CASES = [(name, code) for code in Code for name in sorted(WIRES) if (name, code) not in NOT_THERE]


def with_agent(services: Services, agent: Agent) -> Services:
    agents = {id_: replace(served, agent=agent) for id_, served in services.agents.items()}
    services.turns._agents = agents
    return replace(services, agents=agents)


def test_every_code_is_brought_about_and_explained() -> None:
    assert set(WAYS) == set(Code)
    documented = (Path(__file__).parents[2] / "docs/models.md").read_text().partition("## When it goes wrong")[2]
    assert re.findall(r"^\| `(\w+)` \|", documented, re.MULTILINE) == list(Code)


@pytest.mark.parametrize(("name", "code"), CASES)
async def test_after_this_failure_the_session_goes_on(name: str, code: Code, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = WIRES[name]
    way = WAYS[code](wire)
    bad = [] if way.answer is None else [way.answer] * (3 if code in (Code.THROTTLED, Code.OVERLOADED) else 1)
    answer, _ = in_turn(*bad, streaming(wire, wire.pieces("well"), wire.end()))
    async with model_server(wire, answer) as url:
        agent = wire.agent(url, **way.settings)
        services = services_with(agent=agent)
        session_id = await new_session(services)
        with monkeypatch.context() as patch:
            if way.breaks:
                way.breaks(patch)
            failed = await services.follow.ended(ALICE, await services.turns.start(ALICE, session_id, way.message))
        assert failed.error is not None
        assert (failed.state, failed.error.code) == (TaskState.FAILED, code)
        if way.settings or way.breaks:
            await agent.aclose()
            services = with_agent(services, wire.agent(url))
        last = await ask(services, session_id, "hello again")
        assert (last.state, last.output) == (TaskState.COMPLETED, Message.of(Role.AGENT, "well"))
        await services.aclose()
