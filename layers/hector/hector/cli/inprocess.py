"""An ASGI app in this process as httpx's other end, streaming.

httpx's own ASGITransport hands an answer over only when it is complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
from starlette.types import ASGIApp, Message, Scope


class InProcess(httpx.AsyncBaseTransport):
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As soon as the answer has begun. An exception of the app is raised here, or where its body is read."""
        assert isinstance(request.stream, httpx.AsyncByteStream)
        answer = _Answer(request.stream)
        answer.begin(self._app, _scope(request))
        try:
            start = await answer.next()
        except BaseException:
            await answer.aclose()
            raise
        assert start is not None, "an ASGI app always sends http.response.start"
        return httpx.Response(start["status"], headers=start.get("headers", ()), stream=answer)


class _Answer(httpx.AsyncByteStream):
    """The app's messages; closing it is the client's disconnect."""

    def __init__(self, body: httpx.AsyncByteStream) -> None:
        self._body: AsyncIterator[bytes] | None = aiter(body)
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self._running: asyncio.Task[None] | None = None

    def begin(self, app: ASGIApp, scope: Scope) -> None:
        async def call() -> None:
            try:
                await app(scope, self._receive, self._messages.put)
            finally:
                self._messages.put_nowait(None)

        self._running = asyncio.create_task(call())

    async def next(self) -> Message | None:
        """The app's next message; None after the last. Raises what the app raised."""
        message = await self._messages.get()
        if message is None and self._running is not None:
            await self._running
        return message

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self.next()) is not None:
            if body := message.get("body"):
                yield body

    async def aclose(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def _receive(self) -> Message:
        if self._body is None:
            await asyncio.Event().wait()  # the client goes on listening; its leaving cancels this
        assert self._body is not None
        async for piece in self._body:
            return {"type": "http.request", "body": piece, "more_body": True}
        self._body = None
        return {"type": "http.request", "body": b"", "more_body": False}


def _scope(request: httpx.Request) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (request.url.host, request.url.port),
        "client": None,
    }
