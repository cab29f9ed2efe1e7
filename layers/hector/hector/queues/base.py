"""The work queue: turns that another process is to run.

It carries ids of tasks and nothing else: what is to be done is in the store, and whoever takes an id from the queue
looks there. So an id may come late, twice, or for a task that has ended long ago.
"""

from __future__ import annotations

from typing import Protocol

LONGEST_DELAY_SECONDS = 900
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-timers.html"""


class WorkQueue(Protocol):
    async def send(self, task_id: str, *, delay: float = 0.0) -> None:
        """Let a worker look after the task, in `delay` seconds (900 at most). Raises QueueUnavailable."""

    async def aclose(self) -> None:
        """Close connections."""
