"""The builtin model answers from the conversation alone, and says so."""

from __future__ import annotations

import asyncio

import pytest

from hector.agents.base import Progress, Text, Turn
from hector.agents.builtin import BuiltinAgent
from hector.errors import AgentError
from hector.model import Message, Principal, Role, Session, Usage
from tests.support import said

SESSION = Session("s", "a", Principal("p"), 0, 0, 0, 0, 0)


async def answer(text: str, *history: str) -> str:
    roles = (Role.USER, Role.AGENT)
    shown = tuple(Message.of(roles[index % 2], line) for index, line in enumerate(history))
    turn = Turn("t", SESSION, said(text), shown)
    return "".join([output.text async for output in BuiltinAgent().answer(turn) if isinstance(output, Text)])


async def test_it_knows_the_name_from_the_history_only() -> None:
    assert await answer("My name is Alice") == ("Nice to meet you, Alice. I will remember your name in this session.")
    assert await answer("What is my name?", "My name is Alice", "Hi") == "Your name is Alice."
    assert await answer("what's my name", "Call me Al", "Hi", "no, my name is Bob", "ok") == "Your name is Bob."
    assert await answer("What is my name?") == "You have not told me your name yet."


async def test_it_starts_as_the_page_shows_and_says_what_it_is() -> None:
    text = await answer("Explain quantum computing")
    assert text.startswith("Quantum computing ")
    assert "stand-in" in text
    assert "hector.yaml" in text


async def test_it_summarises_what_the_user_said_and_knows_that_later() -> None:
    history = (said("My name is Alice"), Message.of(Role.AGENT, "Hi"), said("I  like\ntrains " * 20))
    asked = Turn("t", SESSION, said("Summarise."), history, summary="The user said: “hello”", summarises=True)
    outputs = [output async for output in BuiltinAgent(delay=60).answer(asked)]
    summary = "".join(output.text for output in outputs if isinstance(output, Text))
    lines = summary.splitlines()
    assert lines[:2] == ["The user said: “hello”", "The user said: “My name is Alice”"]
    assert lines[2].endswith("I like trains I…”")
    later = Turn("t", SESSION, said("What is my name?"), summary=summary)
    assert [output async for output in BuiltinAgent().answer(later)][-2] == Text(" Alice.")


async def test_it_refers_to_what_was_said() -> None:
    assert "Before that you said: “blue”" in await answer("and red", "blue", "fine")


async def test_it_counts_at_length_and_reports_usage() -> None:
    outputs = [output async for output in BuiltinAgent().answer(Turn("t", SESSION, said("count to 1000")))]
    assert "".join(o.text for o in outputs if isinstance(o, Text)) == " ".join(map(str, range(1, 1001)))
    assert outputs[-1] == Usage(input_tokens=3, output_tokens=1000)


async def test_it_can_be_slow_and_silent() -> None:
    turn = Turn("t", SESSION, said("count to 3 every 50 ms"))
    started = asyncio.get_running_loop().time()
    assert len([output async for output in BuiltinAgent().answer(turn)]) == 4
    assert asyncio.get_running_loop().time() - started >= 0.1
    silent = BuiltinAgent().answer(Turn("t", SESSION, said("be silent for 60 seconds")))
    assert await anext(silent) == Progress("silent for 60 s")
    await silent.aclose()


async def test_it_fails_when_asked_to() -> None:
    with pytest.raises(AgentError, match="as it was asked to"):
        await answer("fail, please")
