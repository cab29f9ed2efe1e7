"""What each backend takes for the steps of a turn, and until another process sees what was appended.

One call after another, on engines of this machine: what a network adds is not in here.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from pathlib import Path

from tests.backends import BACKENDS, running

from benchmarks.report import Row
from benchmarks.servers import PROJECT
from hector.agents.base import Output, Text, Turn
from hector.config import store_at
from hector.config.settings import DEFAULTS, Settings
from hector.model import Event, EventKind, Message, Principal, Role
from hector.services import Services
from hector.stores.base import Store, system_clock
from hector.testing.bench import LEASE, Bench, done, nonce
from hector.testing.clock import ManualClock
from hector.wiring import build, open_store

OWNER = Principal("benchmark")
HISTORY = 50
PIECE = "word " * 40
FOLLOW_AT_MOST_MS = {"redis": 50.0, "dynamodb": 400.0, "sqlite": 400.0, "postgresql": 400.0}
"""For 95 of 100 events."""


class Now(ManualClock):
    """The real time, for the bench that contract tests work with."""

    now = property(lambda _: system_clock(), lambda *_: None)


def measure(*, quick: bool = False) -> list[Row]:
    rows: list[Row] = []
    for backend in BACKENDS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                with running(backend, Path(folder)) as url:
                    rows += asyncio.run(_measure(backend, url, 30 if quick else 100))
            except RuntimeError as missing:
                rows.append(Row(f"{backend}: not measured", "ms", None, note=str(missing)))
    return rows


async def _measure(backend: str, url: str, times: int) -> list[Row]:
    store = open_store(store_at(url, "the URL"))
    await store.set_up()
    async with Bench(lambda _: store, Now(), OWNER) as bench:
        begin = await _begin_to_model(store, times)
        appended, committed, history = await _steps(bench, times)
        rows = [
            _row(backend, "begin to model", begin, "session, history, submit and claim before the model is called"),
            _row(backend, "append", appended, f"a batch of {len(PIECE)} bytes, the lease renewed"),
            _row(backend, "commit", committed, "answer and final status"),
            _row(backend, f"history of {HISTORY}", history, f"the newest {HISTORY} turns of {HISTORY + times}"),
        ]
        if backend in FOLLOW_AT_MOST_MS:
            delays = sorted(await _follow_delays(bench, url, times))
            late = delays[round(0.95 * (len(delays) - 1))]
            rows.append(
                Row(f"{backend}: follow delay, p95", "ms", late, at_most=FOLLOW_AT_MOST_MS[backend],
                    note=f"from the call of append to a follower in another process, of {len(delays)} events;"
                         f" median {statistics.median(delays):.1f} ms")
            )  # fmt: skip
        return rows


def _row(backend: str, what: str, samples: list[float], note: str) -> Row:
    late = statistics.quantiles(samples, n=20)[-1]
    return Row(f"{backend}: {what}", "ms", statistics.median(samples), note=f"{note}; p95 {late:.2f} ms")


class _Stamp:
    """An agent that notes when it was called."""

    at = 0.0

    async def answer(self, turn: Turn) -> AsyncGenerator[Output, None]:
        self.at = time.perf_counter()
        yield Text("done")

    async def aclose(self) -> None:
        pass


async def _begin_to_model(store: Store, times: int) -> list[float]:
    services, stamp = _with_agent(store)
    session = await services.turns.create_session(OWNER, "my_agent")
    samples = []
    for _ in range(times):
        began = time.perf_counter()
        task = await services.turns.start(OWNER, session.id, Message.of(Role.USER, "hello"))
        await services.follow.ended(OWNER, task)
        samples.append(1000 * (stamp.at - began))
        await services.turns.drain()
    return samples


def _with_agent(store: Store) -> tuple[Services, _Stamp]:
    services, stamp = build(Settings.model_validate(DEFAULTS), store=store), _Stamp()
    agents = {id_: replace(served, agent=stamp) for id_, served in services.agents.items()}
    services.turns._agents = agents
    return services, stamp


async def _steps(bench: Bench, times: int) -> tuple[list[float], list[float], list[float]]:
    session = await bench.session(ttl=3_600_000, max_age=7_200_000)
    for _ in range(HISTORY):
        await bench.turn(session)
    appended, committed, history = [], [], []
    for _ in range(times):
        lease = await bench.claimed(session)
        began = time.perf_counter()
        lease = await bench.store.append_events(lease, [Event(1, EventKind.MESSAGE, PIECE)], extend=LEASE)
        appended.append(1000 * (time.perf_counter() - began))
        began = time.perf_counter()
        await bench.store.commit(lease, done(1), nonce=nonce())
        committed.append(1000 * (time.perf_counter() - began))
        await bench.store.release(lease)
        began = time.perf_counter()
        turns = await bench.store.read_history(OWNER, session.id, limit=HISTORY)
        history.append(1000 * (time.perf_counter() - began))
        assert len(turns) == HISTORY
    return appended, committed, history


async def _follow_delays(bench: Bench, url: str, times: int) -> Iterator[float]:
    lease = await bench.claimed(await bench.session(ttl=3_600_000, max_age=7_200_000))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.follower", url, lease.task_id,
        cwd=PROJECT, env=dict(os.environ), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    if (await process.stdout.readline()).strip() != b"ready":
        raise RuntimeError("the follower did not start")
    sent: dict[int, int] = {}
    for number in range(1, times + 1):
        await asyncio.sleep(0.05 + 0.1 * (number % 7) / 7)  # at no fixed distance: a poll must not fall in step
        sent[number] = time.time_ns()
        lease = await bench.store.append_events(lease, [Event(number, EventKind.MESSAGE, PIECE)], extend=LEASE)
    await bench.ended(lease, done(times))
    lines = (await process.stdout.read()).decode().splitlines()
    came = {int(number): int(at) for number, at in map(str.split, lines)}
    await process.wait()
    return ((came[number] - at) / 1e6 for number, at in sent.items())
