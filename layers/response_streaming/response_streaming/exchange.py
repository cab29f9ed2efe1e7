"""One request and its answer: the ASGI side (scope, receive, send) joined to a sink that takes the bytes.

The application runs as a task. ``begin`` runs it until its first body bytes exist, so that a failure before them is an
ordinary failed invocation. ``deliver`` then passes bytes on as the application sends them. Failures of the application
and of the sink are kept apart: only what the sink itself raises counts as a lost Runtime API.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from response_streaming.connection import RuntimeApiError
from response_streaming.loop import end_leftover_tasks
from response_streaming.prelude import encode_prelude

Message = MutableMapping[str, Any]
AsgiApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

logger = logging.getLogger("response_streaming")


class IncompleteResponse(RuntimeError):
    """The application returned before its answer was complete."""


class ResponseLost(OSError):
    """send() was called after the way out was lost (ASGI 2.4, "Disconnected client - send exception")."""


class Sink(Protocol):
    """Where an answer goes. Methods raise OSError when the way out is lost."""

    async def open(self, prelude: bytes, first: bytes) -> None: ...
    async def write(self, data: bytes) -> None: ...
    async def end(self) -> None: ...
    async def fail(self, error: BaseException) -> None: ...
    def close(self) -> None: ...


class Exchange:
    """``scope`` and ``body`` are the request; ``status`` and ``headers`` the answer's, once ``begin`` has returned."""

    def __init__(self, app: AsgiApp, scope: MutableMapping[str, Any], body: bytes, *, multi_value: bool = True) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._app, self._scope, self._multi_value = app, scope, multi_value
        self._request: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._prelude = b""
        self._first: bytes | None = None
        self._complete = False
        self._sink: Sink | None = None
        self._lost: OSError | None = None
        self._ready = asyncio.Event()  # the first body bytes exist
        self._open = asyncio.Event()  # they have been passed on (or the way out is lost): send() may go on
        self._body_done = asyncio.Event()  # the application sent its last bytes, or the way out is lost
        self._over = asyncio.Event()  # the answer is out: receive() may report the disconnect

    async def begin(self) -> None:
        """Runs the application until its first body bytes exist. Raises what it raises before that."""
        self._task = asyncio.ensure_future(self._run())
        await _first_of(self._task, self._ready)
        if self._first is None:
            self._over.set()
            await end_leftover_tasks(self._scope.get("aws.context"))
            self._task.result()
            raise IncompleteResponse("The application returned without a response body.")

    async def deliver(self, sink: Sink) -> None:
        """Streams the answer into ``sink``, then waits for the application to return.

        A failure of the application ends the answer with ``sink.fail``. Raises RuntimeApiError when the sink is lost;
        the application has returned and no task is left by then, too.
        """
        self._sink = sink
        try:
            await self._guard(sink.open(self._prelude, self._first or b""))
            self._open.set()
            if self._complete:
                self._body_done.set()
            await _first_of(self._task, self._body_done)
            if self._lost is None:
                await self._guard(sink.end() if self._complete else sink.fail(self._failure()))
            self._over.set()
            await asyncio.wait({self._task})
        finally:
            sink.close()
            await end_leftover_tasks(self._scope.get("aws.context"))
        if self._lost is not None:
            raise RuntimeApiError(f"The connection to the Runtime API was lost: {self._lost}") from self._lost
        if self._complete and not self._task.cancelled() and (error := self._task.exception()) is not None:
            logger.error("The application failed after its answer was complete", exc_info=error)

    async def _run(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    def _failure(self) -> BaseException:
        """Why the application ended before its answer did; logged, because awslambdaric never sees it."""
        if self._task.cancelled():
            error: BaseException = asyncio.CancelledError("The application's task was cancelled.")
        else:
            error = self._task.exception() or IncompleteResponse("The application returned in mid-answer.")
        logger.error("The application failed while its answer was streamed", exc_info=error)
        return error

    async def _guard(self, step: Awaitable[None]) -> None:
        """Awaits a step of the sink and remembers if it was lost there."""
        try:
            await step
        except OSError as error:
            self._lost = self._lost or error
            self._body_done.set()
            self._over.set()

    async def _receive(self) -> Message:
        request, self._request = self._request, None
        if request is not None:
            return request
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and not self._prelude:
            self.status = int(message["status"])
            self.headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            self._prelude = encode_prelude(self.status, self.headers, multi_value=self._multi_value)
        elif kind == "http.response.body" and self._prelude and not self._complete:
            await self._send_body(bytes(message.get("body", b"")), not message.get("more_body", False))
        elif self._lost is not None:
            raise ResponseLost(str(self._lost))
        else:
            state = "complete" if self._complete else "started" if self._prelude else "not started"
            raise RuntimeError(f"Unexpected ASGI message {kind!r}: the answer is {state}.")

    async def _send_body(self, data: bytes, last: bool) -> None:
        if self._first is None:
            if data or last:
                self._first, self._complete = data, last
                self._ready.set()
            return
        await self._open.wait()
        assert self._sink is not None
        if data and self._lost is None:
            await self._guard(self._sink.write(data))
        if self._lost is not None:
            raise ResponseLost(f"The connection to the Runtime API was lost: {self._lost}")
        if last:
            self._complete = True
            self._body_done.set()


async def _first_of(task: asyncio.Task[None], event: asyncio.Event) -> None:
    """Waits until the task has ended or the event is set."""
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
