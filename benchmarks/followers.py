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
DELAY_AT_MOST = 2.0
_MADE_AT = re.compile(rb'"text":"(\d{9,})"')


def measure(*, quick: bool = False) -> list[Row]:
    rounds, tokens = (3, 20) if quick else (7, 40)
    one, fifty, bare = "one follower", "fifty followers", "bare"
    with tempfile.TemporaryDirectory() as folder:
        port, peer = free_port(), free_port()
        with serving(hector(port, Path(folder)), port), serving(uvicorn("benchmarks.peers.bare_sse:app", peer), peer):
            rates = alternating({one: lambda: asyncio.run(_rate(port, 1)),
                                 fifty: lambda: asyncio.run(_rate(port, FOLLOWERS)),
                                 bare: lambda: asyncio.run(_bare_rate(peer))}, rounds)  # fmt: skip
            delays = alternating({one: lambda: asyncio.run(_delay(port, 1, tokens)),
                                  fifty: lambda: asyncio.run(_delay(port, FOLLOWERS, tokens)),
                                  bare: lambda: asyncio.run(_bare_delay(peer, tokens))}, rounds)  # fmt: skip
    all_delays = {who: median(found) for who, found in delays.items()}
    all_rates = {who: median(found) for who, found in rates.items()}
    note = f"events to all followers together, {EVENTS:,} to each; median of {rounds} rounds"
    what = f"{FOLLOWERS} followers of a running task"
    return [
        Row(f"{what} against {FOLLOWERS} bare FastAPI streams", "events/s", all_rates[fifty], all_rates[bare],
            at_least=AT_LEAST_OF_BARE, note=note),
        Row(f"{what} against one follower", "events/s", all_rates[fifty], all_rates[one], at_least=AT_LEAST_OF_ONE,
            note=note),
        Row(f"{what}: from a token to its followers, 95th percentile", "ms", all_delays[fifty], all_delays[bare],
            at_most=DELAY_AT_MOST, note=f"a token every {PACE_SECONDS * 1000:g} ms, {tokens} of them, the clients'"
            f" reading included; the peer: as many bare FastAPI streams, with a queue each; median of {rounds} rounds;"
            f" with one follower {all_delays[one]:.2f} ms"),
    ]  # fmt: skip


async def _rate(port: int, followers: int) -> float:
    streams = await _following(port, followers, EVENTS, 0)
    released = await answer(port, "/agents/release/message/send", said("Go."))
    return await _together(streams, int(released["output"]["content"]))


async def _bare_rate(port: int) -> float:
    streams = [await opened(port, "/held", {"events": EVENTS}) for _ in range(FOLLOWERS)]
    return await _together(streams, (await answer(port, "/release", {}))["at"])


async def _delay(port: int, followers: int, tokens: int) -> float:
    streams = await _following(port, followers, tokens, PACE_SECONDS)
    await answer(port, "/agents/release/message/send", said("Go."))
    return await _percentile_95(streams)


async def _bare_delay(port: int, tokens: int) -> float:
    streams = [await opened(port, "/follow", {}) for _ in range(FOLLOWERS)]
    await answer(port, "/broadcast", {"events": tokens, "seconds": PACE_SECONDS})
    return await _percentile_95(streams)


async def _percentile_95(streams: Sequence[Stream]) -> float:
    """Milliseconds from when a token was made until it had come to a follower: of all of them, the 95th percentile."""
    await _ended(streams)
    delays = sorted(
        (came_at - int(made_at)) / 1e6
        for stream in streams
        for came_at, data in stream.received
        for made_at in _MADE_AT.findall(data)
    )
    return delays[len(delays) * 95 // 100]


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
