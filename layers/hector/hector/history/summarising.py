"""The older part of a conversation, summarised by the agent's own model: once, and then stored."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from hector.agents.base import Agent, Progress, Text, Turn
from hector.errors import HectorError
from hector.history.measures import Measure
from hector.history.messages import conversation
from hector.model import Message, Role, Summary, Task, Usage, clean_text
from hector.stores.base import Lease, Store

logger = logging.getLogger(__name__)

NOTE = "Summarising the earlier conversation"
MOST_CHARACTERS = 8_000
MOST_PIECES = 5
"""Calls of the model in one turn. An imported conversation may be longer than they reach."""
_SYSTEM = (
    "You keep the memory of a conversation between a user and an assistant. When you are asked for it, you write a"
    " summary that the assistant will have in place of the messages."
)
_BEFORE = "\n\nThe summary so far, of what was said before these messages:\n"
_REQUEST = (
    "Do not answer any of this. Summarise the conversation so far, and what the summary before it says, if there is"
    " one. Keep names, facts, numbers, decisions, what the user wants, and what is still open. Write in the language of"
    " the conversation, at most 200 words, and nothing but the summary."
)

_LEFT_OUT = re.compile(r"\((\d+) messages are not part of this summary\.\)\n")


class Summarising:
    """`seconds` is how long all that is made in one turn may take."""

    def __init__(self, agent: Agent, store: Store, lease: Lease, measure: Measure, *, seconds: float) -> None:
        self._agent = agent
        self._store = store
        self._lease = lease
        self._measure = measure
        self._seconds = seconds

    async def of(
        self, turn: Turn, before: Summary | None, older: Sequence[Task]
    ) -> AsyncGenerator[Progress | Usage | Summary, None]:
        """Each new summary, which goes a piece further than the one before, and is stored; what it cost; and notes.

        It ends early, and raises nothing, when a piece fails, takes too long or comes out empty.
        """
        ends_at = asyncio.get_running_loop().time() + self._seconds
        missing = older[0].turn - 1 - (before.through if before else 0)
        pieces = await self._pieces(older)
        for number, piece in enumerate(pieces):
            yield Progress(NOTE, number / len(pieces) if len(pieces) > 1 else None)
            texts: list[str] = []
            usage = Usage(0, 0)
            problem = "it is empty"
            try:
                async with asyncio.timeout_at(ends_at):
                    request = await self._request(turn, before, piece)
                    async with aclosing(self._agent.answer(request)) as outputs:
                        async for output in outputs:
                            match output:
                                case Text(text):
                                    texts.append(text)
                                case Usage():
                                    usage = output
                            if sum(map(len, texts)) > MOST_CHARACTERS:
                                break
            except Exception as error:  # noqa: BLE001 - whatever it is, the turn can do without
                texts, problem = [], f"{type(error).__name__}: {error}"
            yield usage
            made = clean_text("".join(texts)).strip()[:MOST_CHARACTERS]
            text = (await self._measure.shortened(_left_out(before, missing) + made)).strip() if made else ""
            if not text:
                logger.warning("no summary in session %s, turn goes on without: %s", turn.session.id, problem)
                return
            before, missing = Summary(text, piece[-1].turn), 0
            await self._save(before)
            yield before

    async def _pieces(self, older: Sequence[Task]) -> list[list[Task]]:
        pieces: list[list[Task]] = []
        room = 0
        for task, size in zip(older, await self._measure.of(older), strict=True):
            if size > room or not pieces:
                pieces.append([])
                room = self._measure.piece
            pieces[-1].append(task)
            room -= size
        return pieces

    async def _request(self, turn: Turn, before: Summary | None, piece: Sequence[Task]) -> Turn:
        shown = await self._measure.cut([message.without_files() for message in conversation(piece)])
        return Turn(
            turn.task_id,
            turn.session,
            Message.of(Role.USER, _REQUEST),
            tuple(shown),
            _SYSTEM + (_BEFORE + before.text if before else ""),
            summary=before.text if before else None,
            summarises=True,
        )

    async def _save(self, summary: Summary) -> None:
        try:
            await self._store.save_summary(self._lease, summary)
        except HectorError as error:
            logger.warning("the summary of session %s is not stored: %s", self._lease.session.id, error)


def _left_out(before: Summary | None, turns: int) -> str:
    """What a summary begins with if there are messages that it knows nothing of: these turns, and those before."""
    earlier = _LEFT_OUT.match(before.text) if before else None
    messages = 2 * turns + (int(earlier[1]) if earlier else 0)
    return f"({messages} messages are not part of this summary.)\n" if messages else ""
