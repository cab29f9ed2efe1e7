"""Events per second of an ended task's log, read from its beginning: `GET /tasks/{id}/stream?after=0`.

The log is in memory, or where HECTOR_STORE says.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from benchmarks.crowd import answer, said
from benchmarks.report import Row, alternating
from benchmarks.servers import free_port, hector, serving
from benchmarks.throughput import OURS, PEER, bare, rate

EVENTS = 10_000
AT_LEAST = 0.5


def measure(*, quick: bool = False) -> list[Row]:
    rounds = 3 if quick else 7
    url = os.environ.get("HECTOR_STORE", "memory://")
    store = url.partition("://")[0]
    environment = {} if store == "memory" else {"HECTOR_STORE": url}
    rates = alternating({OURS: lambda: _hector(environment), PEER: lambda: bare(EVENTS)}, rounds)
    return [
        Row(f"replay of {EVENTS:,} events, {store} store", "events/s", median(rates[OURS]), median(rates[PEER]),
            at_least=AT_LEAST if store == "memory" else None, note=f"median of {rounds} rounds"),
    ]  # fmt: skip


def _hector(environment: Mapping[str, str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        with serving(hector(port, Path(folder)), port, environment):
            task = asyncio.run(answer(port, "/agents/flood/message/send", said(str(EVENTS))))
            return rate(port, f"/tasks/{task['taskId']}/stream?after=0", None, EVENTS)
