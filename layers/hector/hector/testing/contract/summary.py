"""Summaries of a session's older turns: fenced, only ever further, and gone with the session."""

from __future__ import annotations

import pytest

from hector.errors import LeaseLost, NotFound
from hector.model import Principal, Summary
from hector.testing.bench import LEASE, Bench, nonce


async def test_the_newest_summary_is_kept(bench: Bench) -> None:
    session = await bench.session()
    assert await bench.store.read_summary(bench.principal, session.id) is None
    lease = await bench.claimed(session)
    for summary in (Summary("Über Züge 🚂\n\0", 3), Summary("About trains and planes.", 7)):
        await bench.store.save_summary(lease, summary)
        assert await bench.store.read_summary(bench.principal, session.id) == summary
    assert (await bench.ended(lease)).turn == 1
    assert await bench.another().read_summary(bench.principal, session.id) == Summary("About trains and planes.", 7)


async def test_a_summary_never_goes_back(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    await bench.store.save_summary(lease, Summary("further", 7))
    await bench.store.save_summary(lease, Summary("not as far", 6))
    await bench.store.save_summary(lease, Summary("the same, told again", 7))
    assert await bench.store.read_summary(bench.principal, session.id) == Summary("further", 7)


async def test_a_worker_that_lost_its_lease_can_summarise_nothing(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    bench.clock.advance(seconds=LEASE / 1000)
    await bench.store.claim(bench.principal, session.id, lease.task_id, lease=LEASE, nonce=nonce())
    with pytest.raises(LeaseLost):
        await bench.store.save_summary(lease, Summary("too late", 1))
    assert await bench.store.read_summary(bench.principal, session.id) is None


async def test_summaries_are_their_owners_and_end_with_the_session(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    await bench.store.save_summary(lease, Summary("secret", 1))
    with pytest.raises(NotFound):
        await bench.store.read_summary(Principal("stranger", "tenant"), session.id)
    await bench.store.delete_session(bench.principal, session.id)
    with pytest.raises(NotFound):
        await bench.store.read_summary(bench.principal, session.id)


async def test_a_long_summary(bench: Bench) -> None:
    session = await bench.session()
    lease = await bench.claimed(session)
    summary = Summary("x" * 60_000, 2)
    await bench.store.save_summary(lease, summary)
    assert await bench.store.read_summary(bench.principal, session.id) == summary
