"""What turns cost on DynamoDB: write units by AWS's own size rules, held against what the engine reports."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.backends import running
from tests.contract.dynamodb.units import Write, recorded

from benchmarks.report import Row
from hector.config import store_at
from hector.log_writer import FLUSH_CHARACTERS
from hector.model import (
    Event,
    EventKind,
    Message,
    Principal,
    Role,
    Session,
    Task,
    TaskState,
    Usage,
    new_session_id,
    new_task_id,
)
from hector.stores.base import StagedTurn
from hector.testing.bench import DONE, LEASE, MAX_AGE, TTL, Bench, nonce, said
from hector.testing.clock import ManualClock
from hector.wiring import open_store

TURNS = (1, 10, 100, 1000)
SIZES = {"0.5 KB": (500, 7), "1 KB": (1000, 9), "20 KB": (20_000, None)}
"""Of the prompt, and of the answer; and the budget, if there is one."""


def measure(*, quick: bool = False) -> list[Row]:
    del quick  # it counts, and takes a few seconds
    try:
        with tempfile.TemporaryDirectory() as folder, running("dynamodb", Path(folder)) as url:
            return asyncio.run(_measure(url))
    except RuntimeError as missing:
        return [Row("dynamodb: write units", "units", None, note=str(missing))]


async def _measure(url: str) -> list[Row]:
    rows: list[Row] = []
    writes: list[Write] = []
    clock = ManualClock()
    async with Bench(lambda _: open_store(store_at(url, "the URL"), clock), clock, Principal("benchmark")) as bench:
        for label, (size, budget) in SIZES.items():
            for number in TURNS:
                log, turn = await _turn(bench, number, size)
                writes += log + turn
                rows.append(
                    Row(f"dynamodb: turn {number:,} of {label} + {label}", "units", _units(turn), at_most=budget,
                        note=f"and {_units(log)} for the log, in {len(log) // 2} flushes")
                )  # fmt: skip
    differing = [write for write in writes if write.counted != write.reported]
    rows.append(
        Row("dynamodb: writes of which the engine reports other units", "writes", len(differing), at_most=0,
            note=f"of {len(writes)} single-item writes; DynamoDB Local's ConsumedCapacity, its index included")
    )  # fmt: skip
    return rows


def _units(writes: list[Write]) -> int:
    return sum(write.counted for write in writes)


async def _turn(bench: Bench, number: int, size: int) -> tuple[list[Write], list[Write]]:
    """The writes of a session's turn of that number: its log's, and the others."""
    session = await _session_of(bench, number - 1)
    bench.clock.advance(seconds=1)
    task = replace(bench.task(session), input=said("q" * size))
    with recorded(bench.store) as turn:
        await bench.store.submit(task, nonce=nonce())
        lease = await bench.claim(task)
    bench.clock.advance(seconds=1)
    pieces = [min(FLUSH_CHARACTERS, size - start) for start in range(0, size, FLUSH_CHARACTERS)]
    with recorded(bench.store) as log:
        for index, length in enumerate(pieces):
            lease = await bench.store.append_events(
                lease, [Event(index + 1, EventKind.MESSAGE, "a" * length)], extend=LEASE
            )
    outcome = DONE._replace(output=Message.of(Role.AGENT, "a" * size), usage=Usage(1234, 5678), last_event=len(pieces))
    with recorded(bench.store) as end:
        await bench.store.commit(lease, outcome, nonce=nonce())
        await bench.store.release(lease)
    return log, turn + end


async def _session_of(bench: Bench, turns: int) -> Session:
    """A session that has so many turns behind it."""
    now = bench.clock.now
    session = Session(
        new_session_id(), "agent", bench.principal, now, TTL, now + TTL, now + MAX_AGE, now, turns=turns
    )  # fmt: skip
    staged = [
        Task(
            new_task_id(session.id, now - turns + number), session.id, "agent", TaskState.COMPLETED, said("before"),
            now - turns + number, now, Message.of(Role.AGENT, "answer"), turn=number,
        )
        for number in range(1, turns + 1)
    ]  # fmt: skip
    await bench.store.stage_turns(session, [StagedTurn(task, []) for task in staged])
    await bench.store.create_session(session)
    return session
