"""A thousand streams that are open at once: what each takes of the server's memory, and how late its loop gets.

Ours are turns of a thousand sessions that run while they are measured, each followed by its own client; the peer's are
a thousand generators. Lag and memory are measured within the server's process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.crowd import Stream, answer, crowd, said
from benchmarks.probe import Probe
from benchmarks.report import Row
from benchmarks.servers import free_port, hector, serving, uvicorn
from hector.cli.serve import allow_open_files

STREAMS = 1_000
WARM_UP = 30
SETTLE_SECONDS = 1.0
KINDS = {"silence": "silent", "ticks": "with a token a second"}


@dataclass(frozen=True, slots=True)
class Server:
    """`path` and `body` of a stream; `probe` asks the server for its own `Probe`, which takes so many seconds."""

    port: int
    path: str
    body: object
    probe: Callable[[float], Awaitable[Probe]]


@dataclass(frozen=True, slots=True)
class Measured:
    """Kilobytes of memory for each stream; what the server said of itself with all of them, and the tokens a second."""

    memory: float
    full: Probe
    tokens: float


def measure(*, quick: bool = False) -> list[Row]:
    allow_open_files()  # here, and by inheritance in the servers
    rounds, seconds = (1, 4.0) if quick else (3, 6.0)
    return [row for kind in KINDS for row in _rows(kind, rounds, seconds)]


def _rows(kind: str, rounds: int, seconds: float) -> list[Row]:
    ours: list[Measured] = []
    peers: list[Measured] = []
    for _ in range(rounds):
        for server, results in ((_ours, ours), (_peer, peers)):
            with server(kind) as serving_it:
                results.append(asyncio.run(_measured(serving_it, seconds)))

    def of(results: list[Measured], figure: Callable[[Measured], float]) -> float:
        return median(map(figure, results))

    what = f"{STREAMS:,} open streams, {KINDS[kind]}"
    cpu = [100 * of(results, lambda one: one.full.cpu) for results in (ours, peers)]
    tokens = [of(results, lambda one: one.tokens) for results in (ours, peers)]
    median_lag = [of(results, lambda one: one.full.lag_p50) for results in (ours, peers)]
    return [
        Row(f"{what}: memory of each", "KB", of(ours, lambda one: one.memory), of(peers, lambda one: one.memory)),
        Row(f"{what}: event-loop lag, 99th percentile", "ms",
            of(ours, lambda one: one.full.lag_p99), of(peers, lambda one: one.full.lag_p99),
            note=f"medians {median_lag[0]:.2f} and {median_lag[1]:.2f} ms, processor {cpu[0]:.0f} % and {cpu[1]:.0f} % of a core,"
                 f" {tokens[0]:,.0f} and {tokens[1]:,.0f} tokens/s arrived; median of {rounds} rounds"),
    ]  # fmt: skip


async def _measured(server: Server, seconds: float) -> Measured:
    async with crowd(server.port, server.path, server.body, WARM_UP):
        await server.probe(0.5)
    empty = await server.probe(0.5)
    async with crowd(server.port, server.path, server.body, STREAMS) as streams:
        await asyncio.sleep(SETTLE_SECONDS)
        before = sum(map(_events, streams))
        full = await server.probe(seconds)
        tokens = (sum(map(_events, streams)) - before) / seconds
        closed = sum(stream.ended.done() for stream in streams)
        if closed:
            raise RuntimeError(f"{closed} of {len(streams)} streams were closed while they were measured")
    return Measured((full.rss - empty.rss) / 1000 / STREAMS, full, tokens)


def _events(stream: Stream) -> int:
    return stream.events


@contextlib.contextmanager
def _ours(kind: str) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        with serving(hector(port, Path(folder)), port):
            yield Server(port, f"/agents/{kind}/message/stream", said("Go."), partial(_probe_by_agent, port))


@contextlib.contextmanager
def _peer(kind: str) -> Iterator[Server]:
    port = free_port()
    with serving(uvicorn("benchmarks.peers.bare_sse:app", port), port):
        yield Server(port, f"/{kind}", {}, partial(_probe_by_route, port))


async def _probe_by_agent(port: int, seconds: float) -> Probe:
    task = await answer(port, "/agents/probe/message/send", said(str(seconds)))
    return Probe(**json.loads(task["output"]["content"]))


async def _probe_by_route(port: int, seconds: float) -> Probe:
    return Probe(**await answer(port, f"/probe?seconds={seconds}"))
