"""Lambda's own API, for boto3: invoke, and invoke with a streamed answer."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
from typing import Any
from urllib.parse import unquote

from hector.emulator.eventstream import invoke_complete, payload_chunk
from hector.emulator.http import HttpConnection, Request
from hector.emulator.invocation import TOO_LARGE, Invocation
from hector.emulator.limits import Limits
from hector.emulator.model import Function, arn
from hector.emulator.pool import NoSuchFunction, Pool, RequestTooLarge, Throttled

_PATH = re.compile(r"/(2015-03-31|2021-11-15)/functions/([^/]+)/(invocations|response-streaming-invocations)")
_JSON = ("Content-Type", "application/json")


class LambdaService:
    """Answers what is under /2015-03-31/functions and /2021-11-15/functions; ``speed`` shortens waits for retries."""

    def __init__(self, pool: Pool, limits: Limits, *, speed: float = 1.0) -> None:
        self._pool, self._limits, self._speed = pool, limits, speed
        self._events: set[asyncio.Task[None]] = set()

    @staticmethod
    def takes(request: Request) -> bool:
        return request.method == "POST" and _PATH.fullmatch(request.path) is not None

    async def answer(self, request: Request, body: bytes, connection: HttpConnection) -> None:
        found = _PATH.fullmatch(request.path)
        assert found is not None
        name = unquote(found[2]).split(":function:")[-1].split(":")[0]
        kind = request.header("X-Amz-Invocation-Type") or "RequestResponse"
        try:
            function = self._pool.functions[name]
            if found[3] == "response-streaming-invocations":
                await self._stream(function, request, body, connection)
            elif kind == "RequestResponse":
                await self._whole(function, request, body, connection)
            elif kind == "Event":
                self._accept(function, body)
                await connection.respond(202)
            else:
                await connection.respond(204)  # DryRun: the function could be invoked
        except (KeyError, NoSuchFunction):
            known = ", ".join(self._pool.functions)
            text = f"Function not found: {arn('lambda', f'function:{name}')}. There are: {known}"
            await _refuse(connection, 404, "ResourceNotFoundException", text)
        except RequestTooLarge as error:
            await _refuse(connection, 413, "RequestTooLargeException", str(error))
        except Throttled as error:
            await _refuse(connection, 429, "TooManyRequestsException", str(error))
        except ValueError as error:
            await _refuse(connection, 400, "InvalidRequestContentException", f"Could not parse the payload: {error}")

    async def close(self) -> None:
        for task in self._events:
            task.cancel()
        await asyncio.gather(*self._events, return_exceptions=True)

    async def _whole(self, function: Function, request: Request, body: bytes, connection: HttpConnection) -> None:
        invocation = await self._pool.invoke(function.name, _payload(body))
        content = await invocation.read()
        headers = [("X-Amz-Executed-Version", "$LATEST"), ("X-Amzn-RequestId", invocation.request_id), _JSON]
        failure = invocation.failure
        if failure is None and len(content) > self._limits.response:
            print(self._limits.say("response", f"{function.name} streams, and `invoke` buffers"), file=sys.stderr)
            failure = {"errorType": TOO_LARGE, "errorMessage": "The answer is too large to be buffered."}
        if failure is not None:
            headers.append(("X-Amz-Function-Error", "Unhandled"))
            content = json.dumps(failure).encode()
        if (log := self._tail(request, invocation)) is not None:
            headers.append(("X-Amz-Log-Result", log))
        await connection.respond(200, headers, content)

    async def _stream(self, function: Function, request: Request, body: bytes, connection: HttpConnection) -> None:
        invocation = await self._pool.invoke(function.name, _payload(body))
        head = [
            ("Content-Type", "application/vnd.amazon.eventstream"),
            ("X-Amz-Executed-Version", "$LATEST"),
            ("X-Amzn-RequestId", invocation.request_id),
        ]
        try:
            await connection.start(200, head)
            async for piece in invocation.pieces():
                await connection.send(payload_chunk(piece))
            await connection.send(invoke_complete(invocation.failure, self._tail(request, invocation)))
            await connection.finish()
        except (ConnectionError, asyncio.CancelledError):
            invocation.leave()
            raise

    def _accept(self, function: Function, body: bytes) -> None:
        payload = _payload(body)
        if len(payload) > self._limits.event:
            raise RequestTooLarge(self._limits.say("event", f"an event of {len(payload)} bytes for {function.name}"))
        task = asyncio.create_task(self.deliver(function.name, payload))
        self._events.add(task)
        task.add_done_callback(self._events.discard)

    async def deliver(self, function: str, payload: bytes) -> None:
        """Invokes a function for an event that nobody waits for, and again if it fails, as Lambda does."""
        wait, own = self._limits.event_retry_wait, self._pool.functions[function].event_retries
        for attempt in range((self._limits.event_retries if own is None else own) + 1):
            if attempt:
                await asyncio.sleep(wait * attempt / self._speed)
            try:
                invocation = await self._pool.invoke(function, payload)
                await invocation.read()
            except Throttled:
                continue
            if invocation.failure is None:
                return
        print(self._limits.say("event_retries", f"{function} failed and its event is dropped"), file=sys.stderr)

    def _tail(self, request: Request, invocation: Invocation) -> str | None:
        """The last 4 KB of the process's output, as base64, if the caller asked for it."""
        if request.header("X-Amz-Log-Type") != "Tail":
            return None
        lines = next((one.log for one in self._pool.instances if one.alive and one.pid == invocation.pid), [])
        return base64.b64encode("\n".join(lines).encode()[-4096:]).decode()


def _payload(body: bytes) -> bytes:
    """The payload, which has to be JSON; an absent one is an empty object. Raises ValueError."""
    json.loads(body or b"{}")
    return body or b"{}"


async def _refuse(connection: HttpConnection, status: int, kind: str, text: str) -> None:
    content: dict[str, Any] = {"Type": "User", "Message": text, "message": text}
    await connection.respond(status, [_JSON, ("X-Amzn-ErrorType", kind)], json.dumps(content).encode())
