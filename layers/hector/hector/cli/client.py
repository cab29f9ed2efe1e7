"""The HTTP API as the commands use it, whether a server answers or an app in this process (see `connect`)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, aconnect_sse

from hector.cli.documents import Document, document, stranger
from hector.cli.exits import Conflict, Refused, SessionGone, Unreachable
from hector.cli.reading import pieces
from hector.errors import NEW_SESSION, NotFound

LARGEST_PAGE = 100
AGAIN_SECONDS = (0.2, 1.0, 3.0)
"""After so long a request is repeated whose answer was lost on its way."""
_GATEWAY = (502, 503, 504)
"""What a proxy answers while its server restarts."""
_HERE = "`hector session list` shows those that are there, `hector session create AGENT` starts one."
"""What to do where a session is not found, in terms of the command line."""


class Client:
    """Answers are the API's own JSON documents. Every call raises NotFound, Refused or Unreachable.

    `place` says in words where the agents are; `lasting` whether sessions are still there after this process.
    """

    def __init__(self, http: httpx.AsyncClient, place: str, *, lasting: bool) -> None:
        self._http = http
        self.place = place
        self.lasting = lasting

    async def get(self, *path: str) -> Document:
        """One agent, session or task."""
        return document(await self._send("GET", path), _named(path))

    async def page(self, *path: str, **query: Any) -> Document:
        """`{items, nextCursor}`, as many as the API gives at once."""
        return document(await self._send("GET", path, params=_given(query)), "items")

    async def post(self, *path: str) -> Document:
        """Have something done to a session or a task, which is the answer."""
        return document(await self._send("POST", path), _named(path))

    async def delete(self, *path: str) -> None:
        response = await self._send("DELETE", path)
        if response.status_code != 204:
            raise stranger(response)

    async def listing(self, *path: str, limit: int, **query: Any) -> dict[str, Any]:
        """`{items, nextCursor}` with up to `limit` items, from as many pages as that takes."""
        items: list[Any] = []
        cursor = None
        while True:
            page = await self.page(*path, limit=min(limit - len(items), LARGEST_PAGE), cursor=cursor, **query)
            items += page["items"]
            cursor = page["nextCursor"]
            if cursor is None or len(items) >= limit:
                return {"items": items, "nextCursor": cursor}

    async def create(self, *path: str, body: dict[str, Any]) -> Document:
        """Make a session: one, however often the connection is lost meanwhile."""
        return document(await self._send_once(path, lambda: {"json": body}), "sessionId")

    async def upload(self, source: BinaryIO, *path: str, **query: Any) -> Document:
        """Make a session of what an unbuffered file holds, in pieces; a pipe can be sent only once. Raises OSError."""
        start = source.tell() if source.seekable() else None

        def request() -> dict[str, Any]:
            if start is not None:
                source.seek(start)
            return {"params": _given(query), "content": pieces(source)}

        return document(await self._send_once(path, request, again=start is not None), "sessionId")

    async def download(self, *path: str) -> AsyncGenerator[bytes, None]:
        """The answer's lines of JSON, in pieces as they come."""
        try:
            async with self._http.stream("GET", _url(path)) as response:
                if not response.is_success:
                    await response.aread()
                    raise _refusal(response)
                if not _is(response, "application/x-ndjson"):
                    raise stranger(response)
                async for chunk in response.aiter_bytes():
                    yield chunk
        except httpx.TransportError as error:
            raise self.unreachable(error) from error

    @asynccontextmanager
    async def stream(self, method: str, *path: str, **request: Any) -> AsyncIterator[EventSource]:
        """One connection; a 204 has no events. It raises httpx.TransportError where trying again may help."""
        async with aconnect_sse(self._http, method, _url(path), **request) as source:
            response = source.response
            if not response.is_success:
                await response.aread()
                if response.status_code in _GATEWAY:
                    raise httpx.RemoteProtocolError(_detail(response))
                raise _refusal(response)
            if response.status_code != 204 and not _is(response, "text/event-stream"):
                raise stranger(response)
            yield source

    def unreachable(self, error: httpx.TransportError) -> Unreachable:
        reason = str(error) or type(error).__name__
        return Unreachable(f"{self.place} cannot be reached: {reason}. Is the address right, and the server running?")

    async def _send(self, method: str, path: tuple[str, ...], **request: Any) -> httpx.Response:
        try:
            response = await self._http.request(method, _url(path), **request)
        except httpx.TransportError as error:
            raise self.unreachable(error) from error
        if not response.is_success:
            raise _refusal(response)
        return response

    async def _send_once(
        self, path: tuple[str, ...], request: Callable[[], dict[str, Any]], *, again: bool = True
    ) -> httpx.Response:
        """Post with an idempotency key, and after AGAIN_SECONDS `again` where the answer was lost.

        A server that was not there from the start is not waited for, and one that hangs is not asked again.
        """
        key = {"Idempotency-Key": secrets.token_hex(16)}
        delays = iter(AGAIN_SECONDS if again else ())
        begun = False
        while True:
            try:
                return await self._send("POST", path, headers=key, **request())
            except Unreachable as error:
                begun = begun or not isinstance(error.__cause__, httpx.ConnectError)
                delay = None if isinstance(error.__cause__, httpx.TimeoutException) else next(delays, None)
                if delay is None or not begun:
                    raise
                await asyncio.sleep(delay)


def _url(path: tuple[str, ...]) -> str:
    return "/" + "/".join(quote(part, safe="") for part in path)


def _named(path: tuple[str, ...]) -> str:
    """What every document of this kind has: `agentId` below /agents, and so on."""
    return path[0].removesuffix("s") + "Id"


def _is(response: httpx.Response, media_type: str) -> bool:
    given: str = response.headers.get("content-type", "")
    return given.partition(";")[0].strip().lower() == media_type


def _given(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _refusal(response: httpx.Response) -> NotFound | Refused:
    detail = _detail(response)
    if response.status_code == 401:
        detail += " This command sends the bearer token that the environment variable HECTOR_TOKEN holds."
    if response.status_code == 404 and _problem(response).get("field") == "sessionId":
        return SessionGone(detail.removesuffix(NEW_SESSION) + _HERE)
    kinds: dict[int, type[NotFound | Refused]] = {404: NotFound, 409: Conflict}
    return kinds.get(response.status_code, Refused)(detail)


def _detail(response: httpx.Response) -> str:
    """What the problem document says, or at least the status."""
    unsaid = f"The server answered {response.status_code} {response.reason_phrase}".rstrip() + "."
    return str(_problem(response).get("detail", unsaid))


def _problem(response: httpx.Response) -> dict[str, Any]:
    """The problem document; empty from another kind of server, such as a proxy."""
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
