"""The one entry: what a turn's agent is given of the conversation before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hector.agents.base import Agent, ServedAgent, Turn
from hector.concurrency import side_by_side
from hector.history.messages import conversation
from hector.history.past import Past
from hector.model import Principal, Summary, Task
from hector.stores.base import Lease, Store

if TYPE_CHECKING:
    from hector.agents.tokens.base import Tokenizer
    from hector.history.counting import Counter
    from hector.history.notes import Notes

_MOST_AT_FIRST = 50
"""Turns read before the session's agent is known; one that is shown more reads again."""
_TYPICAL_TURN = 200
"""Tokens."""
_SUMMARY_SECONDS = 60.0
"""How long summaries may take in one turn; never more than half of the turn's time."""


class Known:
    """What has been read of a session: its newest turns, oldest first, and the summary of older ones."""

    def __init__(self, ended: Sequence[Task] = (), summary: Summary | None = None) -> None:
        # No dataclass: making one takes as long as all else here, on every cold start.
        self.ended = ended
        self.summary = summary


NOTHING_KNOWN = Known()


class History:
    """`read` side by side with the session, then `recall` under the turn's lease."""

    def __init__(self, store: Store, agents: Iterable[ServedAgent]) -> None:
        agents = list(agents)
        self._store = store
        self._summaries = any(agent.summarises for agent in agents)
        shown = max((_turns_at_first(agent) for agent in agents), default=0)
        self._at_first = max(1, min(shown, _MOST_AT_FIRST))
        self._notes = _notes() if any(agent.tokens or agent.summarises for agent in agents) else None
        self._counters: dict[Tokenizer | None, Counter] = {}

    async def read(self, principal: Principal, session_id: str) -> Known:
        """What most turns need, in one round trip. Raises NotFound."""
        limit = self._notes.depth(session_id, self._at_first) if self._notes else self._at_first
        history = self._store.read_history(principal, session_id, limit=limit)
        if not self._summaries:
            return Known(await history)
        return Known(*await side_by_side(history, self._store.read_summary(principal, session_id)))

    async def recall(
        self, served: ServedAgent, lease: Lease, task: Task, known: Known, *, seconds: float
    ) -> tuple[Agent, Turn]:
        """The agent to run and its turn, which may take so many seconds; `known` is what `read` gave, perhaps long ago.

        Where tokens are counted or a summary is made, the agent does that first, as part of its answer: so it can be
        canceled, and clients are told. Raises NotFound, StoreUnavailable.
        """
        turn = Turn(task.id, lease.session, task.input, system=served.system)
        past = Past(self._store, lease.session, known.ended)
        if served.tokens is None and not served.summarises:
            count = served.window // 2
            turns = await past.newest(count)
            return served.agent, replace(turn, history=conversation(turns[max(len(turns) - count, 0) :]))
        if past.head and not past.known:
            known = await self.read(lease.session.principal, lease.session.id)
            past = Past(self._store, lease.session, known.ended)
        return self._remembering(served, lease, past, known.summary, seconds), turn

    def _remembering(
        self, served: ServedAgent, lease: Lease, past: Past, summary: Summary | None, seconds: float
    ) -> Agent:
        # Imported here: most agents have a window, and need none of this when they start.
        from hector.history.measures import ByTokens, ByTurns
        from hector.history.remembering import Remembering
        from hector.history.summarising import Summarising

        counter = None if served.tokens is None else self._counter(served.tokenizer)
        measure = ByTurns(served.window // 2) if counter is None else ByTokens(counter, served.tokens or 0)
        seconds = min(_SUMMARY_SECONDS, seconds / 2)
        summarising = Summarising(served.agent, self._store, lease, measure, seconds=seconds)
        return Remembering(
            served.agent,
            past,
            measure,
            self._notes or _notes(),
            counter=counter,
            summary=summary if served.summarises else None,
            summarising=summarising if served.summarises else None,
        )

    def _counter(self, tokenizer: Tokenizer | None) -> Counter:
        from hector.history.counting import Counter

        if tokenizer not in self._counters:
            self._counters[tokenizer] = Counter(tokenizer)
        return self._counters[tokenizer]


def _notes() -> Notes:
    from hector.history.notes import Notes

    return Notes()


def _turns_at_first(agent: ServedAgent) -> int:
    if agent.tokens is not None:
        return agent.tokens // _TYPICAL_TURN
    return agent.window // 2 + (1 if agent.summarises else 0)
