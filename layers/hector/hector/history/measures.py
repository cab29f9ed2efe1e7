"""How much of a conversation the model is shown: a number of turns, or of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from hector.agents.base import Turn
from hector.history.counting import Counter
from hector.history.fitting import Sizes
from hector.model import Message, Part, Task

_CUT = "\n[…]\n"


class Measure(Sizes, Protocol):
    @property
    def piece(self) -> int:
        """How much is summarised at once."""

    def surely_fits(self, turns: Sequence[Task], turn: Turn) -> bool:
        """Whether turns fit beside the system prompt and message of this one, as far as that shows without counting."""

    async def room(self, turn: Turn) -> int:
        """What these leave for the history; below 0 if even they are too much."""

    async def kept(self, turn: Turn) -> tuple[int, int]:
        """How much of the history stays as it is when the rest is summarised: about half; and if need be, at most."""

    async def cut(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Messages to be summarised, with what does not fit into a piece cut out of them."""

    async def shortened(self, summary: str) -> str:
        """What fits of a summary."""


class ByTurns:
    def __init__(self, most: int) -> None:
        self.piece = self._most = most

    async def of(self, turns: Sequence[Task]) -> list[int]:
        return [1] * len(turns)

    def surely_fits(self, turns: Sequence[Task], turn: Turn) -> bool:
        return len(turns) <= self._most

    async def room(self, turn: Turn) -> int:
        return self._most

    async def kept(self, turn: Turn) -> tuple[int, int]:
        return self._most // 2, self._most

    async def cut(self, messages: Sequence[Message]) -> Sequence[Message]:
        return messages

    async def shortened(self, summary: str) -> str:
        return summary


class ByTokens:
    """A summary may have a quarter of the budget, and what is summarised at once the half of it."""

    def __init__(self, counter: Counter, budget: int) -> None:
        self._counter = counter
        self._budget = budget
        self.piece = budget // 2

    async def of(self, turns: Sequence[Task]) -> list[int]:
        return await self._counter.of(turns)

    def surely_fits(self, turns: Sequence[Task], turn: Turn) -> bool:
        return self._counter.at_most(turns, turn.system, *turn.shown) <= self._budget

    async def room(self, turn: Turn) -> int:
        return self._budget - await self._counter.shown(turn.system, *turn.shown)

    async def kept(self, turn: Turn) -> tuple[int, int]:
        quarter = self._budget // 4
        most = max(quarter, await self.room(turn) - quarter)
        return min(2 * quarter, most), most

    async def cut(self, messages: Sequence[Message]) -> Sequence[Message]:
        while (tokens := await self._counter.shown(None, *messages)) > self.piece:
            share = self.piece / tokens * 0.9
            shorter = [_without_middle(message, share) for message in messages]
            if shorter == messages:
                break
            messages = shorter
        return messages

    async def shortened(self, summary: str) -> str:
        most = self._budget // 4
        while (tokens := await self._counter.text(summary)) > most:
            summary = summary[: int(len(summary) * most / tokens * 0.95)].rstrip()
        return summary


def _without_middle(message: Message, share: float) -> Message:
    text = message.text.replace(_CUT, "")
    half = int(len(text) * share) // 2
    return replace(message, parts=(Part(text[:half] + _CUT + text[len(text) - half :]),))
