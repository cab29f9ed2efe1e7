"""How long the store waits for a table that is busy: ever longer, jittered, and not for long."""

from __future__ import annotations

import asyncio
import time

from hector.concurrency import jitter

PATIENCE_SECONDS = 6.0
"""With what the client itself waits, up to 7 s for one call, that is less than a lease of 15 s."""

_FIRST_SECONDS = 0.025
_LONGEST_SECONDS = 1.0


class Patience:
    def __init__(self) -> None:
        self._ends_at = time.monotonic() + PATIENCE_SECONDS
        self._most = _FIRST_SECONDS

    async def wait(self) -> bool:
        """Wait for the next try. False, at once, when it is time to give up."""
        pause = jitter(self._most / 2, self._most)
        if time.monotonic() + pause > self._ends_at:
            return False
        self._most = min(2 * self._most, _LONGEST_SECONDS)
        await asyncio.sleep(pause)
        return True
