"""The newest turns that fit into a window, of messages or of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hector.history.past import MOST_TURNS, Past
from hector.model import Task

_BATCH = 16
"""Turns that are measured at once."""


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
