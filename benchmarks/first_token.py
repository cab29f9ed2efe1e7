"""What the product adds to the model's first token, with the memory store.

The model answers at once, with the moment at which it was called. So the time from the request until that token's
frame is handed on is the product's own: body, session, history, submit and claim before the model; log, follower and
frame after it.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import statistics
import tempfile
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from benchmarks.reader import request
from benchmarks.report import Row
from benchmarks.servers import free_port, hector, serving
from hector.config.settings import Settings
from hector.web.server import whole_app
from hector.wiring import build

AT_MOST_MS = 2.0
WARM_UP = 30
_STAMP = re.compile(rb'"text":"(\d{9,})"')
Sample = tuple[float, float]
"""Milliseconds before the model was called, and after its token."""


def measure(*, quick: bool = False) -> list[Row]:
    times = 100 if quick else 500
    before, after, added = _medians(asyncio.run(_in_process(times)))
    counted = _medians(asyncio.run(_in_process(times, {"strategy": "tokens", "tokens": 1000})))
    served = _medians(_over_uvicorn(times // 2))
    return [
        Row("added to the first token", "ms", added, at_most=AT_MOST_MS,
            note=f"median of {times}: {before:.2f} ms before the model is called, {after:.2f} ms after its token"),
        Row("added to the first token, tokens counted", "ms", counted[2], at_most=AT_MOST_MS,
            note=f"median of {times}, a budget of 1,000: {counted[0]:.2f} ms before the model is called"),
        Row("added to the first token, uvicorn and sockets included", "ms", served[2],
            note=f"median of {times // 2}: {served[0]:.2f} ms before the model is called, {served[1]:.2f} ms after"),
    ]  # fmt: skip


def _medians(samples: list[Sample]) -> tuple[float, float, float]:
    samples = samples[WARM_UP:]
    return (
        statistics.median(before for before, _ in samples),
        statistics.median(after for _, after in samples),
        statistics.median(before + after for before, after in samples),
    )


def _sample(began: int, frame: bytes, handed_on: int) -> Sample | None:
    found = _STAMP.search(frame)
    return ((int(found[1]) - began) / 1e6, (handed_on - int(found[1])) / 1e6) if found else None


async def _in_process(times: int, memory: dict[str, Any] | None = None) -> list[Sample]:
    """Turns of one session, so with a history, through the whole ASGI application."""
    settings = Settings.model_validate(
        {
            "llms": {"stamp": {"type": "python", "target": "benchmarks.agents:stamp"}},
            "agents": {"stamp": {"llm": "stamp", "memory": memory or {}}},
        }
    )
    services = build(settings)
    app = whole_app(services)
    context, _ = await _turn(app, {})
    samples = []
    for _ in range(WARM_UP + times):
        _, sample = await _turn(app, {"contextId": context})
        samples.append(sample)
        await services.turns.drain()
    await services.aclose()
    return samples


async def _turn(app: Any, context: dict[str, str]) -> tuple[str, Sample]:
    path = "/agents/stamp/message/stream"
    body = json.dumps({"message": {"role": "user", "parts": [{"type": "text", "text": "Go."}]}, **context}).encode()
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"content-type", b"application/json")], "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    requests = [{"type": "http.request", "body": body, "more_body": False}]
    sample: Sample | None = None
    text = b""

    async def receive() -> MutableMapping[str, Any]:
        return requests.pop() if requests else await asyncio.Future()

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal sample, text
        handed_on = time.perf_counter_ns()
        frame = message.get("body", b"")
        text += frame
        sample = sample or _sample(began, frame, handed_on)

    began = time.perf_counter_ns()
    await app(scope, receive, send)
    found = re.search(rb'"context_id":"([^"]+)"', text)
    if sample is None or found is None:
        raise RuntimeError(text.decode())
    return found[1].decode(), sample


def _over_uvicorn(times: int) -> list[Sample]:
    body = '{"message": {"role": "user", "parts": [{"type": "text", "text": "Go."}]}}'
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        with serving(hector(port, Path(folder)), port):
            return [
                _turn_over_socket(port, request("/agents/stamp/message/stream", body)) for _ in range(WARM_UP + times)
            ]


def _turn_over_socket(port: int, content: bytes) -> Sample:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        began = time.perf_counter_ns()
        connection.sendall(content)
        sample, text = None, b""
        while received := connection.recv(65_536):
            text += received
            sample = sample or _sample(began, text, time.perf_counter_ns())
    if sample is None:
        raise RuntimeError(text.decode())
    return sample
