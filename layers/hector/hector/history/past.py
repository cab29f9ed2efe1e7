"""The turns of a session that have ended, read from the newest back, only as far as they are needed."""

from __future__ import annotations

from collections.abc import Sequence

from hector.model import Session, Task
from hector.stores.base import Store

MOST_TURNS = 500
"""Turns that are looked at, at most: a turn costs the same however long its session is."""


class Past:
    """`session` as it was when its lease was claimed: no turn ends while that is held."""

    def __init__(self, store: Store, session: Session, known: Sequence[Task]) -> None:
        self._store = store
        self._session = session
        self._turns = known if known and known[-1].turn == session.turns else []

    @property
    def head(self) -> int:
        """How many turns have ended."""
        return self._session.turns

    @property
    def known(self) -> int:
        """How many have been read."""
        return len(self._turns)

    async def newest(self, count: int) -> Sequence[Task]:
        """At least so many turns, if there are, oldest first."""
        wanted = min(count, self.head, MOST_TURNS)
        if len(self._turns) < wanted:
            self._turns = await self._store.read_history(self._session.principal, self._session.id, limit=wanted)
        return self._turns
