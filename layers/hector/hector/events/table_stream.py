"""The events that `functions/table_stream` takes: sessions whose hot record DynamoDB has deleted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from hector import telemetry
from hector.errors import ConfigError
from hector.events.loop import run
from hector.services import Services
from hector.stores.dynamodb import DynamoDBStore
from hector.stores.dynamodb.expiry import erase_gone

logger = logging.getLogger(__name__)


def table_stream_handler(services: Services) -> Callable[[dict[str, Any], Any], None]:
    """The Lambda handler for these services. A failure fails the batch, which then comes again: erasing is repeatable.

    Raises ConfigError if the sessions are in another store.
    """
    store = services.store
    if not isinstance(store, DynamoDBStore):
        raise ConfigError("functions/table_stream needs the DynamoDB store: set HECTOR_STORE=dynamodb://TABLE.")

    def handle(event: dict[str, Any], _: Any) -> None:
        try:
            logger.info("erased what %d sessions left", run(erase_gone(store, event)))
        finally:
            telemetry.flush()

    return handle
