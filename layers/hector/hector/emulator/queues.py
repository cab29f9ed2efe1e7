"""Standard queues in memory: visibility, delay, redrive. What SQS promises, and no more: order is not among it.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hector.emulator.model import QueueSettings, arn

TICK = 0.02  # seconds between looks at a queue that has nothing to give


@dataclass
class Message:
    """``visible_at`` is when it may be received; a receipt is valid until the message is received again or deleted."""

    body: str
    visible_at: float
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trace: str | None = None  # the header X-Amzn-Trace-Id that it was sent with
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    sent_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    first_received_ms: int | None = None
    receives: int = 0
    receipt: str | None = None


class Queue:
    """``clock`` gives monotonic seconds."""

    def __init__(self, settings: QueueSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings, self._clock = settings, clock
        self.dead_letters: Queue | None = None
        self.messages: list[Message] = []

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def arn(self) -> str:
        return arn("sqs", self.name)

    def send(
        self,
        body: str,
        *,
        delay: float | None = None,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
        trace: str | None = None,
    ) -> Message:
        wait = self.settings.delay if delay is None else delay
        message = Message(body, self._clock() + wait, attributes or {}, trace)
        self.messages.append(message)
        return message

    def receive_now(self, most: int, visibility: float | None = None) -> list[Message]:
        """Up to ``most`` messages that are visible, hidden from now on; what was received too often moves on."""
        now, found = self._clock(), []
        hidden = self.settings.visibility if visibility is None else visibility
        for message in [one for one in self.messages if one.visible_at <= now]:
            if self.dead_letters is not None and message.receives >= self.settings.max_receives:
                self.give_up(message)
                continue
            message.receives += 1
            message.receipt = uuid.uuid4().hex
            message.visible_at = now + hidden
            message.first_received_ms = message.first_received_ms or int(time.time() * 1000)
            found.append(message)
            if len(found) == most:
                break
        return found

    async def receive(self, most: int, *, wait: float, visibility: float | None = None) -> list[Message]:
        """As `receive_now`, but waits up to so many seconds for the first message."""
        ends = self._clock() + wait
        while True:  # a message becomes visible by the clock, and no event tells
            if (found := self.receive_now(most, visibility)) or self._clock() >= ends:
                return found
            await asyncio.sleep(TICK)

    def find(self, receipt: str) -> Message | None:
        """The message that this receipt is for, while it is valid."""
        return next((one for one in self.messages if one.receipt == receipt), None)

    def delete(self, receipts: Iterable[str]) -> None:
        """Deletes what was received with these receipts; others are passed over."""
        gone = set(receipts)
        self.messages = [one for one in self.messages if one.receipt not in gone]

    def hide(self, message: Message, seconds: float) -> None:
        """The message is visible again in so many seconds from now."""
        message.visible_at = self._clock() + seconds

    def counts(self) -> dict[str, int]:
        """How many messages can be received, have been, and are delayed."""
        now = self._clock()
        waiting = [one for one in self.messages if one.visible_at > now]
        delayed = sum(one.receives == 0 for one in waiting)
        return {
            "ApproximateNumberOfMessages": len(self.messages) - len(waiting),
            "ApproximateNumberOfMessagesNotVisible": len(waiting) - delayed,
            "ApproximateNumberOfMessagesDelayed": delayed,
        }

    def give_up(self, message: Message) -> None:
        """To the queue for dead letters, if there is one."""
        self.messages.remove(message)
        if self.dead_letters is None:
            return
        message.receives, message.receipt, message.first_received_ms = 0, None, None
        message.visible_at = self._clock()
        self.dead_letters.messages.append(message)


def make_queues(settings: Iterable[QueueSettings], clock: Callable[[], float] = time.monotonic) -> dict[str, Queue]:
    """The queues by name, each with the one that takes its dead letters."""
    queues = {one.name: Queue(one, clock) for one in settings}
    for queue in queues.values():
        if queue.settings.dead_letters is not None:
            queue.dead_letters = queues.get(queue.settings.dead_letters)
    return queues
