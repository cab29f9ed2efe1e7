"""Sessions: create, read, list, change, delete; and turns that ended elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from hector.concurrency import side_by_side
from hector.errors import IdempotencyKeyReused, NotFound
from hector.model import Millis, Principal, Session, Summary
from hector.stores.base import Idempotency, Page, StagedTurn
from hector.stores.cursors import activity_key_at
from hector.stores.encoding import dumped
from hector.stores.redis import items
from hector.stores.redis.encoding import encoded_principal
from hector.stores.redis.items import Reply
from hector.stores.redis.listing import newest
from hector.stores.redis.records import SETTLED, Records


class Sessions(Records):
    async def create_session(self, session: Session, *, idempotency: Idempotency | None = None) -> Session:
        return await (self._create(session) if idempotency is None else self._create_once(session, idempotency))

    async def read_session(self, principal: Principal, session_id: str) -> Session:
        return items.session_of(session_id, await self._own_hot(principal, session_id), self._now())

    async def list_sessions(
        self, principal: Principal, *, agent_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Session]:
        owner, listing = encoded_principal(principal), self._keys.owner(principal)
        found: list[tuple[str, Session]] = []
        gone: list[str] = []
        async for entries in newest(self._connection, listing, cursor, limit + 1):
            now = self._now()
            for (activity, id_), hot in zip(entries, await self._hot_records([id_ for _, id_ in entries]), strict=True):
                if hot is None or items.expires_at(hot) <= now:
                    gone.append(id_)
                elif hot["owner"] == owner and agent_id in (None, hot["agent"]):
                    found.append((activity_key_at(activity, id_), items.session_of(id_, hot, now)))
            if len(found) > limit:
                break
        await self._unlist(listing, gone, self._now() - SETTLED)
        return Page([session for _, session in found[:limit]], found[limit - 1][0] if len(found) > limit else None)

    async def update_session(
        self,
        principal: Principal,
        session_id: str,
        *,
        ttl: Millis | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Session:
        await self._own_hot(principal, session_id)
        now, owner = self._now(), encoded_principal(principal)
        changed = "" if metadata is None else "1"
        text = dumped(metadata) if metadata else ""
        answer = await self._run("update", session_id, now, owner, "" if ttl is None else ttl, changed, text)
        return _session_of(session_id, answer, now)

    async def delete_session(self, principal: Principal, session_id: str) -> None:
        hot = await self._own_hot(principal, session_id)
        if hot["key"]:
            # The key first: without its session it would seem to be one whose session is about to be created.
            await self._connection.run("free", [hot["key"]], self._now(), session_id)
        with suppress(NotFound):  # gone already is fine: it is what this call's own retry finds
            await self._run("delete", session_id, self._now(), hot["owner"])
        await self._erase(session_id, self._keys.owner(principal))

    async def stage_turns(
        self, session: Session, turns: Sequence[StagedTurn], *, summary: Summary | None = None
    ) -> None:
        for turn in turns:
            suffix, fields = items.suffix_of(turn.task.id), items.flat(items.ended_fields(turn.task))
            log = items.entries_of(turn.events)
            await self._run(
                "stage", session.id, self._now(), suffix, turn.task.turn, len(fields), *fields, *log, suffix=suffix
            )
        if summary is not None:
            await self._run("stage_summary", session.id, self._now(), summary.text, summary.through)

    async def unstage(self, session: Session) -> None:
        # What has expired under this id may not have been cleaned up: nothing is to be added to that.
        await self._run("expire", session.id, self._now())
        await self._erase_tasks(session.id, "staged")

    async def _create(self, session: Session, key: str = "") -> Session:
        """As it is then. The listings come first: an entry without its session is skipped, until it is dropped."""
        now, listing = self._now(), self._keys.owner(session.principal)
        registry = [self._keys.every_session, self._keys.by_expiry]
        await side_by_side(
            self._connection.run(
                "register", registry, now, session.id, listing, session.expires_at, session.last_expiry
            ),
            self._list(listing, session.id, session.last_activity_at, session.last_expiry),
        )
        fields = items.flat(items.hot_fields(session, key))
        answer = await self._run("create", session.id, now, session.expires_at, *fields)
        return session if answer == ["expired"] else _session_of(session.id, answer, now)

    async def _create_once(self, session: Session, idempotency: Idempotency) -> Session:
        """The session that the key stands for.

        The pointer is written first: whoever finds it without its session, after a crash, creates that very session.
        That it cannot be an expired one, whose hot record is gone already, the times in the pointer say.
        """
        key, mine = self._keys.pointer(session.principal, idempotency.key), items.pointer(session, idempotency)
        while True:
            now = self._now()
            left = max(1, session.last_expiry + items.DAY - now)
            value = await self._connection.call("SET", key, mine, "NX", "GET", "PX", left, get=True) or mine
            first, fingerprint = items.pointed_session(session, value)
            if first.id == session.id:
                return await self._create(session, key)
            [hot] = await self._hot_records([first.id])
            if (items.expires_at(hot) if hot else first.expires_at) > now:
                if fingerprint != idempotency.fingerprint:
                    raise IdempotencyKeyReused.key(idempotency.key)
                return items.session_of(first.id, hot, now) if hot else await self._create(first, key)
            await self._connection.run("free", [key], now, first.id)


def _session_of(session_id: str, answer: Reply, now: Millis) -> Session:
    values, metadata = answer
    return items.session_of(session_id, items.hot_of([*values, metadata]) or {}, now)
