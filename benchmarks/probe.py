"""What a server's process says about itself, from within: an agent of ours and a route of the peer run this."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

INTERVAL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Probe:
    """`lag` is how late the event loop calls back, in milliseconds: median, 99th percentile, and worst.

    Of it, only what the process itself took is counted: not the time for which others had the processor, which is in
    `elapsed_p99`. `cpu` is the share of one core that the process takes; `rss` its resident memory in bytes.
    """

    lag_p50: float
    lag_p99: float
    lag_max: float
    elapsed_p99: float
    cpu: float
    rss: int


async def probe(seconds: float) -> Probe:
    loop = asyncio.get_running_loop()
    began, cpu = loop.time(), time.process_time()
    own: list[float] = []
    elapsed: list[float] = []
    due = began + INTERVAL_SECONDS
    while due < began + seconds:
        slept = time.process_time()
        await asyncio.sleep(due - loop.time())
        late = loop.time() - due
        own += _lags(min(late, time.process_time() - slept))
        elapsed += _lags(late)
        due += INTERVAL_SECONDS * len(_lags(late))
    own.sort()
    elapsed.sort()
    return Probe(
        lag_p50=own[len(own) // 2],
        lag_p99=own[len(own) * 99 // 100],
        lag_max=own[-1],
        elapsed_p99=elapsed[len(elapsed) * 99 // 100],
        cpu=(time.process_time() - cpu) / (loop.time() - began),
        rss=_resident_bytes(),
    )


def _lags(late: float) -> list[float]:
    """In milliseconds: a loop that stood still was late for every interval of that time, not for one."""
    return [1000 * (late - number * INTERVAL_SECONDS) for number in range(1 + int(max(late, 0) / INTERVAL_SECONDS))]


def _resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    ps = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], check=True, capture_output=True, text=True)
    return int(ps.stdout) * 1024
