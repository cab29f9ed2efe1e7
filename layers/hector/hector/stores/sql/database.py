"""Transactions on an engine, in threads: each is a function of a connection, and may be run again.

Not the engines' asyncio drivers: a verb is a handful of statements, and so costs one change of threads instead of one
or more for each; and a caller that is canceled leaves no connection behind in the middle of a transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import URL, Connection
from sqlalchemy.exc import SQLAlchemyError

from hector.concurrency import jitter
from hector.errors import StoreUnavailable
from hector.stores.sql.engines import CONNECTIONS, READERS, WRITES, engine_of
from hector.stores.sql.failures import again, translated
from hector.stores.sql.schema import bring_up_to_date
from hector.stores.sql.urls import checked_url, shown

T = TypeVar("T")
Work = Callable[[Connection], T]

RETRY_SECONDS = 4.0
"""How long a transaction is tried again while the engine is away: enough for a restart, and well below a lease."""
ANSWER_SECONDS = 6.0
"""After so long without an answer a connection is cut: longer than the engine itself lets a statement take."""
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.5


class Database:
    """Raises ConfigError for the URL, and for a driver that is not installed."""

    def __init__(self, url: str) -> None:
        self.url: URL = checked_url(url)
        self.engine = engine_of(self.url)
        self.on_sqlite = self.url.get_backend_name() == "sqlite"
        threads = READERS if self.on_sqlite else CONNECTIONS
        self._reading = ThreadPoolExecutor(threads, thread_name_prefix="sql")
        # SQLite has one writer at a time. Those of one process take turns here, instead of knocking at the file's lock.
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="sql-write") if self.on_sqlite else self._reading
        self._preparing = threading.Lock()
        self._prepared = False
        # Single statements, each on its own. On SQLite a transaction that reads costs nothing.
        self._reader = self.engine if self.on_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._writer = self.engine.execution_options(**WRITES)

    async def read(self, work: Work[T]) -> T:
        """Raises what `work` does, and StoreUnavailable."""
        return await self._run(self._reading, work, self._read)

    async def write(self, work: Work[T]) -> T:
        """One transaction. `work` is run again when the engine could not finish it, or may have, but did not say so.

        Raises what `work` does, with nothing written; and StoreUnavailable.
        """
        return await self._run(self._writing, work, self._write)

    async def prepare(self) -> None:
        """Make the tables, or bring them up to date. Every other call does so, too, the first time. Repeatable."""
        if not self._prepared:
            await self._try(lambda: self._in_thread(self._writing, self._prepare))

    async def look(self, work: Work[T]) -> T:
        """Read, whatever state the schema is in. Raises StoreUnavailable."""
        return await self._try(lambda: self._in_thread(self._reading, lambda: self._read(work, _Line())))

    async def aclose(self) -> None:
        for threads in {self._reading, self._writing}:
            await asyncio.to_thread(threads.shutdown, cancel_futures=True)
        self.engine.dispose()

    async def _run(self, threads: ThreadPoolExecutor, work: Work[T], transaction: Callable[[Work[T], _Line], T]) -> T:
        await self.prepare()

        async def attempt() -> T:
            line = _Line()
            watching = None if self.on_sqlite else _Watch(line)
            try:
                return await self._in_thread(threads, lambda: transaction(work, line))
            finally:
                if watching:
                    watching.cancel()

        return await self._try(attempt)

    async def _try(self, attempt: Callable[[], Awaitable[T]]) -> T:
        ends_at = time.monotonic() + RETRY_SECONDS
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await attempt()
            except SQLAlchemyError as error:
                if not again(error) or time.monotonic() + pause > ends_at:
                    raise translated(error, self.url) from error
            await asyncio.sleep(jitter(pause / 2, pause))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _in_thread(self, threads: ThreadPoolExecutor, function: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, function)
        except RuntimeError as error:
            if "shutdown" in str(error):
                raise StoreUnavailable(f"The session store {shown(self.url)} has been closed.") from error
            raise

    def _read(self, work: Work[T], line: _Line) -> T:
        with self._reader.connect() as connection, line.to(connection):
            return work(connection)

    def _write(self, work: Work[T], line: _Line) -> T:
        with self._writer.connect() as connection, line.to(connection), connection.begin():
            return work(connection)

    def _prepare(self) -> None:
        with self._preparing:
            if not self._prepared:
                bring_up_to_date(self._writer, self.url)
                self._prepared = True


class _Line:
    """The socket of a transaction, for as long as it lasts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._until = float("inf")

    @contextlib.contextmanager
    def to(self, connection: Connection) -> Iterator[None]:
        driver = connection.connection.driver_connection
        with self._lock:
            # A SQLite connection has none; one that is found closed is about to be replaced.
            self._descriptor = driver.fileno() if driver and getattr(driver, "closed", True) is False else None
            self._until = time.monotonic() + ANSWER_SECONDS
        try:
            yield
        finally:
            with self._lock:
                self._descriptor = None

    @property
    def seconds_left(self) -> float:
        """Until it has to have an answer; as long as it waits for a thread, no time passes."""
        return min(self._until - time.monotonic(), ANSWER_SECONDS)

    def cut(self) -> None:
        """Whoever waits for an answer on it learns at once that none will come."""
        with self._lock:
            if self._descriptor is not None:
                with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._descriptor)) as line:
                    line.shutdown(socket.SHUT_RDWR)


class _Watch:
    """Cuts a line on which no answer comes."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(ANSWER_SECONDS, self._look)

    def cancel(self) -> None:
        self._handle.cancel()

    def _look(self) -> None:
        if self._line.seconds_left <= 0:
            self._line.cut()
        else:
            self._handle = self._loop.call_later(self._line.seconds_left, self._look)
