"""The verbs of a turn: submit, claim, append, commit; and the line of those that wait. Each is one script."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from hector.concurrency import side_by_side
from hector.errors import IdempotencyKeyReused, LeaseLost, NotFound
from hector.model import Event, Millis, Principal, Session, Summary, Task, is_id, session_id_of
from hector.stores.base import Idempotency, Lease, Outcome, Submitted
from hector.stores.redis import items
from hector.stores.redis.encoding import encoded_outcome, encoded_principal
from hector.stores.redis.items import Fields, Reply
from hector.stores.redis.records import Records


class Turns(Records):
    async def submit(self, task: Task, *, nonce: str, idempotency: Idempotency | None = None) -> Submitted:
        key = items.hashed(idempotency.key) if idempotency else ""
        fingerprint = idempotency.fingerprint if idempotency else ""
        fields, suffix = items.flat(items.task_fields(task, nonce)), items.suffix_of(task.id)
        answer = await self._run(
            "submit", task.session_id, self._now(), suffix, key, fingerprint, *fields, suffix=suffix
        )
        if answer == ["reused"]:
            assert idempotency is not None
            raise IdempotencyKeyReused.key(idempotency.key)
        suffix, values = answer
        found = items.paired(values)
        return Submitted(items.task_of(task.session_id, suffix, found), created=found["nonce"] == nonce)

    async def discard(self, task: Task, *, nonce: str) -> None:
        suffix = items.suffix_of(task.id)
        await self._run("discard", task.session_id, self._now(), suffix, nonce, suffix=suffix)

    async def claim(
        self, principal: Principal, session_id: str, task_id: str, *, lease: Millis, nonce: str, takeover: bool = True
    ) -> Lease:
        if session_id_of(task_id) != session_id or not is_id(session_id):
            raise NotFound.task(task_id)
        now, owner, suffix = self._now(), encoded_principal(principal), items.suffix_of(task_id)
        claiming = self._run(
            "claim", session_id, now, owner, suffix, lease, nonce, "1" if takeover else "",
            also=self._listings(principal, session_id),
        )  # fmt: skip
        return items.lease_of(session_id, await self._active(principal, session_id, now, claiming), now)

    async def line_up(self, principal: Principal, task_id: str, *, most: int, interrupt: bool = False) -> Session:
        session_id, now = session_id_of(task_id), self._now()
        if session_id is None:
            raise NotFound.task(task_id)
        owner, suffix = encoded_principal(principal), items.suffix_of(task_id)
        lining_up = self._run(
            "line_up", session_id, now, owner, suffix, most, "!" if interrupt else "",
            task_id=task_id, also=self._listings(principal, session_id),
        )  # fmt: skip
        return items.session_of(session_id, await self._active(principal, session_id, now, lining_up), now)

    async def append_events(self, lease: Lease, events: Sequence[Event], *, extend: Millis) -> Lease:
        now, first = self._now(), events[0].number if events else ""
        [values] = await self._run_held("append", lease, now, extend, first, *items.entries_of(events))
        return items.renewed(lease, items.hot_of(values) or {}, now)

    async def check_lease(self, lease: Lease) -> Lease:
        now, key = self._now(), self._keys.hot(lease.session.id)
        hot = items.hot_of(await self._connection.call("HMGET", key, *items.FIELDS))
        held = hot is not None and (hot["fence"], hot["open"]) == (str(lease.fence), items.suffix_of(lease.task_id))
        if hot is None or not held or items.expires_at(hot) <= now:
            raise LeaseLost(f"The lease on task {lease.task_id!r} has passed to another worker.")
        return items.renewed(lease, hot, now)

    async def commit(self, lease: Lease, outcome: Outcome, *, nonce: str) -> Task:
        now = self._now()
        ended = items.flat({"updated_at": str(now), **encoded_outcome(outcome)})
        [values] = await self._run_held("commit", lease, now, nonce, lease.head + 1, *ended)
        return items.task_of(lease.session.id, items.suffix_of(lease.task_id), values)

    async def release(self, lease: Lease, *, next_in_line: bool = False) -> None:
        cluster = self._connection.place.cluster
        listing = self._keys.hot(lease.session.id) if cluster else self._keys.active
        with suppress(LeaseLost):
            flag = "1" if next_in_line else ""
            line, activity = await self._run_held("release", lease, self._now(), flag, also=[listing])
            if cluster and not line:
                await self._unlist(self._keys.active, [lease.session.id], int(activity))

    async def save_summary(self, lease: Lease, summary: Summary) -> None:
        await self._run_held("summarise", lease, self._now(), summary.text, summary.through)

    def _listings(self, principal: Principal, session_id: str) -> list[str]:
        """The listings that a script about activity can reach; in a cluster none, and the hot record instead."""
        if self._connection.place.cluster:
            return [self._keys.hot(session_id)] * 2
        return [self._keys.owner(principal), self._keys.active]

    async def _active(
        self, principal: Principal, session_id: str, now: Millis, running: Coroutine[Any, Any, Reply]
    ) -> Fields:
        """The hot record after a script about activity.

        In a cluster, the sweep's listing is written beside it, so that no crash hides a turn from the sweep, and the
        owner's after it.
        """
        if not self._connection.place.cluster:
            values, metadata = await running
        else:
            marking = self._list(self._keys.active, session_id, now, now)
            answer, _ = await side_by_side(running, marking)
            values, metadata = answer
        hot = items.hot_of([*values, metadata]) or {}
        if self._connection.place.cluster:
            listing, last_expiry = self._keys.owner(principal), int(hot["last_expiry"])
            await self._list(listing, session_id, int(hot["activity"]), last_expiry)
        return hot
