"""HTTP/1.1 on asyncio streams: h11 does the protocol, this does the bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

import h11

HeaderList = list[tuple[str, str]]

_REASONS = {status.value: status.phrase for status in HTTPStatus}
HEAD_BYTES = 256 * 1024  # more than any limit on headers, so that the limit is what refuses them


@dataclass(frozen=True)
class Request:
    """A request's head; header names are as the client wrote them."""

    method: str
    target: str
    headers: HeaderList

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.split("?")[0]

    @property
    def size(self) -> int:
        """Bytes of the request line and of the headers' values, which API Gateway counts together."""
        return len(f"{self.method} {self.target} HTTP/1.1") + sum(len(value) for _, value in self.headers)

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever its case."""
        return next((value for found, value in self.headers if found.lower() == name.lower()), None)


class HttpConnection:
    """One client's connection to a server of ours, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self.trailers: dict[str, str] = {}

    @property
    def answering(self) -> bool:
        """Whether an answer's head has left and its end has not."""
        return self._h11.our_state is h11.SEND_BODY

    async def next_request(self) -> Request | None:
        """The next request's head, or None when the client has gone."""
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        if self._h11.our_state is not h11.IDLE:
            return None
        event = await self._event()
        if not isinstance(event, h11.Request):
            return None
        headers = [(name.decode(), value.decode("latin-1")) for name, value in event.headers.raw_items()]
        return Request(event.method.decode(), event.target.decode(), headers)

    async def body(self) -> AsyncIterator[bytes]:
        """The request's body as it arrives; afterwards ``trailers`` is set. Raises ConnectionError if it is cut."""
        while True:
            event = await self._event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.trailers = {name.decode().lower(): value.decode() for name, value in event.headers}
                return
            else:
                raise ConnectionResetError("the client closed the connection in the middle of a body")

    async def respond(self, status: int, headers: HeaderList | None = None, body: bytes = b"") -> None:
        """A whole answer."""
        await self.start(status, [*(headers or []), ("Content-Length", str(len(body)))])
        await self.send(body)
        await self.finish()

    async def start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """An answer's head; without Content-Length the body is chunked."""
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        await self._write(h11.Response(status_code=status, headers=raw, reason=_REASONS.get(status, "").encode()))

    async def send(self, data: bytes) -> None:
        """A piece of the answer's body; waits while the client reads slower than we write."""
        if data:
            await self._write(h11.Data(data=data))

    async def finish(self) -> None:
        """The end of the answer."""
        await self._write(h11.EndOfMessage())

    def abort(self) -> None:
        """Closes the connection at once, so that a chunked answer is visibly cut."""
        self._writer.transport.abort()

    def close(self) -> None:
        """Closes the connection after what was written has left."""
        self._writer.close()

    async def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                raise ConnectionAbortedError(f"this is no HTTP: {error}") from error
            if event is not h11.NEED_DATA:
                return event
            if self._h11.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                data = await self._reader.read(65536)
            except ConnectionError:
                data = b""
            if not data and self._h11.their_state is not h11.IDLE:
                raise ConnectionResetError("the client closed the connection in the middle of a request")
            self._h11.receive_data(data)

    async def _write(self, event: h11.Event) -> None:
        self._writer.write(self._h11.send(event) or b"")
        await self._writer.drain()


async def serve(connection: HttpConnection, answer: Callable[[Request, HttpConnection], Awaitable[None]]) -> None:
    """Answers one request after another, until the client goes, or this task is canceled, which cuts an answer."""
    try:
        while (request := await connection.next_request()) is not None:
            await answer(request, connection)
    except (ConnectionError, asyncio.CancelledError):
        connection.abort()
    finally:
        connection.close()
