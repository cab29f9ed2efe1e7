"""An agent that first finds out what of the conversation its model is shown, and then answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from hector.agents.base import Agent, Output, Progress, Turn
from hector.errors import AgentError, NotFound, StoreUnavailable
from hector.history.counting import Counter
from hector.history.fitting import newest_within
from hector.history.measures import Measure
from hector.history.messages import conversation
from hector.history.notes import Notes
from hector.history.past import Past
from hector.history.summarising import MOST_PIECES, Summarising
from hector.model import Summary, Task, Usage


@dataclass(slots=True)
class View:
    """What is shown: `turns`, word by word, after the `summary`; `counted` are the tokens of all, if known."""

    turns: Sequence[Task]
    summary: Summary | None
    counted: int = 0


class Remembering:
    """`summarising` makes what does not fit any more a summary; without it, that is not shown at all."""

    def __init__(
        self,
        agent: Agent,
        past: Past,
        measure: Measure,
        notes: Notes,
        *,
        counter: Counter | None = None,
        summary: Summary | None = None,
        summarising: Summarising | None = None,
    ) -> None:
        self._agent = agent
        self._past = past
        self._measure = measure
        self._notes = notes
        self._counter = counter
        self._summary = summary
        self._summarising = summarising

    async def answer(self, turn: Turn) -> AsyncGenerator[Output, None]:
        session_id, head = turn.session.id, self._past.head
        spent = Usage(0, 0)
        older: Sequence[Task] = ()
        try:
            view = await self._fitting(turn)
            if self._summarising and self._notes.may_summarise(session_id, head):
                older = await self._older(turn) if len(view.turns) < head - _through(self._summary) else ()
            if self._summarising and older:
                async with aclosing(self._summarising.of(turn, self._summary, older)) as made:
                    async for step in made:
                        match step:
                            case Progress():
                                yield step
                            case Usage():
                                spent = _sum(spent, step)
                                yield spent
                            case Summary():
                                self._summary = step
                failed = _through(self._summary) < older[-1].turn
                self._notes.summarised(session_id, head, failed=failed)
                view = await self._fitting(turn)
        except (StoreUnavailable, NotFound) as error:
            raise AgentError(
                "history_unavailable", "The earlier conversation could not be read. Send the message again."
            ) from error
        self._notes.needed(session_id, len(view.turns))
        reported = 0
        shown = self._shown(turn, view)
        async with aclosing(self._agent.answer(shown)) as outputs:
            async for output in outputs:
                if isinstance(output, Usage):
                    reported = output.input_tokens
                    output = _sum(spent, output)
                yield output
        if self._counter and not any(message.has_files for message in shown.shown):
            self._counter.learn(view.counted, reported)

    async def aclose(self) -> None:
        await self._agent.aclose()

    async def _fitting(self, turn: Turn) -> View:
        summary = self._summary
        for shown in (summary, None) if summary else (None,):
            after = _through(shown)
            around = _with_summary(turn, shown, self._past.head)
            if (all_ := await self._all(after)) is not None and self._measure.surely_fits(all_, around):
                return View(all_, shown)
            room = await self._measure.room(around)
            if room >= 0 or shown is None:
                break
        turns = await newest_within(self._past, self._measure, room, after=after)
        if self._counter is None:
            return View(turns, shown)
        counted = await self._counter.shown(around.system, *around.shown) + sum(await self._counter.of(turns))
        return View(turns, shown, counted)

    async def _all(self, after: int) -> list[Task] | None:
        """All turns after that number, if they have been read."""
        if self._past.known < self._past.head - after:
            return None
        return [task for task in await self._past.newest(self._past.known) if task.turn > after]

    async def _older(self, turn: Turn) -> Sequence[Task]:
        """What is to be summarised now."""
        after = _through(self._summary)
        about, most = await self._measure.kept(turn)
        kept = await newest_within(self._past, self._measure, about, after=after)
        kept = kept or (await newest_within(self._past, self._measure, most, after=after))[-1:]
        piece = self._measure.piece
        reached = await newest_within(self._past, self._measure, most + MOST_PIECES * piece, after=after, largest=piece)
        return reached[: len(reached) - len(kept)]

    def _shown(self, turn: Turn, view: View) -> Turn:
        missing = self._past.head - _through(view.summary) - len(view.turns)
        return replace(_with_summary(turn, view.summary, missing), history=conversation(view.turns))


def _with_summary(turn: Turn, summary: Summary | None, missing: int) -> Turn:
    """The turn with a summary in its system prompt, and how many turns are missing between that and the history."""
    if summary is None:
        return turn
    text = f"What was said earlier in this conversation, in short:\n{summary.text}"
    if missing:
        text += f"\n({2 * missing} messages after that are left out here.)"
    return replace(turn, system=f"{turn.system}\n\n{text}" if turn.system else text, summary=summary.text)


def _through(summary: Summary | None) -> int:
    return summary.through if summary else 0


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(one.input_tokens + other.input_tokens, one.output_tokens + other.output_tokens)
