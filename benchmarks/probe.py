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

    `cpu` is the share of one core that the process takes; `rss` its resident memory in bytes.
    """

    lag_p50: float
    lag_p99: float
    lag_max: float
    cpu: float
    rss: int


async def probe(seconds: float) -> Probe:
    loop = asyncio.get_running_loop()
    began, cpu = loop.time(), time.process_time()
    lags: list[float] = []
    due = began + INTERVAL_SECONDS
    while due < began + seconds:
        await asyncio.sleep(due - loop.time())
        now = loop.time()
        # A loop that stood still was late for every moment of that time, not for one.
        while due <= now:
            lags.append(1000 * (now - due))
            due += INTERVAL_SECONDS
    lags.sort()
    cpu = time.process_time() - cpu
    return Probe(lags[len(lags) // 2], lags[len(lags) * 99 // 100], lags[-1], cpu / (loop.time() - began), _resident_bytes())


def _resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    ps = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], check=True, capture_output=True, text=True)
    return int(ps.stdout) * 1024
