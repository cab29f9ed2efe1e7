"""The events that `functions/handle_event` takes: ids of tasks from the work queue, and the schedule of the sweep.

Another source of events is one more entry in `SOURCES`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from hector import telemetry
from hector.errors import HectorError
from hector.margins import Context, seconds_left
from hector.services import Services

logger = logging.getLogger(__name__)

Event = Mapping[str, Any]


class UnsupportedEvent(ValueError):
    """The event comes from no source that is known here."""


def event_handler(services: Services) -> Callable[[Event, Context], Coroutine[Any, Any, Any]]:
    """What these services do with an event. Raises UnsupportedEvent, which names the sources that there are.

    It returns when the turns that it began have ended, whatever went wrong.
    """

    async def handle(event: Event, context: Context) -> Any:
        for source, handles in SOURCES.items():
            if _comes_from(event, source):
                try:
                    return await handles(services, event, context)
                finally:
                    try:
                        await services.turns.drain()
                    finally:
                        telemetry.flush()
        raise UnsupportedEvent(f"This function takes events from {', '.join(SOURCES)}; this one has none of them.")

    return handle


async def _work(services: Services, event: Event, context: Context) -> dict[str, Any]:
    """Look after the task of each message; one that could not be looked after comes again.

    The answer is a partial batch response: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    if services.worker is None:
        raise UnsupportedEvent("A message from a queue came, but HECTOR_QUEUE (or work_queue) names none.")
    failed = []
    for record in event["Records"]:
        try:
            await services.worker.work(record["body"], seconds_left=seconds_left(context))
        except HectorError as error:
            logger.error("message %s comes again: %s", record["messageId"], error.message)
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


async def _sweep(services: Services, event: Event, context: Context) -> None:
    swept = await services.sweep.run(seconds_left=seconds_left(context))
    logger.info("swept: %d lost turns, %d lines, %d expired sessions", swept.closed, swept.taken_up, swept.erased)


def _comes_from(event: Event, source: str) -> bool:
    records = event.get("Records") or [{}]
    return source in (event.get("source"), records[0].get("eventSource"))


SOURCES: dict[str, Callable[[Services, Event, Context], Coroutine[Any, Any, Any]]] = {
    "aws:sqs": _work,
    "aws.events": _sweep,
}
"""By `eventSource` of the records, or `source` of the event."""
