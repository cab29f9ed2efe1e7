"""What belongs to another principal, or to the same subject in another tenant, is not found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hector.errors import NotFound
from hector.model import Principal, TaskState
from hector.stores.base import Outcome, Store
from hector.testing.bench import LEASE, Bench, nonce

GAVE_UP = Outcome(TaskState.FAILED, 0)
Call = Callable[[Store, Principal, str, str], Awaitable[Any]]

CALLS: dict[str, Call] = {
    "read_session": lambda store, who, session_id, _: store.read_session(who, session_id),
    "update_session": lambda store, who, session_id, _: store.update_session(who, session_id, ttl=60_000, metadata={}),
    "delete_session": lambda store, who, session_id, _: store.delete_session(who, session_id),
    "claim": lambda store, who, session_id, task_id: store.claim(who, session_id, task_id, lease=LEASE, nonce=nonce()),
    "read_history": lambda store, who, session_id, _: store.read_history(who, session_id, limit=5),
    "list_tasks": lambda store, who, session_id, _: store.list_tasks(who, session_id),
    "read_task": lambda store, who, _, task_id: store.read_task(who, task_id),
    "read_events": lambda store, who, _, task_id: store.read_events(who, task_id, after=0),
    "request_cancel": lambda store, who, _, task_id: store.request_cancel(who, task_id),
    "line_up": lambda store, who, _, task_id: store.line_up(who, task_id, most=1),
    "leave_line": lambda store, who, _, task_id: store.leave_line(who, task_id, GAVE_UP, nonce=nonce()),
    "read_summary": lambda store, who, session_id, _: store.read_summary(who, session_id),
}


def strangers(principal: Principal) -> list[Principal]:
    return [
        Principal("stranger", principal.tenant),
        Principal(principal.subject, "other tenant"),
        Principal(principal.subject),
        Principal(principal.tenant, principal.subject),
    ]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_not_found_for_strangers(bench: Bench, call: Call) -> None:
    session = await bench.session()
    task = await bench.submitted(session)
    for stranger in strangers(bench.principal):
        with pytest.raises(NotFound):
            await call(bench.store, stranger, session.id, task.id)
    assert (await bench.store.read_task(bench.principal, task.id)).state is TaskState.SUBMITTED
    await call(bench.store, bench.principal, session.id, task.id)


async def test_strangers_list_nothing(bench: Bench) -> None:
    session = await bench.session()
    for stranger in strangers(bench.principal):
        assert (await bench.store.list_sessions(stranger)).items == []
    assert (await bench.store.list_sessions(bench.principal)).items == [session]


@pytest.mark.parametrize("task_id", ["", "x", "a-b", "../..", "ä", "a" * 300, "-" + "0" * 19, "x-" + "0" * 19])
async def test_what_is_no_task_id_is_not_found(bench: Bench, task_id: str) -> None:
    for call in (bench.store.read_task, bench.store.request_cancel):
        with pytest.raises(NotFound):
            await call(bench.principal, task_id)


async def test_a_task_is_claimed_in_its_own_session_only(bench: Bench) -> None:
    session, other = await bench.session(), await bench.session()
    task = await bench.submitted(other)
    with pytest.raises(NotFound):
        await bench.store.claim(bench.principal, session.id, task.id, lease=LEASE, nonce=nonce())
