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

from benchmarks.crowd import answer, crowd, said
from benchmarks.probe import Probe
from benchmarks.report import Row
from benchmarks.servers import free_port, hector, serving, uvicorn
from hector.cli.serve import allow_open_files

STREAMS = 1_000
WARM_UP = 30
SETTLE_SECONDS = 1.0
KINDS = {"silence": "silent", "ticks": "with a token a second"}
LAGS = {
    "median": "lag_p50",
    "99th percentile": "lag_p99",
    "worst": "lag_max",
    "99th percentile with other processes' time": "elapsed_p99",
}
MEMORY_AT_MOST = 2.0
LAG_AT_MOST_MS = 50.0


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
        for start, results in ((_ours, ours), (_peer, peers)):
            with start(kind) as server:
                results.append(asyncio.run(_measured(server, seconds)))
    what = f"{STREAMS:,} open streams, {KINDS[kind]}"
    taken = f"median of {rounds} rounds" if rounds > 1 else "one round"
    return [
        Row(f"{what}: memory of each", "KB", _median(ours, "memory"), _median(peers, "memory"),
            at_most=MEMORY_AT_MOST, note=taken),
        Row(f"{what}: event-loop lag, 99th percentile", "ms", _median(ours, "lag_p99"), at_most=LAG_AT_MOST_MS,
            note=f"{taken}: {_told(ours)}; the peer: {_told(peers)}"),
    ]  # fmt: skip


def _told(results: list[Measured]) -> str:
    lags = [f"{name} {_median(results, figure):.1f}" for name, figure in LAGS.items()]
    cpu, tokens = 100 * _median(results, "cpu"), _median(results, "tokens")
    return f"{', '.join(lags)} ms; {cpu:.0f} % of a core" + (f", {tokens:,.0f} tokens/s" if tokens else "")


def _median(results: list[Measured], figure: str) -> float:
    found = [getattr(one if hasattr(one, figure) else one.full, figure) for one in results]
    return float(median(found))


async def _measured(server: Server, seconds: float) -> Measured:
    async with crowd(server.port, server.path, server.body, WARM_UP):
        await server.probe(0.5)
    empty = await server.probe(0.5)
    async with crowd(server.port, server.path, server.body, STREAMS) as streams:
        await asyncio.sleep(SETTLE_SECONDS)
        before = sum(stream.events for stream in streams)
        full = await server.probe(seconds)
        tokens = (sum(stream.events for stream in streams) - before) / seconds
        closed = sum(stream.ended.done() for stream in streams)
        if closed:
            raise RuntimeError(f"{closed} of {len(streams)} streams were closed while they were measured")
    return Measured((full.rss - empty.rss) / 1000 / STREAMS, full, tokens)


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
