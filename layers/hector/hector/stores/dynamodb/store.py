"""The DynamoDB store, put together."""

from __future__ import annotations

from hector.model import Millis
from hector.stores.base import Check, Clock, system_clock
from hector.stores.dynamodb.connection import Connection
from hector.stores.dynamodb.line import Line
from hector.stores.dynamodb.summaries import Summaries
from hector.stores.dynamodb.sweeping import Sweeping
from hector.stores.dynamodb.table import Table


class DynamoDBStore(Summaries, Line, Sweeping):
    """See `hector.stores.base.Store`. Region and credentials come from where AWS's tools look, unless given.

    An `endpoint_url` on this machine (DynamoDB Local) needs neither. `longest_turn`: for how long a turn may run, so
    that sweeps look far enough back; one that is lost later than that, and an hour, is found by its readers only.
    """

    def __init__(
        self,
        table: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        clock: Clock = system_clock,
        longest_turn: Millis = 0,
    ) -> None:
        self._connection = Connection(table, region, endpoint_url)
        super().__init__(Table(self._connection), clock)
        self._longest_turn = longest_turn

    def open(self) -> None:
        """Make the client now: an entrance does so as it starts, so that its first request need not wait for it."""
        self._connection.open()

    async def set_up(self) -> None:
        from hector.stores.dynamodb.operating import set_up

        await set_up(self._connection)

    async def check(self) -> list[Check]:
        from hector.stores.dynamodb.operating import check

        return await check(self._connection)

    async def aclose(self) -> None:
        self._connection.close()
