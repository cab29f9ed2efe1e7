"""The front door: a REST API with Lambda proxy integrations, buffered or streaming.

A streaming route demands the prelude and fails without it, as API Gateway does. The function is not told when a client
goes away, or when the gateway's patience ends: its answer is read to the end and thrown away.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from hector.emulator.answers import DELIMITER, Refusal, bad_answer, own_answer, read_prelude, read_proxy_answer
from hector.emulator.events import rest_event
from hector.emulator.http import HttpConnection, Request
from hector.emulator.invocation import Invocation
from hector.emulator.limits import Limits
from hector.emulator.model import Api, Route
from hector.emulator.pool import NoSuchFunction, RequestTooLarge, Throttled

T = TypeVar("T")
Invoke = Callable[[str, Mapping[str, Any]], Awaitable[Invocation]]


class Gateway:
    """Answers one request at a time per connection. ``invoke`` runs a function until its answer has begun."""

    def __init__(self, api: Api, invoke: Invoke, limits: Limits) -> None:
        # Literal parts win over parameters, and parameters over {greedy+} ones, as in API Gateway's resource tree.
        self._routes = sorted(api.routes, key=lambda route: [_rank(part) for part in route.resource.split("/")])
        self._api, self._invoke, self._limits = api, invoke, limits
        self._idle_limit = "stream_idle_edge" if api.edge else "stream_idle_regional"

    async def answer(self, request: Request, connection: HttpConnection) -> None:
        """Raises ConnectionError when the client has gone, or when its answer has to be cut."""
        try:
            body = await self._body(connection)
            route, parameters = self._route(request)
            self._check(request)
            if route.mock is not None:
                await connection.respond(200, [("Content-Type", "application/json"), *route.mock.items()], b"{}")
            elif route.streams:
                await self._stream(request, route, rest_event(request, body, route, parameters), connection)
            else:
                await self._buffer(request, route, rest_event(request, body, route, parameters), connection)
        except Refusal as refusal:
            print(f"{request.method} {request.path} -> {refusal.status}: {refusal}", file=sys.stderr)
            await connection.respond(*own_answer(refusal, self._api.responses, request))

    async def _body(self, connection: HttpConnection) -> bytes:
        """The whole body; one that is too large is read and thrown away."""
        body, limit = bytearray(), self._limits.gateway_payload
        size = 0
        async for piece in connection.body():
            size += len(piece)
            if size <= limit:
                body += piece
        if size > limit:
            reason = self._limits.say("gateway_payload", f"a body of {size} bytes")
            raise Refusal("REQUEST_TOO_LARGE", 413, f"HTTP content length exceeded {limit} bytes.", reason)
        return bytes(body)

    def _route(self, request: Request) -> tuple[Route, dict[str, str]]:
        for route in self._routes:
            if (parameters := route.match(request.method, request.path)) is not None:
                return route, parameters
        # AWS's own answer to an unknown path.
        raise Refusal("MISSING_AUTHENTICATION_TOKEN", 403, "Missing Authentication Token", "there is no such route")

    def _check(self, request: Request) -> None:
        if request.size > self._limits.gateway_headers:
            reason = self._limits.say("gateway_headers", f"request line and header values take {request.size} bytes")
            raise Refusal("REQUEST_TOO_LARGE", 413, "Request Header Fields Too Large", reason)
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
        if set("|{}") & set(urlsplit(request.target).query):
            raise Refusal("DEFAULT_4XX", 400, "Bad Request", "| and { } in a query have to be percent-encoded")

    async def _begin(self, route: Route, event: Mapping[str, Any]) -> Invocation:
        try:
            return await self._invoke(route.function, event)
        except NoSuchFunction:
            raise bad_answer(500, f"there is no function {route.function}") from None
        except RequestTooLarge as error:
            raise Refusal("REQUEST_TOO_LARGE", 413, "Request Too Long", str(error)) from None
        except Throttled as error:
            raise bad_answer(500, f"throttled: {error}") from None

    async def _buffer(self, request: Request, route: Route, event: dict[str, Any], connection: HttpConnection) -> None:
        patience = min(route.timeout, self._limits.buffered_timeout)
        try:
            async with asyncio.timeout(patience):
                invocation = await self._begin(route, event)
                try:
                    content = await invocation.read()
                finally:
                    invocation.leave()
        except TimeoutError:
            limit = "buffered_timeout" if patience < route.timeout else ""
            raise self._timed_out(limit, f"no answer of {route.function} in {patience:g} s") from None
        if invocation.failure is not None:
            raise bad_answer(502, f"{route.function} failed: {invocation.failure}")
        await connection.respond(*read_proxy_answer(content, request, route))

    async def _stream(self, request: Request, route: Route, event: dict[str, Any], connection: HttpConnection) -> None:
        patience = min(route.timeout, self._limits.stream_total)
        try:
            async with asyncio.timeout(patience):
                await self._pass_on(request, route, event, connection)
        except TimeoutError:
            limit = "stream_total" if patience < route.timeout else ""
            refusal = self._timed_out(limit, f"{route.function} was not done in {patience:g} s")
            if connection.answering:
                print(f"{request.method} {request.path}: {refusal}", file=sys.stderr)
                raise ConnectionAbortedError("the gateway's patience ended") from None
            raise refusal from None

    async def _pass_on(self, request: Request, route: Route, event: dict[str, Any], connection: HttpConnection) -> None:
        invocation = await self._heard(self._begin(route, event), route, connection)
        try:
            if invocation.error is not None:
                raise bad_answer(502, f"{route.function} failed: {invocation.error}")
            pieces = invocation.pieces()
            status, headers, first = await self._head(invocation, pieces, route, connection)
            bodiless = request.method == "HEAD" or status in {204, 304}
            await connection.start(status, headers)
            if not bodiless:
                await connection.send(first)
            while (piece := await self._heard(anext(pieces, None), route, connection)) is not None:
                if not bodiless:
                    await connection.send(piece)
            if invocation.failure is not None:
                raise ConnectionAbortedError("the stream was cut")
            await connection.finish()
        finally:
            invocation.leave()  # at once, if the client has gone: nobody tells the function

    async def _head(
        self, invocation: Invocation, pieces: AsyncIterator[bytes], route: Route, connection: HttpConnection
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers, and what of the body came with them."""
        head, limit = b"", self._limits.prelude
        while DELIMITER not in head[:limit]:
            piece = await self._heard(anext(pieces, None), route, connection)
            if piece is None or len(head) >= limit:
                status = 502 if invocation.cut else 500
                raise bad_answer(status, self._limits.say("prelude", f"the stream began with {head[:200]!r}"))
            head += piece
        raw, _, first = head.partition(DELIMITER)
        return *read_prelude(raw), first

    async def _heard(self, waiting: Awaitable[T], route: Route, connection: HttpConnection) -> T:
        """Awaits the function's next sign of life."""
        limit: float = getattr(self._limits, self._idle_limit)
        try:
            async with asyncio.timeout(limit):
                return await waiting
        except TimeoutError:
            refusal = self._timed_out(self._idle_limit, f"{route.function} was silent")
            if connection.answering:
                print(refusal, file=sys.stderr)
                raise ConnectionAbortedError("the stream was idle for too long") from None
            raise refusal from None

    def _timed_out(self, limit: str, what: str) -> Refusal:
        reason = self._limits.say(limit, what) if limit else f"the route's timeout: {what}"
        return Refusal("INTEGRATION_TIMEOUT", 504, "Endpoint request timed out", reason)


def _rank(part: str) -> int:
    return 0 if not part.startswith("{") else 2 if part.endswith("+}") else 1
