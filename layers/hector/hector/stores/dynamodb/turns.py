"""The verbs that carry the guarantees. Each is one conditional write, and recognises itself when it is sent again.

The hot record says who may write: `fence` and `open_task` are the lease, and every write of a worker names both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hector.concurrency import side_by_side
from hector.errors import IdempotencyKeyReused, LeaseLost, LostTurn, NotFound, SessionBusy, TaskClosed
from hector.model import Event, Millis, Principal, Task, TaskState, session_id_of
from hector.stores.base import Clock, Idempotency, Lease, Outcome, Submitted
from hector.stores.cursors import activity_key_at
from hector.stores.dynamodb import items, overflow
from hector.stores.dynamodb.failures import ConditionFailed
from hector.stores.dynamodb.rows import Row
from hector.stores.dynamodb.sessions import ALIVE, Sessions, remember
from hector.stores.dynamodb.table import Table

_FREE = f"owner_key = :owner AND attribute_not_exists(open_task) AND attribute_not_exists(waiting[0]) AND {ALIVE}"
_NEXT = f"owner_key = :owner AND attribute_not_exists(open_task) AND waiting[0] IN (:task, :rude) AND {ALIVE}"
_LOST = f"owner_key = :owner AND open_task = :task AND lease_until <= :now AND {ALIVE}"
_HELD = f"open_task = :task AND fence = :fence AND {ALIVE}"
_UNFENCED = "task_state = :submitted AND (attribute_not_exists(fence) OR fence <= :fence)"

_TAKE = (
    "SET open_task = :task, lease_until = :until, lease_nonce = :nonce, activity = :activity, "
    "idle_until = :now + idle_ms, #ttl = :until_s + keep ADD fence :one"
)
_LEAVE = " REMOVE waiting[0]"
_RENEW = "SET lease_until = :until, #ttl = :until_s + keep"
_GIVE_BACK = "SET idle_until = :now + idle_ms, #ttl = :now_s + keep{also} REMOVE open_task, lease_until, lease_nonce"
_COUNTED = ", turns = :turns"
_WAITS_AGAIN = ", waiting = list_append(:entries, if_not_exists(waiting, :none))"


class Turns(Sessions):
    def __init__(self, table: Table, clock: Clock) -> None:
        super().__init__(table, clock)
        self._ended: dict[str, int] = {}

    async def submit(self, task: Task, *, nonce: str, idempotency: Idempotency | None = None) -> Submitted:
        last_expiry = await self._last_expiry(task.session_id)
        pointer: str | None = None
        if idempotency is not None:
            # The pointer first: whoever finds it without its task, after a crash, records the task under that id.
            task, pointer, is_new = await self._pointed_to(task, idempotency, last_expiry)
            if not is_new and (row := await self._table.get(items.task_key(task.id))):
                return await self._submitted(row, nonce)
        try:
            await self._put(
                items.task_row(task, nonce, last_expiry, pointer), nonce, condition="attribute_not_exists(pk)"
            )
        except ConditionFailed as met:
            return await self._submitted(met.row, nonce)
        return Submitted(task, created=True)

    async def discard(self, task: Task, *, nonce: str) -> None:
        hot, row = await side_by_side(
            self._table.get(items.hot_key(task.session_id)), self._table.get(items.task_key(task.id))
        )
        if row is None or row["nonce"] != nonce or (hot and items.open_task_id(hot) == task.id):
            return
        if TaskState(row["task_state"]) is not TaskState.SUBMITTED:
            return
        if hot is not None and task.id in items.waiting_ids(hot):
            if "pointer" in row:
                return
            await self._take_out_of_line(hot, task.id)
        try:
            if "pointer" in row:
                key = (task.session_id, row["pointer"])
                await self._table.delete(
                    key, condition="attribute_not_exists(pk) OR target = :task", task=items.suffix_of(task.id)
                )
            await self._table.delete(
                items.task_key(task.id),
                condition="task_state = :submitted AND nonce = :nonce",
                submitted=TaskState.SUBMITTED,
                nonce=nonce,
            )
        except ConditionFailed:
            return
        await self._table.delete_many(overflow.keys_of(row))

    async def claim(
        self, principal: Principal, session_id: str, task_id: str, *, lease: Millis, nonce: str, takeover: bool = True
    ) -> Lease:
        if session_id_of(task_id) != session_id:
            raise NotFound.task(task_id)
        hot, metadata = await self._with_metadata(
            session_id, self._take(principal, session_id, task_id, lease=lease, nonce=nonce, takeover=takeover)
        )
        self._remember(hot)
        return items.lease_of(hot, metadata, self._now())

    async def append_events(self, lease: Lease, events: Sequence[Event], *, extend: Millis) -> Lease:
        now = self._now()
        try:
            hot = await self._table.update(
                items.hot_key(lease.session.id),
                _RENEW,
                condition=_HELD,
                until=now + extend,
                until_s=items.seconds(now + extend),
                **_held(lease, now),
            )
            for row in items.log_rows(lease.task_id, events, lease.fence, lease.session.last_expiry):
                await self._put(
                    row, str(lease.fence), condition="attribute_not_exists(pk) OR fence <= :fence", fence=lease.fence
                )
        except ConditionFailed:
            raise lost(lease) from None
        return items.lease_of(hot, lease.session.metadata, now)

    async def check_lease(self, lease: Lease) -> Lease:
        now = self._now()
        hot = await self._table.get(items.hot_key(lease.session.id))
        held = hot is not None and (hot["fence"], items.open_task_id(hot)) == (lease.fence, lease.task_id)
        if hot is None or not held or items.expires_at(hot) <= now:
            raise lost(lease)
        return items.lease_of(hot, lease.session.metadata, now)

    async def commit(self, lease: Lease, outcome: Outcome, *, nonce: str) -> Task:
        now = self._now()
        if lease.session.expires_at <= now:
            await self.check_lease(lease)
        values = {
            "turn": lease.head + 1,
            "updated_at": now,
            "nonce": nonce,
            "fence": lease.fence,
            **items.outcome_values(outcome),
        }
        key = items.task_key(lease.task_id)
        values, parts = overflow.moved_out(key, values, nonce, items.far(lease.session.last_expiry))
        if parts:
            await self._table.put_many(parts)
        try:
            row = await self._table.update(
                key,
                "SET " + ", ".join(f"{name} = :{name}" for name in values),
                condition=_UNFENCED,
                submitted=TaskState.SUBMITTED,
                **values,
            )
        except ConditionFailed as met:
            row = self._committed(lease, met.row, nonce)
        remember(self._ended, lease.task_id, int(row["turn"]))
        [row] = await self._whole([row])
        return items.task_of(row)

    async def release(self, lease: Lease, *, next_in_line: bool = False) -> None:
        now = self._now()
        also, values = "", dict[str, Any]()
        if next_in_line:
            # The task itself refuses what this worker still has on its way: commits do not look at the hot record.
            await self._fence_off(lease.task_id, lease.fence + 1)
            also, values = _WAITS_AGAIN, {"entries": [items.suffix_of(lease.task_id)], "none": []}
        else:
            turn = self._ended.pop(lease.task_id, 0) or await self._turn_of(lease.task_id)
            if turn > lease.head:  # not so if it ended before this lease began
                also, values = _COUNTED, {"turns": turn}
        try:
            await self._table.update(
                items.hot_key(lease.session.id),
                _GIVE_BACK.format(also=also),
                condition=_HELD,
                now_s=items.seconds(now),
                **_held(lease, now),
                **values,
            )
        except ConditionFailed:
            return

    async def _submitted(self, row: Row, nonce: str) -> Submitted:
        [row] = await self._whole([row])
        return Submitted(items.task_of(row), created=row["nonce"] == nonce)

    async def _pointed_to(self, task: Task, idempotency: Idempotency, last_expiry: Millis) -> tuple[Task, str, bool]:
        """The task with the id that the key stands for, the sort key of the pointer that says so, and if it is new."""
        pointer = items.pointer_row(task, idempotency, last_expiry)
        try:
            await self._table.put(pointer, condition="attribute_not_exists(pk)")
            is_new = True
        except ConditionFailed as met:
            if met.row["fingerprint"] != idempotency.fingerprint:
                raise IdempotencyKeyReused.key(idempotency.key) from None
            task = replace(task, id=f"{task.session_id}-{met.row['target']}")
            is_new = False
        return task, pointer["sk"], is_new

    async def _turn_of(self, task_id: str) -> int:
        """The number of the turn, 0 if it has not ended."""
        row = await self._table.get(items.task_key(task_id))
        return int(row.get("turn", 0)) if row else 0

    async def _take(
        self, principal: Principal, session_id: str, task_id: str, *, lease: Millis, nonce: str, takeover: bool
    ) -> Row:
        """The hot record with the lease taken. Only a takeover takes more than one write."""
        key, owner, (polite, rude) = items.hot_key(session_id), items.owner_key(principal), items.line_entries(task_id)
        # A guess: what is met instead says better.
        settled = self._settled.get(session_id)
        condition = _NEXT if settled and settled.has_line else _FREE
        while True:
            now = self._now()
            try:
                hot = await self._table.update(
                    key,
                    _TAKE + (_LEAVE if condition is _NEXT else ""),
                    condition=condition,
                    owner=owner,
                    task=polite,
                    **({"rude": rude} if condition is _NEXT else {}),
                    now=now,
                    until=now + lease,
                    until_s=items.seconds(now + lease),
                    nonce=nonce,
                    activity=activity_key_at(now, session_id),
                    one=1,
                )
                if condition is not _LOST:
                    return hot
            except ConditionFailed as met:
                hot = met.row
                if not hot or not self._visible(hot, principal):
                    raise NotFound.session(session_id) from None
                open_task = items.open_task_id(hot)
                if open_task is None:
                    waiting = items.waiting_ids(hot)
                    if waiting and waiting[0] != task_id:
                        raise SessionBusy(waiting[0]) from None
                    condition = _NEXT if waiting else _FREE
                    continue
                if hot["lease_until"] <= now:
                    if open_task != task_id or not takeover:
                        raise LostTurn(open_task) from None
                    condition = _LOST
                    continue
                if open_task != task_id or hot["lease_nonce"] != nonce:
                    raise SessionBusy(open_task) from None
            await self._fence_off(task_id, hot["fence"])
            return hot

    async def _fence_off(self, task_id: str, fence: int) -> None:
        """Let the task itself refuse the commit of the worker that lost it."""
        try:
            await self._table.update(
                items.task_key(task_id),
                "SET fence = :fence",
                condition=_UNFENCED,
                fence=fence,
                submitted=TaskState.SUBMITTED,
            )
        except ConditionFailed:
            return

    def _committed(self, lease: Lease, row: Row, nonce: str) -> Row:
        """The row that a commit met, if that commit itself has written it before."""
        if not row:
            raise NotFound.task(lease.task_id)
        if row.get("fence", 0) > lease.fence:
            raise lost(lease)
        if row["nonce"] != nonce:
            raise TaskClosed(f"Task {lease.task_id!r} is already {row['task_state']}.")
        return row


def _held(lease: Lease, now: Millis) -> dict[str, str | int]:
    return {"task": items.suffix_of(lease.task_id), "fence": lease.fence, "now": now}


def lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"The lease on task {lease.task_id!r} has passed to another worker.")
