"""The log of a running turn, written: at once in memory, in batches in the store, which renew the turn's lease."""

from __future__ import annotations

import asyncio

from hector.live import LiveLog
from hector.model import Event, EventKind, Millis, TaskState
from hector.stores.base import Lease, Store

LEASE: Millis = 15_000
FIRST_FLUSH_SECONDS = 0.1
LONGEST_FLUSH_SECONDS = 1.0
FLUSH_CHARACTERS = 16_384
EVENT_BYTES = 64
"""What an event takes beside its text: notes may be empty, and come without end."""


class LogWriter:
    """Flushing goes by time (first after 100 ms, then ever less often, up to 1 s) and by size.

    What the log holds at first is stored already. `lease` is the newest that the store has given; `due` is when the
    pending events are to be flushed, as the loop tells the time; `wake` is set when that comes sooner than it was.
    """

    def __init__(self, store: Store, log: LiveLog, lease: Lease, wake: asyncio.Event) -> None:
        self.log = log
        self.lease = lease
        self.due = 0.0
        self.flushed = len(log.events)
        self._store = store
        self._wake = wake
        self._pending_characters = 0
        self._interval = FIRST_FLUSH_SECONDS
        self._loop = asyncio.get_running_loop()

    @property
    def pending(self) -> bool:
        """Whether something is not stored yet."""
        return len(self.log.events) > self.flushed

    def append(self, kind: EventKind, text: str, state: TaskState | None = None, fraction: float | None = None) -> None:
        last = len(self.log.events)
        if last == self.flushed:
            self.due = self._loop.time() + self._interval
            self._wake.set()
        self.log.append(Event(last + 1, kind, text, state, fraction))
        self._pending_characters += len(text)
        if self._pending_characters >= FLUSH_CHARACTERS:
            self.due = 0.0
            self._wake.set()

    async def flush(self) -> None:
        """Write what is pending, in batches of a bounded size; with nothing pending, renew the lease.

        Raises as `Store.append_events` does.
        """
        events = self.log.events[self.flushed :]
        self._pending_characters = 0
        while True:
            size = count = 0
            while count < len(events) and size <= 4 * FLUSH_CHARACTERS:
                size += len(events[count].text) + EVENT_BYTES
                count += size <= 4 * FLUSH_CHARACTERS
            batch, events = events[: max(count, 1)], events[max(count, 1) :]
            self.lease = await self._store.append_events(self.lease, batch, extend=LEASE)
            self.flushed += len(batch)
            if not events:
                break
        self._interval = min(self._interval * 1.5, LONGEST_FLUSH_SECONDS)
        if self._pending_characters < FLUSH_CHARACTERS:  # what came meanwhile begins the next batch
            self.due = self._loop.time() + self._interval

    async def look(self) -> None:
        """See whether a cancel was asked for. Raises as `Store.check_lease` does."""
        self.lease = await self._store.check_lease(self.lease)
