"""A task's stream, read to its end over as many connections as that takes: no token is lost, none comes twice."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any, NoReturn

import httpx
from httpx_sse import EventSource

from hector.cli.client import Client
from hector.cli.exits import Conflict, NotCanceled
from hector.errors import HectorError, NotFound
from hector.model import TaskState, TurnPolicy

_STREAM_OF = re.compile(r"/tasks/([A-Za-z0-9-]+)/stream$")
RECONNECT_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0)
CANCEL_SECONDS = 5.0
"""For so long each request of a cancel is waited for; a server takes some two seconds."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """`data` is as `hector.dialects.native.event_data` writes it."""

    number: int
    data: dict[str, Any]

    @property
    def text(self) -> str:
        """The next piece of the answer; empty for other events."""
        return "".join(part.get("text", "") for part in self.data.get("message", {}).get("parts", ()))

    @property
    def status(self) -> dict[str, Any]:
        """`state`, and where there are any `message`, `fraction`, `error`; empty for other events."""
        status: dict[str, Any] = self.data.get("status", {})
        return status

    @property
    def ends(self) -> bool:
        return bool(self.status) and TaskState(self.status["state"]).terminal

    @property
    def is_reset(self) -> bool:
        """A crash of the server took back what came after event `number`."""
        return "last_event_id" in self.data


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The connection was lost, and is tried again after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class _Opening:
    """A message that is still to be sent."""

    session_id: str
    body: dict[str, Any]


class TaskStream:
    """`events()` can be read once. `task_id` is known as soon as the server has taken the message."""

    def __init__(self, client: Client, task_id: str | None, after: int, opening: _Opening | None) -> None:
        self._client = client
        self._opening = opening
        self._key = secrets.token_hex(16)
        self._last = after
        self._over = False
        self._sent = False  # whether the message may have arrived
        self.task_id = task_id

    @classmethod
    def following(cls, client: Client, task_id: str, after: int = 0) -> TaskStream:
        """A task that is there, after event number `after`."""
        return cls(client, task_id, after, None)

    @classmethod
    def saying(cls, client: Client, session_id: str, text: str, policy: TurnPolicy | None = None) -> TaskStream:
        """A new task. Its idempotency key makes it safe to send again when it may not have arrived."""
        asked = {"turnPolicy": policy.value} if policy else {}
        return cls(client, None, 0, _Opening(session_id, {"input": {"type": "text/plain", "content": text}, **asked}))

    async def events(self) -> AsyncGenerator[StreamEvent | Reconnecting, None]:
        """Up to the terminal event. Raises NotFound, Refused, and Unreachable after RECONNECT_SECONDS."""
        delays = iter(RECONNECT_SECONDS)
        while True:
            try:
                async with aclosing(self._connection()) as connection:
                    async for event in connection:
                        delays = iter(RECONNECT_SECONDS)
                        yield event
                        if event.ends:
                            return
                if self._over:
                    return
                raise httpx.RemoteProtocolError("the stream ended early")
            except httpx.TransportError as error:
                delay = next(delays, None)
                if delay is None:
                    raise self._client.unreachable(error) from error
                yield Reconnecting(delay)
                await asyncio.sleep(delay)

    async def cancel(self) -> None:
        """Have the task stopped, if it may have begun. Raises NotCanceled: then it may go on."""
        try:
            if self.task_id is None and self._sent:
                await asyncio.wait_for(self._learn(), CANCEL_SECONDS)
            if self.task_id is not None:
                await asyncio.wait_for(self._client.post("tasks", self.task_id, "cancel"), CANCEL_SECONDS)
        except (Conflict, NotFound):
            return  # it has ended, or never began
        except TimeoutError:
            self._not_canceled(f"{self._client.place} did not answer within {CANCEL_SECONDS:.0f} s.")
        except httpx.TransportError as error:
            self._not_canceled(self._client.unreachable(error).message)
        except HectorError as error:
            self._not_canceled(error.message)

    def _not_canceled(self, reason: str) -> NoReturn:
        later = f" `hector task cancel {self.task_id}` stops it." if self.task_id and self._client.lasting else ""
        raise NotCanceled(f"The answer could not be canceled, and may go on: {reason}{later}") from None

    async def _learn(self) -> None:
        """Which task the message became: sent again with its key, it names the one that it made before."""
        async with self._connect() as source:
            self._named(source)

    async def _connection(self) -> AsyncGenerator[StreamEvent, None]:
        sent, self._sent = self._sent, True
        try:
            async with self._connect() as source:
                if source.response.status_code == 204:
                    self._over = True
                    return
                self._named(source)
                async for frame in source.aiter_sse():
                    data = json.loads(frame.data)
                    self.task_id = data["task_id"]
                    self._last = int(frame.id)
                    yield StreamEvent(self._last, data)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            self._sent = sent
            raise

    def _named(self, source: EventSource) -> None:
        if named := _STREAM_OF.search(source.response.headers.get("content-location", "")):
            self.task_id = named[1]

    def _connect(self) -> AbstractAsyncContextManager[EventSource]:
        if self.task_id is None and self._opening is not None:
            key = {"Idempotency-Key": self._key}
            path = ("sessions", self._opening.session_id, "tasks", "stream")
            return self._client.stream("POST", *path, json=self._opening.body, headers=key)
        cursor = {"Last-Event-ID": str(self._last)}
        return self._client.stream("GET", "tasks", self.task_id or "", "stream", headers=cursor)
