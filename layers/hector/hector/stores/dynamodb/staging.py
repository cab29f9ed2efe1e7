"""Turns that are staged for a session, and the erasing of what sessions left, which must not meet each other.

A session that is copied once more comes back under its own id. What the table's stream tells of its former life may
arrive while the turns of the new one are being staged, when there is no hot record that would say so. Hence a row that
is written before the staged ones, the *marker*: its nonce is in every row that is staged with it, and in the hot record
that is created from them. Whoever erases leaves all alone beside a marker that is not the gone session's own, and
deletes only rows that are as it has seen them. What a crash leaves in the middle of staging goes with its far TTL.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence

from hector.model import Session, Summary
from hector.stores.base import Clock, StagedTurn
from hector.stores.dynamodb import items, overflow, pointers
from hector.stores.dynamodb.failures import ConditionFailed
from hector.stores.dynamodb.rows import Key, Row
from hector.stores.dynamodb.table import Table


class Staging:
    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._now = clock
        self._staging: set[str] = set()
        """Sessions that this process stages turns for."""

    async def stage_turns(
        self, session: Session, turns: Sequence[StagedTurn], *, summary: Summary | None = None
    ) -> None:
        self._staging.add(session.id)
        mark = {"staged": (await self._put_new(items.marker_row(session, secrets.token_hex(4))))["staged"]}
        rows = [
            row
            for turn in turns
            for row in (
                items.ended_row(turn.task, session.last_expiry),
                *items.log_rows(turn.task.id, turn.events, 0, session.last_expiry),
            )
        ]
        if summary is not None:
            rows.append(items.summary_row(session, summary, fence=0))
        await self._table.put_many(part | mark for row in rows for part in overflow.fitting(row, "staged"))

    async def unstage(self, session: Session) -> None:
        self._staging.discard(session.id)
        await self.erase(session.id)

    async def erase(self, session_id: str) -> None:
        """Erase what belonged to a session whose hot record is gone, down to what its last worker may still write."""
        left = True
        while left:
            left = False
            async for rows in self._table.versions(session_id):
                await self._table.delete_many((row["pk"], row["sk"]) for row in rows)
                left = left or bool(rows)

    async def erase_gone(self, session_id: str, key: str | None, staged: str | None = None) -> None:
        """Erase what is left of a session whose hot record was deleted, unless it is there again, or about to be.

        `key` and `staged` as in that record.
        """
        if await self._there_again(session_id, staged):
            return
        if key is not None:
            await self._free((key, pointers.POINTER), session_id)
        left = True
        while left:
            left = False
            async for rows in self._table.versions(session_id):
                # After the rows were read: what was staged by then has its marker.
                if await self._there_again(session_id, staged):
                    return
                await self._table.delete_unchanged(rows)
                left = left or bool(rows)

    async def _there_again(self, session_id: str, staged: str | None) -> bool:
        # The marker first: it is there until the hot record is.
        marker = await self._table.get(items.marker_key(session_id))
        if marker is not None and marker["staged"] != staged:
            return True
        return await self._table.get(items.hot_key(session_id)) is not None

    async def _staged_for(self, session: Session) -> Row:
        """What the hot record says of the turns that were staged for the session, if any were."""
        if not session.turns and session.id not in self._staging:
            return {}
        marker = await self._table.get(items.marker_key(session.id))
        return {"staged": marker["staged"]} if marker else {}

    async def _free(self, pointer: Key, session_id: str) -> None:
        """Free an idempotency key, unless it stands for another session by now."""
        with contextlib.suppress(ConditionFailed):
            await self._table.delete(
                pointer, condition="attribute_not_exists(pk) OR target = :target", target=session_id
            )

    async def _put_new(self, row: Row) -> Row:
        """The row, or the one that was there before."""
        try:
            await self._table.put(row, condition="attribute_not_exists(pk)")
        except ConditionFailed as met:
            return met.row
        return row
