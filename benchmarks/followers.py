"""Fifty clients that follow one running task, against one that does.

The task is held until all of them follow it. Then either it floods (events per second, all followers together), or it
says something now and then (the time from making a token until it has come to a follower).
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.crowd import PATIENCE_SECONDS, Stream, answer, opened, said
from benchmarks.report import Row, alternating
from benchmarks.servers import free_port, hector, serving, uvicorn

FOLLOWERS = 50
EVENTS = 5_000
PACE_SECONDS = 0.05
AT_LEAST_OF_BARE = 0.5
AT_LEAST_OF_ONE = 1.0
AT_MOST_MS = 25.0
_MADE_AT = re.compile(rb'"text":"(\d{9,})"')


def measure(*, quick: bool = False) -> list[Row]:
    rounds, tokens = (3, 40) if quick else (7, 100)
    one, fifty, bare = "one follower", "fifty followers", "bare"
    with tempfile.TemporaryDirectory() as folder:
        port, peer = free_port(), free_port()
        with serving(hector(port, Path(folder)), port), serving(uvicorn("benchmarks.peers.bare_sse:app", peer), peer):
            rates = alternating({one: lambda: asyncio.run(_rate(port, 1)),
                                 fifty: lambda: asyncio.run(_rate(port, FOLLOWERS)),
                                 bare: lambda: asyncio.run(_bare_rate(peer))}, rounds)  # fmt: skip
            few = asyncio.run(_delays(port, 1, tokens))
            many = asyncio.run(_delays(port, FOLLOWERS, tokens))
    all_rates = {who: median(found) for who, found in rates.items()}
    note = f"events to all followers together, {EVENTS:,} to each; median of {rounds} rounds"
    what = f"{FOLLOWERS} followers of a running task"
    return [
        Row(f"{what} against {FOLLOWERS} bare FastAPI streams", "events/s", all_rates[fifty], all_rates[bare],
            at_least=AT_LEAST_OF_BARE, note=note),
        Row(f"{what} against one follower", "events/s", all_rates[fifty], all_rates[one], at_least=AT_LEAST_OF_ONE,
            note=note),
        Row(f"{what}: from a token to its followers, 95th percentile", "ms", _percentile(many, 95),
            at_most=AT_MOST_MS, note=f"a token every {PACE_SECONDS * 1000:g} ms, {tokens} of them, the clients' reading"
            f" included; median {_percentile(many, 50):.2f} ms; with one follower {_percentile(few, 50):.2f} ms,"
            f" 95th percentile {_percentile(few, 95):.2f} ms"),
    ]  # fmt: skip


async def _rate(port: int, followers: int) -> float:
    streams = await _following(port, followers, EVENTS, 0)
    released = await answer(port, "/agents/release/message/send", said("Go."))
    return await _together(streams, int(released["output"]["content"]))


async def _bare_rate(port: int) -> float:
    streams = [await opened(port, "/held", {"events": EVENTS}) for _ in range(FOLLOWERS)]
    return await _together(streams, (await answer(port, "/release", {}))["at"])


async def _delays(port: int, followers: int, tokens: int) -> list[float]:
    """Milliseconds, sorted, from when each token was made until it had come to each follower."""
    streams = await _following(port, followers, tokens, PACE_SECONDS)
    await answer(port, "/agents/release/message/send", said("Go."))
    await _ended(streams)
    return sorted(
        (came_at - int(made_at)) / 1e6
        for stream in streams
        for came_at, data in stream.received
        for made_at in _MADE_AT.findall(data)
    )


async def _following(port: int, followers: int, tokens: int, seconds: float) -> list[Stream]:
    """The streams of one task that is held: of the client that began it, and of those that joined."""
    first = await opened(port, "/agents/held/message/stream", said(f"{tokens} {seconds}"))
    return [first, *[await opened(port, first.location) for _ in range(followers - 1)]]


async def _together(streams: Sequence[Stream], began: int) -> float:
    """Events per second since `began`, of all streams together."""
    await _ended(streams)
    for stream in streams:
        if stream.events < EVENTS:
            raise RuntimeError(f"a follower got {stream.events} of {EVENTS} events")
    return sum(stream.events for stream in streams) / (max(stream.received[-1][0] for stream in streams) - began) * 1e9


async def _ended(streams: Sequence[Stream]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*(stream.ended for stream in streams))


def _percentile(found: Sequence[float], percent: int) -> float:
    return found[len(found) * percent // 100]
