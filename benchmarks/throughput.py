"""Events per second of one stream over uvicorn on the loopback, from an agent that never waits.

Servers run one at a time, in processes of their own; so does the reader.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.crowd import said
from benchmarks.report import Row, alternating
from benchmarks.servers import PROJECT, free_port, hector, serving, uvicorn

EVENTS = 20_000
A2A_EVENTS = 1_000
A2A_FOLDER = PROJECT / ".tools/a2a"
A2A_PYTHON = A2A_FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
A2A_LOCK = Path(__file__).parent / "peers/a2a.lock"
OURS, PEER = "ours", "peer"


def measure(*, quick: bool = False) -> list[Row]:
    rounds = 3 if quick else 7
    rows = [
        _row("SSE throughput against a bare FastAPI stream", bare, EVENTS, 0.5, rounds, f"{EVENTS:,} events a stream")
    ]
    name = "SSE throughput against the a2a-sdk server"
    if reason := _a2a_missing():
        return [*rows, Row(name, "events/s", None, at_least=10, note=f"skipped: {reason}")]
    note = f"{A2A_EVENTS:,} artifact updates a stream (its cost per event grows with their number)"
    return [*rows, _row(name, _a2a, A2A_EVENTS, 10, rounds, note)]


def _row(name: str, peer: Callable[[int], float], events: int, at_least: float, rounds: int, note: str) -> Row:
    rates = alternating({OURS: partial(_hector, events), PEER: partial(peer, events)}, rounds)
    ours, theirs = statistics.median(rates[OURS]), statistics.median(rates[PEER])
    return Row(name, "events/s", ours, theirs, at_least=at_least, note=f"{note}; median of {rounds} rounds")


def _hector(events: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        with serving(hector(port, Path(folder)), port):
            return rate(port, "/agents/flood/message/stream", said(str(events)), events)


def bare(events: int) -> float:
    """Events per second of the bare FastAPI stream."""
    port = free_port()
    with serving(uvicorn("benchmarks.peers.bare_sse:app", port), port):
        return rate(port, "/flood", {"events": events}, events)


def _a2a(events: int) -> float:
    port = free_port()
    body = {"message": {"messageId": "1", "role": "ROLE_USER", "parts": [{"text": str(events)}]}}
    with serving(uvicorn("benchmarks.peers.a2a_server:app", port, str(A2A_PYTHON)), port):
        return rate(port, "/message:stream", body, events)


def rate(port: int, path: str, body: object, expected: int) -> float:
    """Events per second: the second stream's, after one that warms the server up. A GET if there is no body."""
    reader = [sys.executable, "-m", "benchmarks.reader", str(port), path, *([] if body is None else [json.dumps(body)])]
    for _ in range(2):
        output = subprocess.run(reader, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    events, seconds = json.loads(output)
    if events < expected:
        raise RuntimeError(f"{path} sent {events} of {expected} events")
    return float(events / seconds)


def _a2a_missing() -> str:
    """Why there is no a2a-sdk to compare with; it is installed in an environment of its own, once."""
    ready = A2A_FOLDER / ".ready"
    if ready.exists() and ready.stat().st_mtime >= A2A_LOCK.stat().st_mtime:
        return ""
    install = [str(A2A_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(A2A_LOCK)]
    for command in ([sys.executable, "-m", "venv", str(A2A_FOLDER)], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"a2a-sdk could not be installed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
    ready.touch()
    return ""
