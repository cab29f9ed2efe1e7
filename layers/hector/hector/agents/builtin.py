"""The builtin model: deterministic, offline, and honest about being a stand-in.

It knows nothing but the conversation that it is handed, so what it remembers proves that context really flows. It can
count at length ("count to 500"), slowly ("count to 20 slowly", "... every 200 ms"), keep silent ("be silent for 30
seconds") and fail ("fail please"), to try out streaming, resuming, cancelling and failures.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from textwrap import shorten

from hector.agents.base import Output, Progress, Text, Turn
from hector.errors import AgentError
from hector.model import Role, Usage

_NAME_GIVEN = re.compile(r"\b(?:my name is|i am called|call me)\s+([^\W\d_][\w'-]*)", re.IGNORECASE)
_NAME_ASKED = re.compile(r"\bwhat(?:'s|\s+is)\s+my\s+name\b", re.IGNORECASE)
_EXPLAIN = re.compile(r"\b(?:explain|describe|tell me about)\s+(.+?)[\s.?!]*$", re.IGNORECASE)
_COUNT = re.compile(r"\bcount (?:up )?to (\d{1,6})\b(.*)", re.IGNORECASE | re.DOTALL)
_EVERY = re.compile(r"\bevery (\d{1,5}) ?ms\b", re.IGNORECASE)
_SILENT = re.compile(r"\bbe silent for (\d{1,4}) ?s", re.IGNORECASE)
_FAIL = re.compile(r"^\s*fail,?\s+please\b", re.IGNORECASE)
_SLOW_SECONDS = 0.25
_SUMMARY_WIDTH = 100
_SUMMARY_LINES = 50
_STAND_IN = (
    "I am Hector's builtin stand-in, not a language model: I work offline and know nothing but this conversation."
    " To get real answers, configure an llm in hector.yaml."
)


class Words:
    """The builtin model's tokenizer."""

    async def count(self, texts: Sequence[str]) -> list[int]:
        return [_count(text) for text in texts]


class BuiltinAgent:
    """`delay` is the pause between two pieces of an answer, in seconds."""

    def __init__(self, delay: float = 0.0) -> None:
        self._delay = delay

    async def answer(self, turn: Turn) -> AsyncGenerator[Output, None]:
        if _FAIL.search(turn.text):
            raise AgentError("asked_to_fail", "The builtin agent failed, as it was asked to.")
        delay, pieces = self._delay, _tokens(_summary(turn) if turn.summarises else _reply(turn))
        if turn.summarises:
            delay = 0.0
        elif silent := _SILENT.search(turn.text):
            yield Progress(f"silent for {silent[1]} s")
            await asyncio.sleep(int(silent[1]))
            pieces = _tokens("I was silent.")
        elif count := _COUNT.search(turn.text):
            every = _EVERY.search(count[2])
            if every:
                delay = int(every[1]) / 1000
            elif "slow" in count[2].lower():
                delay = _SLOW_SECONDS
            pieces = (f" {number}" if number > 1 else "1" for number in range(1, int(count[1]) + 1))
        produced, so_far = 0, turn.so_far
        for piece in pieces:
            if so_far.startswith(piece):
                so_far = so_far.removeprefix(piece)
                continue
            if produced and delay:
                await asyncio.sleep(delay)
            produced += 1
            yield Text(piece)
        shown = _count(turn.system or "") + sum(_count(message.text) for message in turn.shown)
        yield Usage(input_tokens=shown, output_tokens=produced)

    def tokenizer(self) -> Words:
        return Words()

    async def aclose(self) -> None:
        pass


def _reply(turn: Turn) -> str:
    text = turn.text.strip()
    said = _said(turn)
    if _NAME_ASKED.search(text):
        names = [match[1] for earlier in (turn.summary or "", *said, text) for match in _NAME_GIVEN.finditer(earlier)]
        return f"Your name is {names[-1]}." if names else "You have not told me your name yet."
    if name := _NAME_GIVEN.search(text):
        return f"Nice to meet you, {name[1]}. I will remember your name in this session."
    if topic := _EXPLAIN.search(text):
        return f"{topic[1][0].upper()}{topic[1][1:]} is what you asked about. {_STAND_IN}"
    before = f" Before that you said: “{said[-1]}”." if said else ""
    return f"You said: “{text}”.{before} {_STAND_IN}"


def _said(turn: Turn) -> list[str]:
    """What the user said before, as far as it is shown word by word."""
    return [message.text for message in turn.history if message.role is Role.USER]


def _summary(turn: Turn) -> str:
    """The beginning of everything that the user said; no model is needed for that."""
    lines = [f"The user said: “{shorten(text, _SUMMARY_WIDTH, placeholder='…')}”" for text in _said(turn)]
    return "\n".join([*(turn.summary or "").splitlines(), *lines][-_SUMMARY_LINES:])


def _tokens(text: str) -> Iterator[str]:
    """Words, each with the white space before it, as language models cut their answers."""
    return iter(re.findall(r"\s*\S+", text))


def _count(text: str) -> int:
    return len(text.split())
