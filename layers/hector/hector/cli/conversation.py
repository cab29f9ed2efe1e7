"""A conversation with an agent, in this process or with a server: the same for whoever types."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, NoReturn, Protocol
from urllib.parse import quote

import httpx
from httpx_sse import ServerSentEvent, aconnect_sse

from hector.dialects.native import SESSION_HEADER, TASK_HEADER, event_data
from hector.errors import HectorError, NotFound
from hector.model import Message, Principal, Role, TaskState
from hector.services import Services

LOCAL_USER = Principal("local")
RECONNECT_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0)


class ServerError(HectorError):
    """The server refused, or cannot be reached."""

    code = "server"


class Conversation(Protocol):
    def say(self, text: str) -> AsyncGenerator[dict[str, Any], None]:
        """The data of the answer's stream events, as `hector.dialects.native` writes them. Raises HectorError."""

    async def cancel(self) -> None:
        """Stop the answer that is running, if one is."""

    async def aclose(self) -> None:
        """Close connections."""


class LocalConversation:
    """With an agent in this process."""

    def __init__(self, services: Services, agent_id: str) -> None:
        self._services = services
        self._agent_id = services.turns.agent(agent_id).id
        self._session_id: str | None = None
        self._task_id: str | None = None

    async def say(self, text: str) -> AsyncGenerator[dict[str, Any], None]:
        turns = self._services.turns
        message = Message.of(Role.USER, text)
        if self._session_id is None:
            self._session_id = (await turns.create_session(LOCAL_USER, self._agent_id)).id
        task = await turns.start(LOCAL_USER, self._session_id, message)
        self._task_id = task.id
        async for batch in self._services.follow.events(LOCAL_USER, task):
            for event in batch:
                yield event_data(task.id, event)

    async def cancel(self) -> None:
        if self._task_id is not None:
            with suppress(HectorError):
                await self._services.turns.cancel(LOCAL_USER, self._task_id)
            await self._services.turns.drain()

    async def aclose(self) -> None:
        await self._services.aclose()


class ServerConversation:
    """With an agent on a server. A connection that breaks is resumed after the last event, and loses no token."""

    def __init__(self, server: str, agent_id: str, client: httpx.AsyncClient | None = None) -> None:
        self._server = server.rstrip("/")
        self._agent_id = agent_id
        self._client = client or httpx.AsyncClient(timeout=httpx.Timeout(30.0, connect=5.0))
        self._session_id: str | None = None
        self._task_id: str | None = None
        self._last_event = ""

    async def say(self, text: str) -> AsyncGenerator[dict[str, Any], None]:
        self._task_id, self._last_event = None, ""
        message: dict[str, Any] = {"role": "user", "parts": [{"type": "text", "text": text}]}
        body = {"message": message} | ({"contextId": self._session_id} if self._session_id else {})
        path = f"/agents/{quote(self._agent_id, safe='')}/message/stream"
        retries = iter(RECONNECT_SECONDS)
        ended = False
        while not ended:
            try:
                async for data in self._stream("POST", path, json=body) if self._task_id is None else self._resume():
                    ended = "status" in data and TaskState(data["status"]["state"]).terminal
                    retries = iter(RECONNECT_SECONDS)
                    yield data
                if not ended and self._task_id is not None:
                    raise httpx.RemoteProtocolError("the stream ended early")
                ended = True
            except httpx.TransportError as error:
                delay = next(retries, None)
                if self._task_id is None or delay is None:
                    raise ServerError(f"The server at {self._server} cannot be reached: {error}") from error
                await asyncio.sleep(delay)

    async def cancel(self) -> None:
        if self._task_id is not None:
            with suppress(httpx.HTTPError):
                await self._client.post(f"{self._server}/tasks/{self._task_id}/cancel")

    async def aclose(self) -> None:
        await self._client.aclose()

    def _resume(self) -> AsyncGenerator[dict[str, Any], None]:
        headers = {"Last-Event-ID": self._last_event} if self._last_event else {}
        return self._stream("GET", f"/tasks/{self._task_id}/stream", headers=headers)

    async def _stream(self, method: str, path: str, **request: Any) -> AsyncGenerator[dict[str, Any], None]:
        async with aconnect_sse(self._client, method, self._server + path, **request) as source:
            if not source.response.is_success:
                await source.response.aread()
                _refuse(source.response)
            self._task_id = source.response.headers.get(TASK_HEADER, self._task_id)
            self._session_id = source.response.headers.get(SESSION_HEADER, self._session_id)
            async for event in source.aiter_sse():
                yield self._read(event)

    def _read(self, event: ServerSentEvent) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(event.data)
        self._last_event = event.id
        return data


def _refuse(response: httpx.Response) -> NoReturn:
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = f"The server answered {response.status_code}."
    raise NotFound(detail) if response.status_code == 404 else ServerError(detail)
