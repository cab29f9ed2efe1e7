"""What a turn costs: DynamoDB write units by AWS's own size rules, the index included."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hector.model import Event, EventKind, Message, Role, Usage
from hector.stores.base import Idempotency
from hector.testing.bench import DONE, LEASE, Bench, nonce
from tests.contract.dynamodb.units import Write, recorded
from tests.support import said


async def turn(bench: Bench, size: int, *, before: int = 1, key: Idempotency | None = None) -> list[Write]:
    """The writes of one turn, apart from its log, with a prompt and an answer of so many bytes."""
    session = await bench.session()
    for _ in range(before):
        await bench.turn(session)
    bench.clock.advance(seconds=1)
    task = replace(bench.task(session), input=said("q" * size))
    answer = Message.of(Role.AGENT, "a" * size)
    with recorded(bench.store) as writes:
        await bench.store.submit(task, nonce=nonce(), idempotency=key)
        lease = await bench.claim(task)
        bench.clock.advance(seconds=3)
        outcome = DONE._replace(output=answer, usage=Usage(1234, 5678), last_event=321)
        await bench.store.commit(lease, outcome, nonce=nonce())
        await bench.store.release(lease)
    return writes


def total(writes: list[Write]) -> int:
    return sum(write.counted for write in writes)


@pytest.mark.parametrize(("size", "budget"), [(500, 7), (512, 7), (1000, 9), (1024, 9)])
async def test_a_turn_keeps_within_its_budget(dynamodb: Bench, size: int, budget: int) -> None:
    writes = await turn(dynamodb, size)
    assert len(writes) == 4
    assert total(writes) <= budget


async def test_the_engine_reports_the_same(dynamodb: Bench) -> None:
    for write in await turn(dynamodb, 700, key=Idempotency("key", "fingerprint")):
        assert write.counted == write.reported, write


async def test_a_key_costs_one_unit_more(dynamodb: Bench) -> None:
    with_key = total(await turn(dynamodb, 500, key=Idempotency("k" * 255, "f" * 64)))
    assert with_key == total(await turn(dynamodb, 500)) + 1


async def test_the_cost_does_not_grow_with_the_session(dynamodb: Bench) -> None:
    young = await turn(dynamodb, 500, before=1)
    old = await turn(dynamodb, 500, before=40)
    assert [write.counted for write in old] == [write.counted for write in young]
    assert all(write.size < 1000 for write in old if write.sort_key == "hot")


@pytest.mark.parametrize("text", ["x" * 850, "ab" * 3])
async def test_a_flush_below_a_kilobyte_costs_two_units(dynamodb: Bench, text: str) -> None:
    lease = await dynamodb.claimed(await dynamodb.session())
    with recorded(dynamodb.store) as writes:
        await dynamodb.store.append_events(lease, [Event(1, EventKind.MESSAGE, text)], extend=LEASE)
    assert [(write.operation, write.counted, write.reported) for write in writes] == [
        ("UpdateItem", 1, 1.0),
        ("PutItem", 1, 1.0),
    ]


async def test_what_waiting_costs(dynamodb: Bench) -> None:
    """Whoever has no line pays nothing for it: see the budget."""
    session = await dynamodb.session()
    lease = await dynamodb.claimed(session)
    tasks = [await dynamodb.submitted(session) for _ in range(10)]
    for task in tasks[1:]:
        await dynamodb.store.line_up(dynamodb.principal, task.id, most=10)
        dynamodb.clock.advance(seconds=1)
    with recorded(dynamodb.store) as writes:
        await dynamodb.store.line_up(dynamodb.principal, tasks[0].id, most=10)
    assert [(write.counted, write.reported) for write in writes] == [(3, 3.0)], "the record, and its place in the index"
    await dynamodb.ended(lease)
    dynamodb.clock.advance(seconds=1)
    with recorded(dynamodb.store) as writes:
        await dynamodb.claim(tasks[1])
    assert [(write.counted, write.reported) for write in writes] == [(3, 3.0)], "as a claim without a line"


async def test_what_overflows_is_paid_for_once(dynamodb: Bench) -> None:
    """An update is billed by the whole item: what is in it is paid for again, what is beside it is not."""
    within, beside = await turn(dynamodb, 180_000), await turn(dynamodb, 200_000)
    assert all(write.counted == write.reported for write in within + beside)
    assert [write.operation for write in within] == ["PutItem", "UpdateItem", "UpdateItem", "UpdateItem"]
    assert total(within) == pytest.approx(3 * 180_000 / 1024, rel=0.05)
    assert total(beside) == pytest.approx(2 * 200_000 / 1024, rel=0.05)


async def test_a_renewal_costs_one_unit(dynamodb: Bench) -> None:
    lease = await dynamodb.claimed(await dynamodb.session())
    with recorded(dynamodb.store) as writes:
        await dynamodb.store.append_events(lease, [], extend=LEASE)
        await dynamodb.store.check_lease(lease)
    assert [write.counted for write in writes] == [1]
