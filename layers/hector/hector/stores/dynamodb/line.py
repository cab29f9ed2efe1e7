"""Waiting for a turn, giving it up, and canceling: what is asked for from outside of a turn.

The line is a list in the hot record: claims, which look at that record anyway, need nothing more to keep its order. A
task that gives up is ended first, and leaves the line then. A crash between the two leaves an ended task in the line.
"""

from __future__ import annotations

import secrets

from hector.errors import LineFull, LostTurn, NotFound, SessionBusy, TaskNotCancelable
from hector.model import Principal, Session, Task, TaskState, session_id_of, working
from hector.stores.base import Outcome
from hector.stores.cursors import activity_key_at
from hector.stores.dynamodb import items, overflow
from hector.stores.dynamodb.failures import ConditionFailed
from hector.stores.dynamodb.rows import Row
from hector.stores.dynamodb.sessions import ALIVE
from hector.stores.dynamodb.table import Update
from hector.stores.dynamodb.tasks import Tasks

_JOIN = (
    "SET waiting = list_append(if_not_exists(waiting, :none), :entries), activity = :activity, "
    "idle_until = :now + idle_ms, #ttl = :now_s + keep"
)
_ROOM = (
    f"owner_key = :owner AND {ALIVE} AND (attribute_not_exists(waiting) OR size(waiting) < :most) "
    "AND NOT contains(waiting, :polite) AND NOT contains(waiting, :rude) "
    "AND (attribute_not_exists(open_task) OR open_task <> :polite)"
)
_AND_FREE = " AND attribute_not_exists(open_task)"


class Line(Tasks):
    async def line_up(self, principal: Principal, task_id: str, *, most: int, interrupt: bool = False) -> Session:
        row = await self._task_row(task_id)
        session_id = session_id_of(task_id) or ""
        if TaskState(row["task_state"]).terminal:
            return await self.read_session(principal, session_id)
        joining = self._join(principal, task_id, most=most, interrupt=interrupt)
        hot, metadata = await self._with_metadata(session_id, joining)
        self._remember(hot)
        return items.session_of(hot, metadata, self._now())

    async def leave_line(self, principal: Principal, task_id: str, outcome: Outcome, *, nonce: str) -> Task:
        while True:
            hot = await self._hot_of_task(principal, task_id)
            task = await self._task(task_id)
            if items.open_task_id(hot) == task_id:
                return working(task)
            ended = task if task.state.terminal else await self._end_unbegun(hot, task_id, outcome, nonce)
            if ended is not None:
                await self._take_out_of_line(hot, task_id)
                return ended

    async def request_cancel(self, principal: Principal, task_id: str) -> Task:
        nonce = secrets.token_hex(8)
        while True:
            hot = await self._hot_of_task(principal, task_id)
            row = await self._task_row(task_id)
            [task] = await self._tasks([row])
            if task.state.terminal:
                raise TaskNotCancelable(f"Task {task_id!r} is already {task.state}.")
            if items.open_task_id(hot) == task_id:
                if await self._mark(task_id):
                    return working(task)
            elif "fence" in row and await self._events(task_id, 0, 1):  # without a fence, no worker gave it back
                return task
            elif canceled := await self._end_unbegun(hot, task_id, Outcome(TaskState.CANCELED, 0), nonce, as_in=row):
                await self._take_out_of_line(hot, task_id)
                return canceled

    async def _join(self, principal: Principal, task_id: str, *, most: int, interrupt: bool) -> Row:
        """The hot record with the task in its line, or as its open turn."""
        session_id = session_id_of(task_id) or ""
        polite, rude = items.line_entries(task_id)
        while True:
            now = self._now()
            try:
                return await self._table.update(
                    items.hot_key(session_id),
                    _JOIN,
                    condition=_ROOM if most else _ROOM + _AND_FREE,
                    owner=items.owner_key(principal),
                    polite=polite,
                    rude=rude,
                    entries=[rude if interrupt else polite],
                    none=[],
                    most=max(most, 1),
                    activity=activity_key_at(now, session_id),
                    now=now,
                    now_s=items.seconds(now),
                )
            except ConditionFailed as met:
                hot = met.row
            if not hot or not self._visible(hot, principal):
                raise NotFound.task(task_id)
            open_task, waiting = items.open_task_id(hot), items.waiting_ids(hot)
            if task_id in (open_task, *waiting):
                return hot
            if most == 0 and open_task is not None:
                raise SessionBusy(open_task) if hot["lease_until"] > now else LostTurn(open_task)
            if len(waiting) >= max(most, 1):
                raise SessionBusy(waiting[0]) if most == 0 else LineFull(waiting[0], most)

    async def _end_unbegun(
        self, hot: Row, task_id: str, outcome: Outcome, nonce: str, *, as_in: Row | None = None
    ) -> Task | None:
        """The task, ended; None if somebody has ended it before, or has begun a turn since `hot` and `as_in` were read.

        The one write that is a transaction: of a turn that has begun, events may have been told already. If no turn is
        open, it leaves the cancel mark, for a claim that is on its way; else it does nothing to the hot record.
        """
        values = items.outcome_values(outcome) | {"updated_at": self._now(), "nonce": nonce}
        key = items.task_key(task_id)
        if outcome.output is not None:
            far = items.far(await self._last_expiry(session_id_of(task_id) or ""))
            values, parts = overflow.moved_out(key, values, nonce, far)
            if parts:
                await self._table.put_many(parts)
        condition, seen = "task_state = :submitted", {"submitted": TaskState.SUBMITTED.value}
        if as_in is not None and "fence" in as_in:
            condition, seen = f"{condition} AND fence = :fence", seen | {"fence": as_in["fence"]}
        elif as_in is not None:
            condition += " AND attribute_not_exists(fence)"
        ending = Update(key, "SET " + ", ".join(f"{name} = :{name}" for name in values), condition, values | seen)
        busy = items.open_task_id(hot) is not None
        unbegun = Update(
            items.hot_key(session_id_of(task_id) or ""),
            "REMOVE unbegun" if busy else "SET cancel = :task",
            "attribute_exists(pk) AND " + ("open_task <> :task" if busy else "attribute_not_exists(open_task)"),
            {"task": items.suffix_of(task_id)},
        )
        try:
            await self._table.update_all(ending, unbegun)
        except ConditionFailed as met:
            if met.row.get("nonce") != nonce:
                return None
        return await self._task(task_id)

    async def _mark(self, task_id: str) -> bool:
        """Leave the cancel mark, if the turn is open. The mark names the task: it means nothing to the next turn."""
        suffix = items.suffix_of(task_id)
        try:
            await self._table.update(
                items.hot_key(session_id_of(task_id) or ""),
                "SET cancel = :task",
                condition="open_task = :task",
                task=suffix,
            )
        except ConditionFailed:
            return False
        return True
