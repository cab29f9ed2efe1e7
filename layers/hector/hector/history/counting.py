"""Tokens of messages and turns: counted once, kept in this process, and set right by what the model reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hector.agents.contents import decoded
from hector.agents.tokens.base import Tokenizer
from hector.agents.tokens.estimate import Estimate, file_tokens
from hector.history.messages import conversation
from hector.model import Message, Task

PER_MESSAGE = 5
"""What a chat's template adds to a message, about."""
_KEPT = 20_000
_RECENT = 1_000
_PRIOR = 500
"""Tokens that speak for counts being right already, against those that the model reports."""
_REMEMBERED = 50_000
_LEAST, _MOST = 0.5, 4.0


class Counter:
    """Counts for one model; without a tokenizer they are estimates, and nobody's reports are believed.

    An agent in Python, say, may call its model several times in a turn, and reports the sum.
    """

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self._learns = tokenizer is not None
        self._tokenizer = tokenizer or Estimate()
        self._kept: dict[str, int] = {}
        self._recent: dict[tuple[int, int], int] = {}
        self._counted = self._reported = float(_PRIOR)

    async def of(self, turns: Sequence[Task]) -> list[int]:
        """The tokens of turns that have ended, as the model is shown them."""
        new = [turn for turn in turns if turn.id not in self._kept]
        for turn, tokens in zip(new, await self._count([conversation([turn]) for turn in new]), strict=True):
            if len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[turn.id] = tokens
        return [self._right(self._kept[turn.id]) for turn in turns]

    async def shown(self, system: str | None, *messages: Message) -> int:
        """The tokens of a system prompt and messages."""
        (tokens,) = await self._count([messages], system or "")
        return self._right(tokens)

    async def text(self, text: str) -> int:
        (tokens,) = await self._counts([text])
        return self._right(tokens)

    def at_most(self, turns: Sequence[Task], system: str | None, *messages: Message) -> int:
        """Counted only as far as that is done already; no tokenizer makes more tokens of a text than it has bytes."""
        new = [turn for turn in turns if turn.id not in self._kept]
        text, more = _measured([*conversation(new), *messages])
        more += sum(self._kept.get(turn.id, 0) for turn in turns)
        most = len(f"{system or ''}{text}".encode("utf-8", "replace")) + more + PER_MESSAGE
        return math.ceil(most * max(self._ratio, 1.0))

    def learn(self, counted: int, reported: int) -> None:
        """The model reported so many tokens where so many were counted."""
        if self._learns and counted > 0 and reported > 0:
            self._counted += counted / self._ratio
            self._reported += reported
            if self._counted > _REMEMBERED:
                self._counted, self._reported = self._counted / 2, self._reported / 2

    @property
    def _ratio(self) -> float:
        return min(max(self._reported / self._counted, _LEAST), _MOST)

    def _right(self, tokens: int) -> int:
        return math.ceil(tokens * self._ratio)

    async def _count(self, groups: Sequence[Sequence[Message]], system: str = "") -> list[int]:
        measured = [_measured(messages) for messages in groups]
        texts = [f"{system}\n\n{text}" if system else text for text, _ in measured]
        more = [more + (PER_MESSAGE if system else 0) for _, more in measured]
        return [tokens + rest for tokens, rest in zip(await self._counts(texts), more, strict=True)]

    async def _counts(self, texts: Sequence[str]) -> list[int]:
        """The same text is counted several times on the way through a turn: the newest counts are kept."""
        places = [(len(text), hash(text)) for text in texts]
        new = [(place, text) for place, text in zip(places, texts, strict=True) if place not in self._recent]
        if len(self._recent) > _RECENT:
            self._recent.clear()
            return await self._counts(texts)
        if new:
            asked = [text for _, text in new]
            counts = await self._tokenizer.count(asked)
            counts = await Estimate().count(asked) if counts is None else counts
            self._recent.update(zip((place for place, _ in new), counts, strict=True))
        return [self._recent[place] for place in places]


def _measured(messages: Sequence[Message]) -> tuple[str, int]:
    """The text to be counted, and the tokens of everything else."""
    texts: list[str] = []
    more = PER_MESSAGE * len(messages)
    for part in (part for message in messages for part in message.parts):
        text = part.text if part.text is not None else decoded(part)
        if text is None:
            more += file_tokens(part)
        else:
            texts.append(text)
    return "\n\n".join(texts), more
