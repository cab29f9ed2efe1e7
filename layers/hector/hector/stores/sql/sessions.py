"""Sessions: create, read, list, change, delete; and the hot record, which verbs read first, and lock to write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, insert, select, tuple_, update

from hector.errors import IdempotencyKeyReused, NotFound
from hector.model import Millis, Principal, Session, Summary, is_id, session_id_of
from hector.stores.base import Clock, Idempotency, Lease, Page, StagedTurn
from hector.stores.cursors import activity_key, check_sessions_cursor
from hector.stores.record import Hot, lost
from hector.stores.sql.database import Database
from hector.stores.sql.rows import (
    digest,
    hot_of,
    hot_values,
    log_values,
    owner_key,
    session_values,
    summary_values,
    task_values,
)
from hector.stores.sql.statements import insert_new
from hector.stores.sql.tables import events, keys, sessions, summaries, tasks

STAGED: Millis = 86_400_000
"""How long staged turns wait for their session; then they are swept."""


class Sessions:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._now = clock

    async def create_session(self, session: Session, *, idempotency: Idempotency | None = None) -> Session:
        def create(connection: Connection) -> Session:
            first = idempotency and self._first(connection, session.principal, idempotency)
            if first:
                return first
            _put(connection, session)
            if idempotency and not insert_new(connection, keys, _key(session, idempotency)):
                raise _Overtaken
            hot = read_hot(connection, session.id)
            assert hot is not None
            return hot.seen(self._now())

        while True:
            try:
                return await self._database.write(create)
            except _Overtaken:
                continue  # the other has committed: its session is found now

    async def read_session(self, principal: Principal, session_id: str) -> Session:
        def read(connection: Connection) -> Session:
            return self._session(connection, principal, session_id).seen(self._now())

        return await self._database.read(read)

    async def list_sessions(
        self, principal: Principal, *, agent_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Session]:
        now = self._now()
        column = sessions.c
        query = (
            select(sessions)
            .where(column.owner == owner_key(principal), ~column.staged, column.expires_at > now)
            .order_by(column.last_activity_at.desc(), column.id.desc())
            .limit(limit + 1)
        )
        if agent_id is not None:
            query = query.where(column.agent == agent_id)
        if cursor is not None:
            at, _, session_id = check_sessions_cursor(cursor).partition(".")
            query = query.where(tuple_(column.last_activity_at, column.id) < (int(at), session_id))
        found = await self._database.read(lambda connection: connection.execute(query).all())
        shown = [hot_of(row).seen(now) for row in found[:limit]]
        return Page(shown, activity_key(shown[-1]) if len(found) > limit else None)

    async def update_session(
        self,
        principal: Principal,
        session_id: str,
        *,
        ttl: Millis | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Session:
        now = self._now()

        def change(connection: Connection) -> Session:
            hot = self._session(connection, principal, session_id, lock=True)
            if ttl is not None:
                hot.session = replace(hot.session, ttl=ttl)
                hot.slide(now)
            changed = {}
            if metadata is not None:
                hot.session = replace(hot.session, metadata=metadata)
                changed["metadata"] = metadata
            save(connection, hot, **changed)
            return hot.seen(now)

        return await self._database.write(change)

    async def delete_session(self, principal: Principal, session_id: str) -> None:
        deleted = False

        def erase(connection: Connection) -> None:
            nonlocal deleted
            try:
                self._session(connection, principal, session_id, lock=True)
            except NotFound:
                if deleted:
                    return  # by this very call, whose first answer was lost
                raise
            connection.execute(delete(sessions).where(sessions.c.id == session_id))
            deleted = True

        await self._database.write(erase)

    async def stage_turns(
        self, session: Session, turns: Sequence[StagedTurn], *, summary: Summary | None = None
    ) -> None:
        def stage(connection: Connection) -> None:
            now = self._now()
            until = now + STAGED
            # What had this id before, and has expired, may not have been cleaned up: nothing is to be added to that.
            connection.execute(
                delete(sessions).where(sessions.c.id == session.id, ~sessions.c.staged, sessions.c.expires_at <= now)
            )
            insert_new(connection, sessions, session_values(session) | {"staged": True, "expires_at": until})
            connection.execute(
                update(sessions).where(sessions.c.id == session.id, sessions.c.staged).values(expires_at=until)
            )
            for turn in turns:
                if insert_new(connection, tasks, task_values(turn.task, "")) and turn.events:
                    connection.execute(insert(events), log_values(session.id, turn.task.id, turn.events))
            if summary is not None:
                insert_new(connection, summaries, summary_values(session.id, summary))

        await self._database.write(stage)

    async def unstage(self, session: Session) -> None:
        statement = delete(sessions).where(sessions.c.id == session.id, sessions.c.staged)
        await self._database.write(lambda connection: connection.execute(statement))

    def _first(self, connection: Connection, principal: Principal, idempotency: Idempotency) -> Session | None:
        """The session that the key stands for, unless it has ended or expired: then the key is free again.

        Raises IdempotencyKeyReused.
        """
        place = (keys.c.scope == owner_key(principal), keys.c.hash == digest(idempotency.key))
        found = connection.execute(select(keys).where(*place).with_for_update()).first()
        if found is None:
            return None
        hot = read_hot(connection, found.session_id)
        if hot is None or hot.session.expires_at <= self._now():
            connection.execute(delete(keys).where(*place))
            return None
        if found.fingerprint != idempotency.fingerprint:
            raise IdempotencyKeyReused.key(idempotency.key)
        return hot.seen(self._now())

    def _session(self, connection: Connection, principal: Principal, session_id: str, *, lock: bool = False) -> Hot:
        """A session that is alive and the principal's. Raises NotFound."""
        hot = read_hot(connection, session_id, lock=lock) if is_id(session_id) else None
        if hot is None or hot.session.principal != principal or hot.session.expires_at <= self._now():
            raise NotFound.session(session_id)
        return hot

    def _session_of_task(
        self, connection: Connection, principal: Principal, task_id: str, *, lock: bool = False
    ) -> Hot:
        try:
            return self._session(connection, principal, session_id_of(task_id) or "", lock=lock)
        except NotFound:
            raise NotFound.task(task_id) from None

    def _held(self, connection: Connection, lease: Lease, *, lock: bool = True) -> Hot:
        """The record whose lease this is. Raises LeaseLost."""
        hot = read_hot(connection, lease.session.id, lock=lock)
        if hot is None:
            raise lost(lease)
        hot.check_held(lease, self._now())
        return hot


class _Overtaken(Exception):
    """Another call has taken the key meanwhile."""


def save(connection: Connection, hot: Hot, **changed: Any) -> None:
    connection.execute(update(sessions).where(sessions.c.id == hot.session.id).values(**hot_values(hot), **changed))


def read_hot(connection: Connection, session_id: str, *, lock: bool = False) -> Hot | None:
    query = select(sessions).where(sessions.c.id == session_id, ~sessions.c.staged)
    # Not so strong that it would keep others from submitting tasks of this session.
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else hot_of(row)


def _put(connection: Connection, session: Session) -> None:
    """Insert it, or make it of the one that was staged; one that is there already stays as it is."""
    values = session_values(session)
    if not insert_new(connection, sessions, values):
        connection.execute(update(sessions).where(sessions.c.id == session.id, sessions.c.staged).values(**values))


def _key(session: Session, idempotency: Idempotency) -> dict[str, Any]:
    return {
        "scope": owner_key(session.principal),
        "hash": digest(idempotency.key),
        "session_id": session.id,
        "fingerprint": idempotency.fingerprint,
    }
