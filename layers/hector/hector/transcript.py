"""A session as a conversation: the messages of its turns, page by page."""

from __future__ import annotations

from typing import NamedTuple

from hector.errors import NotFound
from hector.model import Message, Millis, Principal, Task, TaskState
from hector.stores.base import Page, Store
from hector.stores.cursors import check_messages_cursor


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
    """What was said in the turns that have ended, and what the user said in the one that is running.

    In the order in which it was sent. A turn that ended without an answer gives one message; one that never began
    (it waits, or was canceled as it did) gives none. Raises NotFound, InvalidRequest.
    """
    found: list[Said] = []
    after = None
    if cursor is not None:
        after = check_messages_cursor(cursor, session_id)
        found = await _rest_of_turn(store, principal, after, cursor, newest_first)
    while len(found) <= limit:
        page = await store.list_tasks(
            principal, session_id, oldest_first=not newest_first, cursor=after, limit=limit // 2 + 1
        )
        found += [said for task in page.items for said in _said(task, newest_first)]
        after = page.next_cursor
        if after is None:
            break
    return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)


async def _rest_of_turn(
    store: Store, principal: Principal, task_id: str, cursor: str, newest_first: bool
) -> list[Said]:
    try:
        turn = _said(await store.read_task(principal, task_id), newest_first)
    except NotFound:
        return []
    return turn[1:] if turn and turn[0].id == cursor else []


def _said(task: Task, newest_first: bool) -> list[Said]:
    if not task.turn and task.state is not TaskState.WORKING:
        return []
    said = [Said(f"{task.id}.{task.input.role}", task.id, task.input, task.created_at)]
    if task.output is not None:
        said.append(Said(f"{task.id}.{task.output.role}", task.id, task.output, task.updated_at))
    return said[::-1] if newest_first else said
