"""A storm: workers on one store, some of them killed at random and started again, some stopped for longer than their
leases; and what is found afterwards."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.checker import Findings, check
from tests.chaos.journal import Journal, entries
from tests.chaos.setting import AGENT, LEASE_MS, OWNER, services, short_leases
from tests.processes import ENVIRONMENT

ROOT = Path(__file__).parents[2]
START_SECONDS = 180
STALLS = 0.25
"""How often a worker is stopped, in place of another's end, until its leases have run out: then it is a stale one."""
STALL_SECONDS = LEASE_MS / 1000 + 1.0


@dataclass(frozen=True)
class Storm:
    workers: int = 8
    sessions: int = 20
    seconds: float = 60.0
    kills: int = 50

    def run(self, url: str, folder: Path, told: Callable[[str], None] = lambda line: None) -> tuple[Findings, int]:
        """What was found, and how many workers were killed in the middle of something."""
        journal = folder / "journal"
        sessions = asyncio.run(self._prepare(url, journal))
        running = {index: self._start(url, journal, index, 0, sessions) for index in range(self.workers)}
        stalled: dict[int, float] = {}
        killed = stalls = 0
        begun = time.monotonic()
        try:
            _wait_for(journal, self.workers)
            begun = time.monotonic()
            pause = self.seconds / (self.kills + 1)
            while killed < self.kills or time.monotonic() < begun + self.seconds:
                time.sleep(random.uniform(0.5, 1.5) * pause)
                for index in [index for index, until in stalled.items() if time.monotonic() >= until]:
                    running[index].send_signal(signal.SIGCONT)
                    del stalled[index]
                index = random.randrange(self.workers)
                if random.random() < STALLS and index not in stalled and running[index].poll() is None:
                    running[index].send_signal(signal.SIGSTOP)
                    stalled[index] = time.monotonic() + STALL_SECONDS
                    stalls += 1
                    continue
                if killed < self.kills and running[index].poll() is None:
                    running[index].send_signal(signal.SIGKILL)
                    running[index].wait()
                    stalled.pop(index, None)
                    killed += 1
                    told(f"{killed} of {self.kills} workers killed")
                if running[index].poll() is not None:
                    running[index] = self._start(url, journal, index, killed, sessions)
        finally:
            for process in running.values():
                process.send_signal(signal.SIGCONT)
                process.terminate()
            for process in running.values():
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        with short_leases():
            found = asyncio.run(check(url, journal, sessions))
        for index, process in running.items():
            if process.returncode not in (0, -signal.SIGTERM):
                said = (folder / f"worker-{index}.log").read_text(errors="replace")[-2500:]
                found.wrong("error", f"a worker ended with {process.returncode}: {said}")
        found.counts["stalled"] = stalls
        return found, killed

    async def _prepare(self, url: str, journal: Path) -> list[str]:
        built = services(url, Journal(journal))
        await built.store.set_up()
        sessions = [(await built.turns.create_session(OWNER, AGENT)).id for _ in range(self.sessions)]
        await built.aclose()
        return sessions

    @staticmethod
    def _start(url: str, journal: Path, index: int, life: int, sessions: list[str]) -> subprocess.Popen[bytes]:
        path = ":".join([ENVIRONMENT["PYTHONPATH"], str(ROOT)])
        with (journal.parent / f"worker-{index}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.worker", url, str(journal), f"w{index}.{life}", *sessions],
                env=ENVIRONMENT | {"PYTHONPATH": path},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )


def _wait_for(journal: Path, workers: int) -> None:
    ends_at = time.monotonic() + START_SECONDS
    while sum(entry["what"] == "begun" for entry in entries(journal)) < workers:
        if time.monotonic() > ends_at:
            raise RuntimeError("the workers did not start; see their logs beside the journal")
        time.sleep(0.1)
