"""The HTTP API as the commands use it, whether a server answers or an app in this process (see `connect`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx
from httpx_sse import EventSource, aconnect_sse

from hector.cli.exits import Refused, Unreachable
from hector.errors import NotFound

LARGEST_PAGE = 100
_GATEWAY = (502, 503, 504)
"""What a proxy answers while its server restarts."""


class Client:
    """Answers are the API's own JSON documents. Every call raises NotFound, Refused or Unreachable.

    `place` says in words where the agents are; `lasting` whether sessions are still there after this process.
    """

    def __init__(self, http: httpx.AsyncClient, place: str, *, lasting: bool) -> None:
        self._http = http
        self.place = place
        self.lasting = lasting

    async def get(self, *path: str, **query: Any) -> Any:
        return _document(await self._send("GET", path, params=_given(query)))

    async def post(self, *path: str, body: dict[str, Any] | None = None) -> Any:
        return _document(await self._send("POST", path, json=body or {}))

    async def delete(self, *path: str) -> None:
        await self._send("DELETE", path)

    async def listing(self, *path: str, limit: int, **query: Any) -> dict[str, Any]:
        """`{items, nextCursor}` with up to `limit` items, from as many pages as that takes."""
        items: list[Any] = []
        cursor = None
        while True:
            page = await self.get(*path, limit=min(limit - len(items), LARGEST_PAGE), cursor=cursor, **query)
            items += page["items"]
            cursor = page["nextCursor"]
            if cursor is None or len(items) >= limit:
                return {"items": items, "nextCursor": cursor}

    async def download(self, *path: str) -> AsyncGenerator[bytes, None]:
        """The answer's body, as it comes."""
        try:
            async with self._http.stream("GET", _url(path)) as response:
                if not response.is_success:
                    await response.aread()
                    raise _refusal(response)
                async for chunk in response.aiter_bytes():
                    yield chunk
        except httpx.TransportError as error:
            raise self.unreachable(error) from error

    async def upload(self, source: BinaryIO, *path: str, **query: Any) -> Any:
        """Post what a file holds, in pieces."""

        async def pieces() -> AsyncGenerator[bytes, None]:
            while piece := source.read(65_536):
                yield piece

        return _document(await self._send("POST", path, params=_given(query), content=pieces()))

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


def _url(path: tuple[str, ...]) -> str:
    return "/" + "/".join(quote(part, safe="") for part in path)


def _document(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        raise Refused(f"What answers at {response.url} is not this API. Is the address of the server right?") from None


def _given(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _refusal(response: httpx.Response) -> NotFound | Refused:
    detail = _detail(response)
    if response.status_code == 401:
        detail += " This command sends the bearer token that the environment variable HECTOR_TOKEN holds."
    return NotFound(detail) if response.status_code == 404 else Refused(detail)


def _detail(response: httpx.Response) -> str:
    """What the problem document says; another kind of server, such as a proxy, may not send one."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"The server answered {response.status_code} {response.reason_phrase}".rstrip() + "."
