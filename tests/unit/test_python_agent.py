"""A Python callable as an agent: every way to answer, and every way to be wrong."""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hector.agents.base import Output, Progress, Text, Turn
from hector.agents.python import PythonAgent, load_target
from hector.errors import AgentError, ConfigError
from hector.model import Principal, Session, Usage
from tests.support import said, wait_until

TURN = Turn("t", Session("s", "a", Principal("p"), 0, 0, 0, 0, 0), said("hello"))


def returns(turn: Turn) -> str:
    return f"you said {turn.text}"


def yields(turn: Turn) -> Iterator[str]:
    yield "you said "
    yield turn.text


def gives_a_list(turn: Turn) -> list[str]:
    return ["you said ", turn.text]


async def returns_async(turn: Turn) -> str:
    return f"you said {turn.text}"


async def yields_async(turn: Turn) -> AsyncIterator[str]:
    yield "you said "
    yield turn.text


async def returns_a_stream(turn: Turn) -> AsyncIterator[str]:
    return yields_async(turn)


class Callable_:
    async def __call__(self, turn: Turn) -> AsyncIterator[str]:
        yield f"you said {turn.text}"


async def outputs(function: Callable[..., Any]) -> list[Output]:
    return [output async for output in PythonAgent(function).answer(TURN)]


@pytest.mark.parametrize(
    "function",
    [
        *(returns, yields, gives_a_list, returns_async, yields_async, returns_a_stream, Callable_()),
        *(functools.partial(returns_async), functools.partial(yields_async), functools.partial(returns)),
        *(lambda turn: returns_async(turn), lambda turn: yields_async(turn)),
    ],
)
async def test_every_way_to_answer(function: Callable[..., Any]) -> None:
    assert "".join(o.text for o in await outputs(function) if isinstance(o, Text)) == "you said hello"


async def test_progress_and_usage_pass_through() -> None:
    assert await outputs(lambda turn: [Progress("half", 0.5), "x", Usage(1, 2)]) == [
        Progress("half", 0.5), Text("x"), Usage(1, 2),
    ]  # fmt: skip


async def test_nothing_is_an_empty_answer() -> None:
    assert await outputs(lambda turn: None) == []


@pytest.mark.parametrize("function", [lambda turn: 7, lambda turn: [b"bytes"], lambda turn: {1: 2}])
async def test_anything_else_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(AgentError, match=r"answer\(turn\) must give str, Text, Progress, Usage or Truncated"):
        await outputs(function)


async def test_what_a_thread_raises_is_raised_here() -> None:
    def fails(turn: Turn) -> Iterator[str]:
        yield "a"
        raise ZeroDivisionError

    answer = PythonAgent(fails).answer(TURN)
    assert await anext(answer) == Text("a")
    with pytest.raises(ZeroDivisionError):
        await anext(answer)


async def test_an_abandoned_thread_ends_at_its_next_piece_and_runs_at_most_a_little_ahead() -> None:
    produced = 0
    ended = threading.Event()

    def endless(turn: Turn) -> Iterator[str]:
        nonlocal produced
        try:
            while True:
                produced += 1
                yield "x"
        finally:
            ended.set()

    answer = PythonAgent(endless).answer(TURN)
    await anext(answer)
    await asyncio.sleep(0.2)
    assert produced < 1000
    await answer.aclose()
    await wait_until(ended.is_set)


async def test_many_abandoned_threads_do_not_keep_others_from_answering() -> None:
    def blocked(turn: Turn) -> str:
        time.sleep(3)
        return "late"

    waiting = [asyncio.ensure_future(anext(PythonAgent(blocked).answer(TURN))) for _ in range(50)]
    await asyncio.sleep(0.05)
    for one in waiting:
        one.cancel()
    assert await asyncio.wait_for(outputs(returns), 2) == [Text("you said hello")]
    await asyncio.gather(*waiting, return_exceptions=True)


def test_a_target_is_found_or_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_test_module.py").write_text("def answer(turn): return 'hi'\nvalue = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_target("my_test_module:answer")(TURN) == "hi"
    for target, says in [
        ("my_test_module", "must have the form module:function"),
        ("my_test_module:", "must have the form module:function"),
        ("my_test_module:value", "has no function 'value'"),
        ("my_test_module:nothing", "has no function 'nothing'"),
        ("no_such_module:answer", "cannot import 'no_such_module'"),
    ]:
        with pytest.raises(ConfigError, match=says):
            load_target(target)
    sys.modules.pop("my_test_module")
