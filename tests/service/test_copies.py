"""Forks that are refused leave nothing behind, on any store."""

from __future__ import annotations

import pytest

from hector.copies import fork
from hector.errors import IdempotencyKeyReused
from hector.model import Session
from hector.stores.base import Idempotency, Store
from hector.stores.memory import STAGED_FOR, MemoryStore
from tests.support import ALICE, ManualClock, ask, new_session, services_with


async def test_a_fork_whose_key_stands_for_another_body_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = services_with(store)
    session_id = await new_session(services)
    await ask(services, session_id, "hello")
    await fork(store, services.turns, ALICE, session_id, idempotency=Idempotency("key", "one"))
    drafts: list[Session] = []
    stage = store.stage_turns

    async def staging(session: Session, *arguments: object, **options: object) -> None:
        drafts.append(session)
        await stage(session, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "stage_turns", staging)
    with pytest.raises(IdempotencyKeyReused):
        await fork(store, services.turns, ALICE, session_id, idempotency=Idempotency("key", "two"))
    await store.create_session(drafts[0])
    assert (await store.list_tasks(ALICE, drafts[0].id)).items == []


async def test_the_memory_store_forgets_what_was_staged_a_day_ago() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    services = services_with(store, clock=clock)
    old, new = [services.turns.draft_session(ALICE, "my_agent") for _ in range(2)]
    await store.stage_turns(old, [])
    clock.now += STAGED_FOR - 1
    await store.stage_turns(new, [])
    await store.clean_up()
    assert set(store.staged) == {old.id, new.id}
    clock.now += 1
    await store.clean_up()
    assert set(store.staged) == {new.id}
