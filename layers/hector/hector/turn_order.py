"""Turns in the order in which they were run, which is not always that of their ids: of messages that wait at the same
time, or come through servers whose clocks differ, another one's turn may come first. Stores list by id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from hector.model import Principal, Task
from hector.stores.base import Store

PAGE = 20
"""Tasks that are listed at once."""
_NEAR = 100
"""As far as a turn may lie from its place in the order of ids before everything is looked through."""


async def ended_turns(store: Store, principal: Principal, session_id: str) -> AsyncIterator[Task]:
    """The turns of a session that have ended, the first one first. Raises NotFound."""
    early: dict[int, Task] = {}
    due = 1
    async for task in _listed(store, principal, session_id, oldest_first=True):
        if task.turn:
            early[task.turn] = task
        while due in early:
            yield early.pop(due)
            due += 1


async def numbered_turns(
    store: Store, principal: Principal, session_id: str, numbers: range, *, near: str | None = None
) -> list[Task]:
    """The ended turns with these numbers, in this order; `near` is the task just before them. Raises NotFound."""
    found: dict[int, Task] = {}
    forwards = numbers.step > 0
    for most in (len(numbers) + _NEAR, None):
        for oldest_first in (forwards, not forwards):
            looked_at = 0
            async for task in _listed(store, principal, session_id, oldest_first=oldest_first, cursor=near):
                if task.turn in numbers:
                    found[task.turn] = task
                looked_at += 1
                if len(found) == len(numbers) or looked_at == most:
                    break
            if len(found) == len(numbers):
                return [found[number] for number in numbers]
    return [found[number] for number in numbers if number in found]


async def _listed(
    store: Store, principal: Principal, session_id: str, *, oldest_first: bool, cursor: str | None = None
) -> AsyncIterator[Task]:
    while True:
        page = await store.list_tasks(principal, session_id, oldest_first=oldest_first, cursor=cursor, limit=PAGE)
        for task in page.items:
            yield task
        if (cursor := page.next_cursor) is None:
            return
