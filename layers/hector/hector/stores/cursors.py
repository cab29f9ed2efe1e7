"""Cursors of the two listings: where a page ended. Clients hand them back untouched; anything else is refused."""

from __future__ import annotations

import re

from hector.errors import InvalidRequest
from hector.model import Millis, Role, Session, session_id_of

_SESSIONS = re.compile(r"[0-9]{15}\.[A-Za-z0-9-]{1,100}")


def activity_key(session: Session) -> str:
    """Sorts sessions by their last activity; the id breaks ties."""
    return activity_key_at(session.last_activity_at, session.id)


def activity_key_at(at: Millis, session_id: str) -> str:
    return f"{at:015d}.{session_id}"


def check_sessions_cursor(cursor: str) -> str:
    """The activity key that the cursor is. Raises InvalidRequest."""
    if not _SESSIONS.fullmatch(cursor):
        raise _refused(cursor)
    return cursor


def check_tasks_cursor(cursor: str, session_id: str) -> str:
    """The id of the last task of the page before. Raises InvalidRequest."""
    if session_id_of(cursor) != session_id:
        raise _refused(cursor)
    return cursor


def check_messages_cursor(cursor: str, session_id: str) -> str:
    """The id of the task of the last message of the page before. Raises InvalidRequest."""
    task_id, _, role = cursor.rpartition(".")
    if role not in set(Role) or session_id_of(task_id) != session_id:
        raise _refused(cursor)
    return task_id


def _refused(cursor: str) -> InvalidRequest:
    return InvalidRequest(f"The cursor {cursor!r} is not one that this server gave out.", field="cursor")
