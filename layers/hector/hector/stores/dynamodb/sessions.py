"""Sessions: create, read, list, change, delete; and the hot record, which every other method looks at first."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, NamedTuple, TypeVar

from hector.concurrency import side_by_side
from hector.errors import IdempotencyKeyReused, NotFound
from hector.model import Millis, Principal, Session, is_id, session_id_of
from hector.stores.base import Clock, Idempotency, Page
from hector.stores.cursors import check_sessions_cursor
from hector.stores.dynamodb import items, overflow, pointers
from hector.stores.dynamodb.failures import ConditionFailed
from hector.stores.dynamodb.rows import Row
from hector.stores.dynamodb.staging import Staging
from hector.stores.dynamodb.table import Table, Value

A = TypeVar("A")

ALIVE = "((idle_until > :now AND last_expiry > :now) OR lease_until > :now)"

_REMEMBERED = 1024
_AFTER_ALL = "~"
"""Sorts after every activity key."""
_LOOKED_AT, _AT_ONCE = 1_000, 50
"""Sessions that a listing reads at most, and at once if it is by agent: the index tells neither their agents nor
whether they have expired."""


class Settled(NamedTuple):
    """What hardly changes in a session, remembered from the last time that its hot record was seen."""

    last_expiry: Millis
    has_metadata: bool
    has_line: bool


class Sessions(Staging):
    def __init__(self, table: Table, clock: Clock) -> None:
        super().__init__(table, clock)
        self._settled: dict[str, Settled] = {}

    async def create_session(self, session: Session, *, idempotency: Idempotency | None = None) -> Session:
        if idempotency is None:
            hot = await self._create(items.hot_row(session), session)
        else:
            hot = await self._create_once(session, idempotency)
        meta = await self._table.get(items.meta_key(hot["pk"])) if hot["pk"] != session.id and "meta" in hot else None
        metadata = session.metadata if hot["pk"] == session.id else items.metadata_of(hot, meta)
        return items.session_of(hot, metadata, self._now())

    async def read_session(self, principal: Principal, session_id: str) -> Session:
        hot, metadata = await self._with_metadata(session_id, self._hot(principal, session_id))
        return items.session_of(hot, metadata, self._now())

    async def list_sessions(
        self, principal: Principal, *, agent_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Session]:
        owner = items.owner_key(principal)
        before = _AFTER_ALL if cursor is None else check_sessions_cursor(cursor)
        found: dict[str, tuple[str, Row]] = {}
        looked_at, end = 0, None
        page = limit + 1 if agent_id is None else max(limit + 1, _AT_ONCE)
        async for entries in self._table.query_activity(owner, before=before, page=page):
            for entry, hot in await self._alive(entries):
                if agent_id in (None, hot["agent"]):
                    # The index lags behind: a session that has just moved in it may be there twice.
                    found.setdefault(hot["pk"], (entry["activity"], hot))
            looked_at += len(entries)
            if len(found) > limit:
                end = [*found.values()][limit - 1][0]
                break
            if looked_at >= _LOOKED_AT and entries:
                end = entries[-1]["activity"]
                break
        sessions = await self._shown([hot for _, hot in [*found.values()][:limit]])
        return Page(sessions, end)

    async def update_session(
        self,
        principal: Principal,
        session_id: str,
        *,
        ttl: Millis | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Session:
        hot = await self._hot(principal, session_id)
        now = self._now()
        values = {} if ttl is None else items.idle_values(ttl, now)
        removed = ""
        if metadata:
            # The metadata first: the hot record says whether it counts.
            await self._table.put_many([items.meta_row(session_id, metadata, hot["last_expiry"])])
            values["meta"] = True
        elif metadata is not None:
            removed = "REMOVE meta"
        if values or removed:
            changes = ", ".join(f"#{name} = :{name}" for name in values)
            try:
                await self._table.update(
                    items.hot_key(session_id),
                    f"SET {changes} {removed}" if changes else removed,
                    condition=f"owner_key = :owner AND {ALIVE}",
                    owner=hot["owner_key"],
                    now=now,
                    **values,
                )
            except ConditionFailed:
                if metadata:
                    await self._table.delete_many([items.meta_key(session_id)])
                raise NotFound.session(session_id) from None
        return await self.read_session(principal, session_id)

    async def delete_session(self, principal: Principal, session_id: str) -> None:
        hot = await self._hot(principal, session_id)
        if "key" in hot:
            # The key first: without its session it would seem to be one whose session is about to be created.
            await self._free((hot["key"], pointers.POINTER), session_id)
        # Gone already is fine: it is what this call's own retry finds.
        await self._table.delete(
            items.hot_key(session_id),
            condition="attribute_not_exists(pk) OR owner_key = :owner",
            owner=hot["owner_key"],
        )
        self._settled.pop(session_id, None)
        await self.erase(session_id)

    async def _create(self, hot: Row, session: Session) -> Row:
        """The hot record that is there then."""
        if session.metadata:
            await self._put_new(items.meta_row(session.id, session.metadata, session.last_expiry))
        hot = await self._put_new(hot | await self._staged_for(session))
        self._staging.discard(session.id)
        self._remember(hot)
        return hot

    async def _create_once(self, session: Session, idempotency: Idempotency) -> Row:
        """The hot record of the session that the key stands for.

        The pointer is written first: whoever finds it without its session, after a crash, creates that very session.
        That it cannot be an expired one, whose hot record is swept already, the times in the pointer say.
        """
        mine = pointers.pointer_row(session, idempotency)
        while True:
            pointer = await self._put_new(mine)
            first = pointers.pointed_session(session, pointer)
            hot = None if first.id == session.id else await self._table.get(items.hot_key(first.id))
            if (items.expires_at(hot) if hot else first.expires_at) > self._now():
                if pointer["fingerprint"] != idempotency.fingerprint:
                    raise IdempotencyKeyReused.key(idempotency.key)
                return hot or await self._create(items.hot_row(first) | {"key": pointer["pk"]}, first)
            await self._free((pointer["pk"], pointer["sk"]), first.id)

    async def _hot(self, principal: Principal, session_id: str) -> Row:
        """The hot record of a session that is alive and the principal's. Raises NotFound."""
        hot = await self._table.get(items.hot_key(session_id)) if is_id(session_id) else None
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

    async def _alive(self, entries: list[Row]) -> list[tuple[Row, Row]]:
        """Entries of the index, with the hot records of those whose sessions are alive; each session once."""
        sessions = {entry["pk"]: entry for entry in reversed(entries)}
        hot_rows = await self._table.get_many(map(items.hot_key, sessions))
        now = self._now()
        found = [(entry, hot_rows.get(items.hot_key(entry["pk"]))) for entry in reversed(sessions.values())]
        return [(entry, hot) for entry, hot in found if hot and items.expires_at(hot) > now]

    async def _shown(self, hot_rows: list[Row]) -> list[Session]:
        """The sessions of these hot records, with their metadata."""
        metas = await self._table.get_many(items.meta_key(hot["pk"]) for hot in hot_rows if "meta" in hot)
        now = self._now()
        return [
            items.session_of(hot, items.metadata_of(hot, metas.get(items.meta_key(hot["pk"]))), now) for hot in hot_rows
        ]

    async def _put(self, row: Row, by: str, *, condition: str, **values: Value) -> None:
        """Put a row, and before it what is too large for it. `by` names the write. Raises ConditionFailed."""
        row, *parts = overflow.fitting(row, by)
        if parts:
            await self._table.put_many(parts)
        await self._table.put(row, condition=condition, **values)

    async def _whole(self, rows: list[Row]) -> list[Row]:
        """The rows of a session with what was too large for them. Raises NotFound if it is erased in this moment."""
        keys = [key for row in rows for key in overflow.keys_of(row)]
        if not keys:
            return rows
        found = await self._table.get_many(keys)
        try:
            return [overflow.joined(row, found) for row in rows]
        except KeyError:
            raise NotFound.session(rows[0]["pk"]) from None

    async def _take_out_of_line(self, hot: Row, task_id: str) -> None:
        """Out of the line, wherever it stands in it by now."""
        entries = items.line_entries(task_id)
        while at := [(index, entry) for index, entry in enumerate(hot.get("waiting", ())) if entry in entries]:
            [(index, entry)] = at
            place = f"waiting[{index}]"
            try:
                await self._table.update(
                    items.hot_key(hot["pk"]), f"REMOVE {place}", condition=f"{place} = :entry", entry=entry
                )
                return
            except ConditionFailed as met:
                hot = met.row

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
        return hot, items.metadata_of(hot, meta)

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
        settled = Settled(hot["last_expiry"], "meta" in hot, bool(hot.get("waiting")))
        remember(self._settled, hot["pk"], settled)
        return settled


def remember(memory: dict[str, A], key: str, value: A) -> None:
    """Keep it, and forget the oldest when there are too many."""
    while len(memory) >= _REMEMBERED:
        del memory[next(iter(memory))]
    memory[key] = value
