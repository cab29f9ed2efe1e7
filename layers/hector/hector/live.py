"""The logs of the turns that run in this process, so that a live token waits for no store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hector.model import Event, Task


class LiveLog:
    """A log while its producer is running here: every event from number 1, then the ended task.

    Followers wait for `changed`; the producer never waits for a follower. `askers` are the clients that wait for the
    turn, having asked for it; more than one, if they have one idempotency key. One that asked for it in the background
    never leaves.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.task: Task | None = None
        self.closed = False
        self.askers = 0
        self._changed = asyncio.Event()
        self._waiting = 0

    def append(self, event: Event) -> None:
        """Events that come after `close` are dropped: the task's end has been told by then."""
        if self.closed:
            return
        self.events.append(event)
        self._wake()

    def close(self, task: Task | None) -> None:
        """No more events. `task` is the ended task, or None if this producer could not end it: then ask the store."""
        self.task = task
        self.closed = True
        self._wake()

    async def after(self, number: int) -> Sequence[Event]:
        """The events after `number`, waiting until there are any; none means that the log is closed."""
        while len(self.events) <= number and not self.closed:
            self._waiting += 1
            try:
                await self._changed.wait()
            finally:
                self._waiting -= 1
        return self.events[number:]

    async def ended(self) -> Task | None:
        """Wait for the end; the ended task, or None as in `close`."""
        while not self.closed:
            await self.after(len(self.events))
        return self.task

    def _wake(self) -> None:
        if self._waiting:
            self._changed.set()
            self._changed = asyncio.Event()


class LiveLogs:
    """The live logs of this process by task id."""

    def __init__(self) -> None:
        self._logs: dict[str, LiveLog] = {}

    def open(self, task_id: str) -> LiveLog:
        log = self._logs[task_id] = LiveLog()
        return log

    def get(self, task_id: str) -> LiveLog | None:
        return self._logs.get(task_id)

    def holds(self, task_id: str) -> bool:
        """Whether this process is at work on the task: it runs here, or is about to.

        Whatever the clock says of its lease: it may have been set, or this computer may have slept.
        """
        log = self._logs.get(task_id)
        return log is not None and not log.closed

    def forget(self, task_id: str, log: LiveLog) -> None:
        if self._logs.get(task_id) is log:
            del self._logs[task_id]
