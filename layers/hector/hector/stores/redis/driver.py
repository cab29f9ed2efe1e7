"""What redis-py 8.1 tells wrongly, told as it is."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def truthful() -> Iterator[None]:
    """Raises CancelledError and redis's ConnectionError where the driver swallows the one, or hides the other.

    It sends with asyncio.wait_for, which on Python 3.11 forgets a cancel that comes as what it waits for is done.
    And it writes to connections that have been closed meanwhile, by itself or by the engine: then something is None
    in its own code, or in asyncio's (github.com/redis/redis-py/issues/4287).
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    except (AttributeError, TypeError) as error:
        if not _of_a_connection(error):
            raise
        from redis.exceptions import ConnectionError as ConnectionLost

        raise ConnectionLost("Connection closed while writing.") from error
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


def _of_a_connection(error: Exception) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__") == "redis.asyncio.connection" for frame, _ in frames)
