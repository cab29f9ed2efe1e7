"""The events that `functions/table_stream` takes: sessions whose hot record DynamoDB has deleted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from hector import telemetry
from hector.errors import ConfigError
from hector.services import Services
from hector.stores.dynamodb import DynamoDBStore
from hector.stores.dynamodb.expiry import erase_gone

logger = logging.getLogger(__name__)


def table_stream_handler(services: Services) -> Callable[[dict[str, Any], Any], Coroutine[Any, Any, dict[str, Any]]]:
    """What these services do with an event of the stream. Raises ConfigError if the sessions are in another store.

    It answers with the records that failed, which then come again, with those behind them; erasing is repeatable. One
    that cannot be erased keeps none of the others waiting:
    https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
    """
    store = services.store
    if not isinstance(store, DynamoDBStore):
        raise ConfigError("functions/table_stream needs the DynamoDB store: set HECTOR_STORE=dynamodb://TABLE.")

    async def handle(event: dict[str, Any], _: Any) -> dict[str, Any]:
        try:
            return await _erase(store, event["Records"])
        finally:
            telemetry.flush()

    return handle


async def _erase(store: DynamoDBStore, records: list[dict[str, Any]]) -> dict[str, Any]:
    erased, failed = 0, []
    for record in records:
        number = record["dynamodb"]["SequenceNumber"]
        try:
            erased += await erase_gone(store, {"Records": [record]})
        except Exception:
            logger.exception("record %s comes again", number)
            failed.append({"itemIdentifier": number})
    logger.info("erased what %d sessions left", erased)
    return {"batchItemFailures": failed}
