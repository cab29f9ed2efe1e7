"""What workers, sweeps and operators ask, of everybody's sessions; and what expired sessions leave."""

from __future__ import annotations

from sqlalchemy import Connection, and_, delete, or_, select

from hector.errors import NotFound
from hector.model import Millis, Principal, Session
from hector.stores.base import Page, Unfinished
from hector.stores.sql.rows import hot_of
from hector.stores.sql.sessions import Sessions
from hector.stores.sql.tables import sessions, unfinished

GRACE: Millis = 60_000
"""An expired session is erased this much later: another machine's clock may be behind."""
BATCH = 20
"""Sessions that are erased in one transaction: others wait for it, on SQLite at least."""
BATCHES = 50
"""Transactions of one sweep."""


class Sweeping(Sessions):
    async def read_owner(self, session_id: str) -> Principal:
        query = select(sessions).where(
            sessions.c.id == session_id, ~sessions.c.staged, sessions.c.expires_at > self._now()
        )
        row = await self._database.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise NotFound.session(session_id)
        return hot_of(row).session.principal

    async def list_every_session(self, *, cursor: str | None = None, limit: int = 100) -> Page[Session]:
        now = self._now()
        query = select(sessions).where(~sessions.c.staged, sessions.c.expires_at > now, sessions.c.id > (cursor or ""))
        query = query.order_by(sessions.c.id).limit(limit + 1)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        found = [hot_of(row).seen(now) for row in rows[:limit]]
        return Page(found, found[-1].id if len(rows) > limit else None)

    async def list_unfinished(self, *, cursor: str | None = None, limit: int = 100) -> Page[Unfinished]:
        now = self._now()
        column = sessions.c
        nobody = or_(
            and_(column.open_task.is_not(None), column.lease_until <= now),
            and_(column.open_task.is_(None), column.line.is_not(None)),
        )
        query = (
            select(sessions)
            .where(unfinished, nobody, ~column.staged, column.expires_at > now, column.id > (cursor or ""))
            .order_by(column.id)
            .limit(limit + 1)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        found = [hot_of(row) for row in rows[:limit]]
        items = [Unfinished(hot.seen(now), hot.open_task) for hot in found]
        return Page(items, items[-1].session.id if len(rows) > limit else None)

    async def clean_up(self) -> int:
        """Staged turns that no session was made of go the same way, a day after the last of them."""
        expired = sessions.c.expires_at <= self._now() - GRACE
        some = select(sessions.c.id).where(expired).order_by(sessions.c.expires_at).limit(BATCH)
        # What another sweep is at is left to it.
        statement = delete(sessions).where(sessions.c.id.in_(some.with_for_update(skip_locked=True)))

        def erase(connection: Connection) -> int:
            return connection.execute(statement).rowcount

        erased = 0
        for _ in range(BATCHES):
            erased += (count := await self._database.write(erase))
            if count < BATCH:
                break
        return erased
