"""A session as a conversation: the messages of its turns, page by page."""

from __future__ import annotations

from typing import NamedTuple

from hector.errors import NotFound
from hector.model import Message, Millis, Principal, Session, Task, TaskState
from hector.stores.base import Page, Store
from hector.stores.cursors import check_messages_cursor
from hector.turn_order import numbered_turns


class Said(NamedTuple):
    """A message of a turn. Its id, which is also a page's cursor, is the task's with the role behind it."""

    id: str
    task_id: str
    message: Message
    at: Millis


async def messages(
    store: Store,
    principal: Principal,
    session_id: str,
    *,
    newest_first: bool = False,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Said]:
    """What was said in the turns that have ended, in their order, and what the user said in the one that is running.

    A turn that ended without an answer gives one message; one that never began (it waits, or was canceled as it did)
    gives none. Raises NotFound, InvalidRequest.
    """
    session = await store.read_session(principal, session_id)
    found: list[Said] = []
    before: Task | None = None
    if cursor is not None:
        try:
            before = await store.read_task(principal, check_messages_cursor(cursor, session_id))
        except NotFound:
            return Page([])
        turn = _said(before, newest_first)
        found = turn[1:] if turn and turn[0].id == cursor else []
    numbers = _numbers(session, before, newest_first)
    if newest_first and before is None:
        found += _said(await _running(store, session), newest_first)
    near = before.id if before is not None and before.turn else None
    while numbers and len(found) <= limit:
        next_ones, numbers = numbers[: limit // 2 + 1], numbers[limit // 2 + 1 :]
        turns = await numbered_turns(store, principal, session_id, next_ones, near=near)
        found += [said for task in turns for said in _said(task, newest_first)]
        near = turns[-1].id if turns else near
    if not newest_first and not numbers and (before is None or before.turn):
        found += _said(await _running(store, session), newest_first)
    return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)


def _numbers(session: Session, before: Task | None, newest_first: bool) -> range:
    """The turns that come after one of them, or all. The one that is running comes after those that have ended."""
    if newest_first:
        return range(session.turns if before is None else (before.turn or session.turns + 1) - 1, 0, -1)
    return range(1 if before is None else (before.turn or session.turns) + 1, session.turns + 1)


async def _running(store: Store, session: Session) -> Task | None:
    """The turn that is open, or just ending; its id is among the newest, unless it has waited."""
    newest = await store.list_tasks(session.principal, session.id)
    seen = next((task for task in newest.items if _is_running(task, session)), None)
    if seen is None and session.open_task_id is not None:
        seen = await store.read_task(session.principal, session.open_task_id)
    return seen if seen is not None and _is_running(seen, session) else None


def _is_running(task: Task, session: Session) -> bool:
    return task.state is TaskState.WORKING or task.turn > session.turns


def _said(task: Task | None, newest_first: bool) -> list[Said]:
    if task is None:
        return []
    if not task.turn and task.state is not TaskState.WORKING:
        return []
    said = [Said(f"{task.id}.{task.input.role}", task.id, task.input, task.created_at)]
    if task.output is not None:
        said.append(Said(f"{task.id}.{task.output.role}", task.id, task.output, task.updated_at))
    return said[::-1] if newest_first else said
