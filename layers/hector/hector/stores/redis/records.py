"""What every room of the store works with: scripts on a session's hot record, and their refusals as errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hector.concurrency import side_by_side
from hector.errors import LeaseLost, LineFull, LostTurn, NotFound, SessionBusy, TaskClosed, TaskNotCancelable
from hector.model import Millis, Principal, is_id, session_id_of
from hector.stores.base import Clock, Lease
from hector.stores.redis import items
from hector.stores.redis.connection import Connection
from hector.stores.redis.encoding import encoded_principal
from hector.stores.redis.items import Fields, Keys, Reply
from hector.stores.redis.scripts import PARTS

SETTLED: Millis = 60_000
"""An entry of a listing without its session is dropped after so long: before, the session may be about to come."""


class Records:
    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._keys = Keys(connection.place.prefix)
        self._now = clock

    async def _run(
        self,
        script: str,
        session_id: str,
        now: Millis,
        *args: str | int,
        task_id: str = "",
        suffix: str = "",
        also: Sequence[str] = (),
    ) -> Reply:
        """What a script on a session has answered. Raises what it refused for; `task_id` is what was asked for."""
        parts = self._keys.parts(session_id, suffix or items.suffix_of(task_id), PARTS.get(script, ()))
        keys = [self._keys.hot(session_id), *also, *parts]
        status, *answer = await self._connection.run(script, keys, now, *args)
        match status:
            case "ok":
                return answer
            case "gone":
                raise NotFound.task(task_id) if task_id else NotFound.session(session_id)
            case "busy":
                raise SessionBusy(f"{session_id}-{answer[0]}")
            case "full":
                raise LineFull(f"{session_id}-{answer[0]}", int(args[2]))
            case "lost_turn":
                raise LostTurn(f"{session_id}-{answer[0]}")
            case "lost":
                raise LeaseLost(f"The lease on task {task_id!r} has passed to another worker.")
            case "gap":
                raise LeaseLost(f"The engine has lost events of task {task_id!r}: its log ends with {answer[0]}.")
            case "closed":
                raise TaskClosed(f"Task {task_id!r} is already {answer[0]}.")
            case "ended":
                raise TaskNotCancelable(f"Task {task_id!r} is already {answer[0]}.")
        return [status, *answer]

    async def _run_on_task(
        self, script: str, principal: Principal, task_id: str, *args: str | int
    ) -> tuple[str, Reply]:
        """The session, and what a script on one of its tasks has answered. Raises NotFound."""
        session_id = session_id_of(task_id)
        if session_id is None:
            raise NotFound.task(task_id)
        owner, suffix = encoded_principal(principal), items.suffix_of(task_id)
        answer = await self._run(script, session_id, self._now(), owner, suffix, *args, task_id=task_id)
        return session_id, answer

    async def _run_held(
        self, script: str, lease: Lease, now: Millis, *args: str | int, also: Sequence[str] = ()
    ) -> Reply:
        """What a script that needs the lease has answered. Raises LeaseLost."""
        suffix = items.suffix_of(lease.task_id)
        return await self._run(
            script, lease.session.id, now, lease.fence, suffix, *args, task_id=lease.task_id, also=also
        )

    async def _hot_records(self, session_ids: Sequence[str]) -> list[Fields | None]:
        """With their metadata; None for each that is not there."""
        read = [("HMGET", self._keys.hot(id_), *items.FIELDS, "metadata") for id_ in session_ids]
        return [items.hot_of(values) for values in await self._connection.calls(read)]

    async def _hot(self, session_id: str) -> Fields:
        """Of a session that is alive, whoever's it is. Raises NotFound."""
        if is_id(session_id):
            key = self._keys.hot(session_id)
            hot = items.hot_of(await self._connection.call("HMGET", key, *items.FIELDS, "metadata"))
            if hot is not None and items.expires_at(hot) > self._now():
                return hot
        raise NotFound.session(session_id)

    async def _own_hot(self, principal: Principal, session_id: str) -> Fields:
        """Raises NotFound."""
        hot = await self._hot(session_id)
        if hot["owner"] != encoded_principal(principal):
            raise NotFound.session(session_id)
        return hot

    async def _list(self, listing: str, session_id: str, activity: Millis, last_expiry: Millis) -> None:
        """Put a session into a listing by activity."""
        await self._connection.run("list", [listing], self._now(), session_id, activity, last_expiry)

    async def _unlist(self, listing: str, session_ids: Sequence[str], seen: Millis) -> None:
        """Take sessions out of a listing, unless they have been active since `seen`."""
        if session_ids:
            await self._connection.run("unlist", [listing], self._now(), seen, *session_ids)

    async def _erase(self, session_id: str, owner_listing: str) -> None:
        """Erase what is left of a session whose hot record is gone, unless turns are being staged for it anew."""
        await self._erase_tasks(session_id, "left")
        await side_by_side(
            self._connection.calls(
                [
                    ("ZREM", self._keys.every_session, session_id),
                    ("ZREM", self._keys.by_expiry, f"{session_id} {owner_listing}"),
                    ("ZREM", self._keys.active, session_id),
                ]
            ),
            self._connection.call("ZREM", owner_listing, session_id),
        )

    async def _erase_tasks(self, session_id: str, what: Literal["left", "staged"]) -> None:
        left = 1
        while left:
            [left] = await self._run("erase", session_id, self._now(), _ERASED_AT_ONCE, what)


_ERASED_AT_ONCE = 500
"""Tasks: other calls wait meanwhile."""
