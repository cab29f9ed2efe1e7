"""The front door: a REST API with Lambda proxy integrations, buffered or streaming.

A streaming route demands the prelude and fails without it, as API Gateway does. The function is not told when a client
goes away: its answer is read to the end and thrown away.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hector.emulator.events import rest_event
from hector.emulator.http import HeaderList, HttpConnection, Request
from hector.emulator.instance import Invocation
from hector.emulator.model import Route

DELIMITER = bytes(8)
PRELUDE_LIMIT = 16 * 1024
_PRELUDE_KEYS = {"statusCode", "headers", "multiValueHeaders", "cookies"}
_PROXY_KEYS = {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}

Invoke = Callable[[str, Mapping[str, Any]], Awaitable[Invocation]]


class BadAnswer(Exception):
    """The function's answer is not in the form that its route demands."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Gateway:
    """Listens on loopback. ``invoke`` runs a function and returns when its answer has begun."""

    def __init__(self, routes: list[Route], invoke: Invoke, port: int) -> None:
        # Literal parts win over parameters, as in API Gateway's resource tree.
        self._routes = sorted(routes, key=lambda route: [part.startswith("{") for part in route.resource.split("/")])
        self._invoke, self._port = invoke, port
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        connection = HttpConnection(reader, writer)
        try:
            while (request := await connection.next_request()) is not None:
                body = b"".join([piece async for piece in connection.body()])
                await self._answer(request, body, connection)
        except (ConnectionError, asyncio.CancelledError):
            connection.abort()  # the client has gone, its answer was cut, or the emulator stops
        finally:
            connection.close()

    async def _answer(self, request: Request, body: bytes, connection: HttpConnection) -> None:
        path = request.target.split("?")[0]
        for route in self._routes:
            if (parameters := route.match(request.method, path)) is not None:
                break
        else:
            await _refuse(connection, 403, "Missing Authentication Token")  # sic: AWS's answer to an unknown path
            return
        event = rest_event(request, body, route, parameters)
        try:
            async with asyncio.timeout(route.timeout):
                if route.streams:
                    await self._stream(request, route, event, connection)
                else:
                    await self._buffer(request, route, event, connection)
        except TimeoutError:
            if connection.answering:
                raise ConnectionAbortedError("the route's timeout ended the stream") from None
            await _refuse(connection, 504, "Endpoint request timed out")
        except BadAnswer as problem:
            print(f"{request.method} {path} -> {problem.status}: {problem}", file=sys.stderr)
            await _refuse(connection, problem.status, "Internal server error")

    async def _buffer(self, request: Request, route: Route, event: dict[str, Any], connection: HttpConnection) -> None:
        invocation = await self._invoke(route.function, event)
        content = await invocation.read()
        if invocation.error is not None or invocation.cut:
            raise BadAnswer(502, f"{route.function} failed: {invocation.error}")
        try:
            answer = json.loads(content)
            unknown = set(answer) - _PROXY_KEYS
            status, text = int(answer["statusCode"]), answer.get("body") or ""
        except (ValueError, TypeError, KeyError) as error:
            raise BadAnswer(502, f"malformed Lambda proxy response: {content[:200]!r}") from error
        if unknown:
            raise BadAnswer(502, f"malformed Lambda proxy response: unknown keys {sorted(unknown)}")
        decode = answer.get("isBase64Encoded") and route.is_binary(request.header("Accept"))
        data = base64.b64decode(text) if decode else text.encode()
        await connection.respond(status, _headers(answer), data)

    async def _stream(self, request: Request, route: Route, event: dict[str, Any], connection: HttpConnection) -> None:
        invocation = await self._invoke(route.function, event)
        if invocation.error is not None:
            raise BadAnswer(502, f"{route.function} failed: {invocation.error}")
        pieces = invocation.pieces()
        head = b""
        while DELIMITER not in head[:PRELUDE_LIMIT]:
            piece = await anext(pieces, None)
            if piece is None or len(head) >= PRELUDE_LIMIT:
                raise BadAnswer(502 if invocation.cut else 500, f"no prelude in the first 16 KB: {head[:200]!r}")
            head += piece
        raw, _, first = head.partition(DELIMITER)
        status, headers = _prelude(raw)
        bodiless = request.method == "HEAD" or status in {204, 304}
        listening = await _reaches(connection.start(status, headers))
        if listening and not bodiless:
            listening = await _reaches(connection.send(first))
        async for piece in pieces:
            if listening and not bodiless:
                listening = await _reaches(connection.send(piece))
        if invocation.cut or invocation.trailers or not listening:
            raise ConnectionAbortedError("the stream was cut")
        await connection.finish()


async def _reaches(step: Awaitable[None]) -> bool:
    """Awaits a write to the client; False if the client has gone."""
    try:
        await step
    except ConnectionError:
        return False
    return True


def _prelude(raw: bytes) -> tuple[int, HeaderList]:
    try:
        content = json.loads(raw)
        if unknown := set(content) - _PRELUDE_KEYS:
            raise BadAnswer(500, f"unknown keys in the prelude: {sorted(unknown)}")
        return int(content["statusCode"]), _headers(content)
    except (ValueError, TypeError, KeyError) as error:
        raise BadAnswer(500, f"the prelude is not what a stream begins with: {raw[:200]!r}") from error


def _headers(content: Mapping[str, Any]) -> HeaderList:
    found: HeaderList = [(name, str(value)) for name, value in (content.get("headers") or {}).items()]
    for name, values in (content.get("multiValueHeaders") or {}).items():
        found += [(name, str(value)) for value in values]
    found += [("set-cookie", cookie) for cookie in content.get("cookies") or []]
    return [(name, value) for name, value in found if name.lower() not in {"connection", "transfer-encoding"}]


async def _refuse(connection: HttpConnection, status: int, message: str) -> None:
    await connection.respond(status, [("Content-Type", "application/json")], json.dumps({"message": message}).encode())
