"""Blocking iterators, read by the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

_AHEAD = 256
_ITEM, _END, _ERROR = range(3)


async def in_thread(make: Callable[[], Iterator[T]]) -> AsyncGenerator[T, None]:
    """Run a blocking iterator in a daemon thread, at most `_AHEAD` items before its reader.

    Python cannot interrupt a thread: one whose reader has gone is abandoned, and ends at its next item. Then the
    iterator is closed, in its own thread. A thread pool would not do: its threads are joined at exit, and a few
    abandoned ones would exhaust it.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[int, T | Exception | None]] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    abandoned = threading.Event()

    def put(kind: int, value: T | Exception | None) -> None:
        if not abandoned.is_set() and not loop.is_closed():
            loop.call_soon_threadsafe(queue.put_nowait, (kind, value))

    def work() -> None:
        try:
            iterator = make()
            try:
                for item in iterator:
                    room.acquire()
                    if abandoned.is_set():
                        return
                    put(_ITEM, item)
            finally:
                close = getattr(iterator, "close", None)
                if close is not None:
                    close()
            put(_END, None)
        except Exception as error:  # noqa: BLE001 - carried over to the reader
            put(_ERROR, error)
        except BaseException as error:  # noqa: BLE001 - sys.exit() ends the turn, not the server
            put(_ERROR, RuntimeError(f"the agent raised {type(error).__name__}"))

    threading.Thread(target=work, name="hector-agent", daemon=True).start()
    try:
        while True:
            kind, value = await queue.get()
            if kind == _ITEM:
                room.release()
                yield value  # type: ignore[misc]
            elif isinstance(value, Exception):
                raise value
            else:
                return
    finally:
        abandoned.set()
        room.release()
