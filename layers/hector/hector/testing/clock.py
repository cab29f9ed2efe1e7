"""A clock for tests."""

from __future__ import annotations

from hector.model import Millis


class ManualClock:
    """Time that moves when a test says so."""

    def __init__(self, now: Millis = 1_800_000_000_000) -> None:
        self.now = now

    def __call__(self) -> Millis:
        return self.now

    def advance(self, *, seconds: float) -> None:
        self.now += round(seconds * 1000)
