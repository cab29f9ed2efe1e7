"""The DynamoDB store, put together."""

from __future__ import annotations

from hector.stores.base import Clock, system_clock
from hector.stores.dynamodb.connection import Connection
from hector.stores.dynamodb.schema import create_table
from hector.stores.dynamodb.sessions import Sessions
from hector.stores.dynamodb.table import Table
from hector.stores.dynamodb.tasks import Tasks
from hector.stores.dynamodb.turns import Turns


class DynamoDBStore(Turns, Tasks, Sessions):
    """See `hector.stores.base.Store`. Region and credentials come from where AWS's tools look, unless given.

    An `endpoint_url` on this machine (DynamoDB Local) needs neither.
    """

    def __init__(
        self, table: str, *, region: str | None = None, endpoint_url: str | None = None, clock: Clock = system_clock
    ) -> None:
        self._connection = Connection(table, region, endpoint_url)
        super().__init__(Table(self._connection), clock)

    def open(self) -> None:
        """Make the client now: an entrance does so as it starts, so that its first request need not wait for it."""
        self._connection.open()

    async def create_table(self) -> None:
        """Create the table if it is not there, for tests and local development."""
        await self._connection.run(lambda client: create_table(client, self._connection.table))

    async def aclose(self) -> None:
        self._connection.close()
