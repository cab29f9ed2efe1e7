"""The SQL store, put together."""

from __future__ import annotations

from hector.stores.base import Check, Clock, system_clock
from hector.stores.sql.checks import checks
from hector.stores.sql.database import Database
from hector.stores.sql.line import Line
from hector.stores.sql.sweeping import Sweeping
from hector.stores.sql.tasks import Tasks
from hector.stores.sql.turns import Turns


class SQLStore(Turns, Line, Tasks, Sweeping):
    """See `hector.stores.base.Store`. The tables are made, or brought up to date, by the first call.

    `url`: `sqlite:///hector.db` (a path relative to the working directory), `sqlite:////var/lib/hector.db`,
    `postgresql://user:password@host/database`. Raises ConfigError for it, and for a driver that is not installed.
    """

    def __init__(self, url: str, *, clock: Clock = system_clock) -> None:
        super().__init__(Database(url), clock)

    def open(self) -> None:
        """The engine is made with the store, and its connections as they are needed."""

    async def set_up(self) -> None:
        await self._database.prepare()

    async def check(self) -> list[Check]:
        return await checks(self._database)

    async def aclose(self) -> None:
        await self._database.aclose()
