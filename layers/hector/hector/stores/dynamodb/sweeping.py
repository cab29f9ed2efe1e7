"""The sessions of everybody, for operators and sweeps: scans of the index, which holds little more than keys.

An entry of the index has about 150 bytes, and a scan is billed half a unit by 4 KB: 10,000 live sessions cost some 190
read units to scan, whatever is found. A session whose turn begins while a listing goes on may come twice in it.
"""

from __future__ import annotations

from hector.errors import InvalidRequest, NotFound
from hector.model import Millis, Principal, Session, is_id
from hector.stores.base import Page, Unfinished
from hector.stores.cursors import activity_key_at, check_sessions_cursor
from hector.stores.dynamodb import items
from hector.stores.dynamodb.rows import Row
from hector.stores.dynamodb.sessions import Sessions

RECENT: Millis = 3_600_000
"""A sweep looks at the sessions in which a turn may have run so long ago: its start is what the index tells."""
_LOOKED_AT = 100
"""Hot records read at once."""


class Sweeping(Sessions):
    _longest_turn: Millis = 0

    async def read_owner(self, session_id: str) -> Principal:
        hot = await self._table.get(items.hot_key(session_id)) if is_id(session_id) else None
        if hot is None or items.expires_at(hot) <= self._now():
            raise NotFound.session(session_id)
        return items.principal_of(hot)

    async def list_every_session(self, *, cursor: str | None = None, limit: int = 100) -> Page[Session]:
        entries, end = await self._table.scan_activity(after=_place(cursor), page=limit)
        sessions = await self._shown([hot for _, hot in await self._alive(entries)])
        return Page(sessions, _cursor(end) if end else None)

    async def list_unfinished(self, *, cursor: str | None = None, limit: int = 100) -> Page[Unfinished]:
        """Each call scans up to 1 MB of the index, some 7,000 sessions, and looks at those with recent activity."""
        now = self._now()
        entries, end = await self._table.scan_activity(
            after=_place(cursor), since=activity_key_at(max(0, now - RECENT - self._longest_turn), "")
        )
        found: list[Row] = []
        for start in range(0, len(entries), _LOOKED_AT):
            for entry, hot in await self._alive(entries[start : start + _LOOKED_AT]):
                if _lost(hot, now) or ("waiting" in hot and hot["waiting"] and "open_task" not in hot):
                    found.append(hot)
                    if len(found) == limit:
                        end = entry
                        break
            if len(found) == limit:
                break
        sessions = await self._shown(found)
        unfinished = [Unfinished(session, _lost(hot, now)) for session, hot in zip(sessions, found, strict=True)]
        return Page(unfinished, _cursor(end) if end else None)

    async def clean_up(self) -> int:
        """Nothing: expired rows are the table's own to delete, and its stream tells who erases the rest."""
        return 0


def _lost(hot: Row, now: Millis) -> str | None:
    """The open task, if its lease has run out."""
    return items.open_task_id(hot) if hot.get("lease_until", 0) <= now else None


def _cursor(entry: Row) -> str:
    return f"{entry['activity']} {entry['owner_key']}"


def _place(cursor: str | None) -> Row | None:
    """The entry of the index that the cursor is. Raises InvalidRequest."""
    if cursor is None:
        return None
    activity, _, owner_key = cursor.partition(" ")
    if not owner_key:
        raise InvalidRequest(f"The cursor {cursor!r} is not one that this store gave out.", field="cursor")
    pk, sk = items.hot_key(check_sessions_cursor(activity).partition(".")[2])
    return {"pk": pk, "sk": sk, "owner_key": owner_key, "activity": activity}
