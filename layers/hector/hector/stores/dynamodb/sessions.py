"""Sessions: create, read, list, delete; and the hot record, which every other method looks at first."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, NamedTuple, TypeVar

from hector.concurrency import side_by_side
from hector.errors import NotFound
from hector.model import Millis, Principal, Session, session_id_of
from hector.stores.base import Clock, Page
from hector.stores.cursors import check_sessions_cursor
from hector.stores.dynamodb import items
from hector.stores.dynamodb.failures import ConditionFailed
from hector.stores.dynamodb.rows import Row
from hector.stores.dynamodb.table import Table

A = TypeVar("A")

_REMEMBERED = 1024
_AFTER_ALL = "~"
"""Sorts after every activity key."""


class Settled(NamedTuple):
    """What hardly changes in a session, remembered from the last time that its hot record was seen."""

    last_expiry: Millis
    has_metadata: bool


class Sessions:
    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._now = clock
        self._settled: dict[str, Settled] = {}

    async def create_session(self, session: Session) -> None:
        hot = items.hot_row(session)
        if session.metadata:
            await self._put_new(items.meta_row(session))
        await self._put_new(hot)
        self._remember(hot)

    async def read_session(self, principal: Principal, session_id: str) -> Session:
        hot, metadata = await self._with_metadata(session_id, self._hot(principal, session_id))
        return items.session_of(hot, metadata, self._now())

    async def list_sessions(
        self, principal: Principal, *, agent_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Session]:
        owner = items.owner_key(principal)
        before = _AFTER_ALL if cursor is None else check_sessions_cursor(cursor)
        found: list[tuple[str, Row]] = []
        async for entries in self._table.query_activity(owner, before=before, page=limit + 1):
            hot_rows = await self._table.get_many((entry["pk"], entry["sk"]) for entry in entries)
            for entry in entries:
                hot = hot_rows.get((entry["pk"], entry["sk"]))
                if hot and self._visible(hot, principal) and agent_id in (None, hot["agent"]):
                    found.append((entry["activity"], hot))
            if len(found) > limit:
                break
        shown = [hot for _, hot in found[:limit]]
        metas = await self._table.get_many(items.meta_key(hot["pk"]) for hot in shown if "meta" in hot)
        now = self._now()
        sessions = [
            items.session_of(hot, items.metadata_of(metas.get(items.meta_key(hot["pk"]))), now) for hot in shown
        ]
        return Page(sessions, found[limit - 1][0] if len(found) > limit else None)

    async def delete_session(self, principal: Principal, session_id: str) -> None:
        hot = await self._hot(principal, session_id)
        # Gone already is fine: it is what this call's own retry finds.
        await self._table.delete(
            items.hot_key(session_id),
            condition="attribute_not_exists(pk) OR owner_key = :owner",
            owner=hot["owner_key"],
        )
        self._settled.pop(session_id, None)
        await self.erase(session_id)

    async def erase(self, session_id: str) -> None:
        """Erase what belonged to a session whose hot record is gone, down to what its last worker may still write."""
        left = True
        while left:
            left = False
            async for keys in self._table.keys(session_id):
                await self._table.delete_many(keys)
                left = left or bool(keys)

    async def _put_new(self, row: Row) -> None:
        try:
            await self._table.put(row, condition="attribute_not_exists(pk)")
        except ConditionFailed:
            return

    async def _hot(self, principal: Principal, session_id: str) -> Row:
        """The hot record of a session that is alive and the principal's. Raises NotFound."""
        hot = await self._table.get(items.hot_key(session_id))
        if hot is None or not self._visible(hot, principal):
            raise NotFound.session(session_id)
        self._remember(hot)
        return hot

    async def _hot_of_task(self, principal: Principal, task_id: str) -> Row:
        session_id = session_id_of(task_id)
        if session_id is None:
            raise NotFound.task(task_id)
        try:
            return await self._hot(principal, session_id)
        except NotFound:
            raise NotFound.task(task_id) from None

    def _visible(self, hot: Row, principal: Principal) -> bool:
        return bool(hot["owner_key"] == items.owner_key(principal) and items.expires_at(hot) > self._now())

    async def _with_metadata(self, session_id: str, getting: Awaitable[Row]) -> tuple[Row, dict[str, Any]]:
        """The hot record that is being got, and the metadata, which is read beside it unless there seems to be none."""
        settled, key = self._settled.get(session_id), items.meta_key(session_id)
        if settled is None or settled.has_metadata:
            hot, meta = await side_by_side(getting, self._table.get(key))
        else:
            hot = await getting
            meta = await self._table.get(key) if "meta" in hot else None
        return hot, items.metadata_of(meta)

    async def _last_expiry(self, session_id: str) -> Millis:
        """Raises NotFound."""
        settled = self._settled.get(session_id)
        if settled is None:
            hot = await self._table.get(items.hot_key(session_id))
            if hot is None:
                raise NotFound.session(session_id)
            settled = self._remember(hot)
        return settled.last_expiry

    def _remember(self, hot: Row) -> Settled:
        settled = Settled(hot["last_expiry"], "meta" in hot)
        remember(self._settled, hot["pk"], settled)
        return settled


def remember(memory: dict[str, A], key: str, value: A) -> None:
    """Keep it, and forget the oldest when there are too many."""
    while len(memory) >= _REMEMBERED:
        del memory[next(iter(memory))]
    memory[key] = value
