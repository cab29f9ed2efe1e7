"""The turns of a session that have ended, read from the newest back, only as far as they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hector.model import Session, Task
from hector.stores.base import Store

MOST_TURNS = 500
"""Turns that are looked at, at most: a turn costs the same however long its session is."""
_BATCH = 16
"""Turns that are measured at once."""


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


class Sizes(Protocol):
    async def of(self, turns: Sequence[Task]) -> list[int]:
        """The size of each turn, in the unit of a window."""


async def newest_within(
    past: Past, sizes: Sizes, room: int, *, after: int = 0, largest: int | None = None
) -> list[Task]:
    """The newest turns that fit into `room` together, oldest first, down to the one after number `after`.

    Whole turns only, and none is skipped: the first that does not fit ends it. `largest` is what one counts at most.
    """
    fitting: list[Task] = []  # the newest first
    most = min(past.head - after, MOST_TURNS)
    while len(fitting) < most:
        turns = await past.newest(past.known if past.known > len(fitting) else max(_BATCH, 2 * past.known))
        end = len(turns) - len(fitting)
        batch = turns[max(0, end - _BATCH, end - (most - len(fitting))) : end]
        if not batch:
            break
        for turn, size in zip(reversed(batch), reversed(await sizes.of(batch)), strict=True):
            room -= size if largest is None else min(size, largest)
            if room < 0:
                return fitting[::-1]
            fitting.append(turn)
    return fitting[::-1]
