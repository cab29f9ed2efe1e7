"""What stands between a task's events and its client: comments where it is quiet, and nothing that gets lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest

from hector.errors import StoreUnavailable
from hector.model import Event, EventKind
from hector.web.sse import or_silence


def event(number: int) -> Event:
    return Event(number, EventKind.MESSAGE, "x")


async def test_batches_come_in_order_and_silence_in_between_is_told() -> None:
    go_on = asyncio.Event()

    async def batches() -> AsyncGenerator[Sequence[Event], None]:
        yield [event(1)]
        yield [event(2), event(3)]
        await go_on.wait()
        yield [event(4)]

    told: list[Sequence[Event] | None] = []
    async for batch in or_silence(batches(), 0.02):
        told.append(batch)
        if told.count(None) == 3:
            go_on.set()
    assert told[:5] == [[event(1)], [event(2), event(3)], None, None, None]
    assert told[-1] == [event(4)]


async def test_a_reader_that_is_slow_is_told_of_no_silence_and_loses_nothing() -> None:
    async def batches() -> AsyncGenerator[Sequence[Event], None]:
        for number in range(1, 6):
            yield [event(number)]

    told = []
    async for batch in or_silence(batches(), 0.005):
        told.append(batch)
        await asyncio.sleep(0.02)
    assert told == [[event(number)] for number in range(1, 6)]


async def test_it_ends_when_its_time_is_over() -> None:
    async def batches() -> AsyncGenerator[Sequence[Event], None]:
        yield [event(1)]
        await asyncio.Event().wait()

    async with asyncio.timeout(5):
        told = [batch async for batch in or_silence(batches(), 10, 0.02)]
        assert told == [[event(1)], None]
        assert [batch async for batch in or_silence(batches(), 10, 0)] == []


async def test_a_failure_comes_after_what_was_read_before_it() -> None:
    async def batches() -> AsyncGenerator[Sequence[Event], None]:
        yield [event(1)]
        raise StoreUnavailable("away")

    told = or_silence(batches(), 10)
    assert await anext(told) == [event(1)]
    with pytest.raises(StoreUnavailable):
        await anext(told)


@pytest.mark.parametrize("how", ["leaves", "canceled"])
async def test_the_log_is_let_go_when_the_reader_goes(how: str) -> None:
    closed = asyncio.Event()

    async def batches() -> AsyncGenerator[Sequence[Event], None]:
        try:
            yield [event(1)]
            yield [event(2)]
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def read(until_first: bool) -> None:
        async with aclosing(or_silence(batches(), 10)) as told:
            async for _ in told:
                if until_first:
                    return

    reading = asyncio.create_task(read(how == "leaves"))
    await asyncio.sleep(0.02)
    if how == "canceled":
        reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert closed.is_set()
    assert len(asyncio.all_tasks()) == 1, "nothing goes on by itself"
