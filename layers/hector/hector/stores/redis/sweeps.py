"""What sweeps and operators ask for: whose a session is, all of them, those with nobody at work, and the clean-up."""

from __future__ import annotations

from hector.model import Principal, Session
from hector.stores.base import Page, Unfinished
from hector.stores.cursors import activity_key_at
from hector.stores.redis import items
from hector.stores.redis.encoding import decoded_principal
from hector.stores.redis.listing import newest
from hector.stores.redis.records import SETTLED, Records

CLEANED_AT_ONCE, LOOKED_AT = 1_000, 100
"""Sessions that one clean-up looks at, and how many of them are read at a time."""


class Sweeps(Records):
    async def read_owner(self, session_id: str) -> Principal:
        return decoded_principal((await self._hot(session_id))["owner"])

    async def list_every_session(self, *, cursor: str | None = None, limit: int = 100) -> Page[Session]:
        found: list[Session] = []
        last = cursor
        while len(found) <= limit:
            start = "-" if last is None else f"({last}"
            every = self._keys.every_session
            ids = await self._connection.call("ZRANGE", every, start, "+", "BYLEX", "LIMIT", 0, limit + 1)
            now = self._now()
            for id_, hot in zip(ids, await self._hot_records(ids), strict=True):
                if hot is not None and items.expires_at(hot) > now:
                    found.append(items.session_of(id_, hot, now))
            if len(ids) <= limit:
                break
            last = ids[-1]
        return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)

    async def list_unfinished(self, *, cursor: str | None = None, limit: int = 100) -> Page[Unfinished]:
        found: list[tuple[str, Unfinished]] = []
        idle: list[str] = []
        async for entries in newest(self._connection, self._keys.active, cursor, limit + 1):
            now = self._now()
            for (activity, id_), hot in zip(entries, await self._hot_records([id_ for _, id_ in entries]), strict=True):
                if hot is None or items.expires_at(hot) <= now or not (hot["open"] or hot["line"]):
                    idle.append(id_)
                elif int(hot["lease_until"]) <= now:
                    lost = f"{id_}-{hot['open']}" if hot["open"] else None
                    found.append((activity_key_at(activity, id_), Unfinished(items.session_of(id_, hot, now), lost)))
            if len(found) > limit:
                break
        await self._unlist(self._keys.active, idle, self._now() - SETTLED)
        return Page([item for _, item in found[:limit]], found[limit - 1][0] if len(found) > limit else None)

    async def clean_up(self) -> int:
        erased = 0
        for _ in range(CLEANED_AT_ONCE // LOOKED_AT):
            due = await self._connection.call(
                "ZRANGE", self._keys.by_expiry, "-inf", self._now(), "BYSCORE", "LIMIT", 0, LOOKED_AT
            )
            for entry in due:
                session_id, _, listing = entry.partition(" ")
                answer = await self._run("expire", session_id, self._now())
                if answer[0] == "alive":
                    await self._connection.call("ZADD", self._keys.by_expiry, "XX", answer[1], entry)
                else:
                    await self._erase(session_id, listing)
                    erased += 1
            if len(due) < LOOKED_AT:
                break
        return erased
