"""What leads to a function without anybody waiting: messages of a queue, and schedules.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
https://docs.aws.amazon.com/lambda/latest/dg/with-eventbridge-scheduler.html
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from hector.emulator.filters import passes
from hector.emulator.invocation import Invocation
from hector.emulator.limits import Limits
from hector.emulator.model import ACCOUNT, REGION, QueueSource, Schedule, arn
from hector.emulator.pool import Pool, Throttled
from hector.emulator.queues import Message, Queue
from hector.emulator.recursion import invocations
from hector.emulator.service import LambdaService
from hector.emulator.sqs import system_attributes

_POLL = 1.0  # seconds that a look at a queue waits for messages


async def deliver_queue(source: QueueSource, queue: Queue, pool: Pool, limits: Limits) -> None:
    """Gives a function the queue's messages, for ever. What it fails stays, hidden until its time is over."""
    function = pool.functions[source.function]

    def looped(message: Message) -> bool:
        if function.recursive or invocations(message.trace, function) < limits.recursion:
            return False
        reason = f"{function.name} sends itself messages; {message.body[:100]!r} is not delivered"
        print(limits.say("recursion", reason), file=sys.stderr)
        queue.give_up(message)
        return True

    async def deliver() -> None:
        while True:
            batch = [one for one in await queue.receive(source.batch, wait=_POLL) if not looped(one)]
            wanted = [one for one in batch if passes(_filtered(one), source.filters)]
            queue.delete([str(one.receipt) for one in batch if one not in wanted])
            if wanted:
                records = [_record(one, queue) for one in wanted]
                done = await _handled(pool, source, wanted, records)
                queue.delete([record["receiptHandle"] for record in records if record["messageId"] in done])

    async with asyncio.TaskGroup() as workers:
        for _ in range(source.concurrency):
            workers.create_task(deliver())


async def deliver_schedule(schedule: Schedule, service: LambdaService, speed: float) -> None:
    """Invokes a function at its rate, for ever; ``speed`` times as often as the template says."""
    while True:
        await asyncio.sleep(schedule.seconds / speed)
        payload = schedule.payload or json.dumps(_scheduled(schedule))
        await service.deliver(schedule.function, payload.encode())


def failed_items(invocation: Invocation, content: bytes, ids: list[str], *, item_failures: bool) -> set[str]:
    """Which of a batch's items failed: all of them if the function did, else those that its answer names.

    An answer that is not what ReportBatchItemFailures asks for fails the whole batch.
    """
    if invocation.failure is not None:
        return set(ids)
    if not item_failures:
        return set()
    try:
        answer = json.loads(content or b"null") or {}
        named = {item["itemIdentifier"] for item in answer.get("batchItemFailures") or []}
    except (ValueError, TypeError, KeyError, AttributeError):
        return set(ids)
    return named if named <= set(ids) else set(ids)


async def _handled(pool: Pool, source: QueueSource, batch: list[Message], records: list[dict[str, Any]]) -> set[str]:
    """The ids of the messages that the function has taken care of."""
    ids = [message.id for message in batch]
    try:
        counted = partial(invocations, function=pool.functions[source.function])
        trace = max((message.trace for message in batch), key=counted)
        invocation = await pool.invoke(source.function, {"Records": records}, trace=trace)
    except Throttled:
        return set()
    content = await invocation.read()
    return set(ids) - failed_items(invocation, content, ids, item_failures=source.item_failures)


def _record(message: Message, queue: Queue) -> dict[str, Any]:
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": system_attributes(message),
        "messageAttributes": {name: _attribute(one) for name, one in message.attributes.items()},
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.arn,
        "awsRegion": REGION,
    }


def _attribute(attribute: Mapping[str, Any]) -> dict[str, Any]:
    values = {name[0].lower() + name[1:]: value for name, value in attribute.items()}
    return {**values, "stringListValues": [], "binaryListValues": []}


def _filtered(message: Message) -> dict[str, Any]:
    """What filters look at: the body as JSON if it is some."""
    try:
        body = json.loads(message.body)
    except ValueError:
        body = message.body
    return {"messageId": message.id, "body": body}


def _scheduled(schedule: Schedule) -> dict[str, Any]:
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [arn("events", f"rule/{schedule.name}")],
        "detail": {},
    }
