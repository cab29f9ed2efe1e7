"""What the emulator runs: functions, the routes and event sources that lead to them, and what they use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REGION = "us-east-1"
ACCOUNT = "000000000000"
STAGE = "local"
SQS = f"https://sqs.{REGION}.amazonaws.com"  # where a template's queues are until the emulator has an address


def arn(service: str, name: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"


@dataclass(frozen=True)
class Function:
    """One Lambda function. ``code`` and ``layers`` are folders; ``timeout`` is in seconds, ``memory`` in MB.

    ``concurrency`` is the number of processes that it may have at a time; ``event_retries``, how often an event that
    nobody waits for is tried again: None is as often as Lambda does it by itself. ``recursive``: it may be invoked by
    messages that it sends itself, as often as it likes.
    """

    name: str
    code: Path
    handler: str
    environment: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[Path, ...] = ()
    timeout: float = 900.0
    memory: int = 512
    runtime: str | None = None
    concurrency: int | None = None
    event_retries: int | None = None
    recursive: bool = False

    @property
    def arn(self) -> str:
        return arn("lambda", f"function:{self.name}")


@dataclass(frozen=True)
class Route:
    """One method of a REST API. ``resource`` is its path with ``{parameters}``; ``timeout`` is in seconds.

    ``binary`` are the API's binary media types. Without them API Gateway takes every body for text, both ways: a base64
    body of a buffered answer then reaches the client as base64. ``mock`` are the headers of a route that the gateway
    answers by itself, as it does for CORS preflights; ``function`` is empty then.
    """

    method: str
    resource: str
    function: str
    streams: bool = False
    timeout: float = 29.0
    binary: tuple[str, ...] = ()
    mock: Mapping[str, str] | None = None

    def is_binary(self, media_type: str | None) -> bool:
        """Whether a body of this type (or an answer to this Accept header) is binary to the API."""
        wanted = (media_type or "").split(",")[0].split(";")[0].strip()
        return "*/*" in self.binary or wanted in self.binary

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The path parameters if this route takes the request, else None. ``ANY`` takes every method."""
        if self.method not in {"ANY", method}:
            return None
        found = self._pattern.fullmatch(path)
        if found is None:
            return None
        return {name.removesuffix("_greedy"): value for name, value in found.groupdict().items()}

    @property
    def _pattern(self) -> re.Pattern[str]:
        parts = re.split(r"(\{\w+\+?\})", self.resource)
        return re.compile("".join(_part_pattern(part) for part in parts))


@dataclass(frozen=True)
class GatewayResponse:
    """How the gateway words an error of its own: None is what API Gateway would say without a template."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    template: str | None = None
    content_type: str = "application/json"


@dataclass(frozen=True)
class Api:
    """The REST API. ``responses`` go by type, such as DEFAULT_4XX."""

    routes: tuple[Route, ...] = ()
    responses: Mapping[str, GatewayResponse] = field(default_factory=dict)
    edge: bool = False


@dataclass(frozen=True)
class QueueSettings:
    """Times are in seconds; ``dead_letters`` is the queue that takes what was received ``max_receives`` times."""

    name: str
    visibility: float = 30.0
    delay: float = 0.0
    wait: float = 0.0
    dead_letters: str | None = None
    max_receives: int = 0


@dataclass(frozen=True)
class QueueSource:
    """A queue whose messages a function gets, ``batch`` at a time, ``concurrency`` batches side by side."""

    queue: str
    function: str
    batch: int = 10
    concurrency: int = 5
    item_failures: bool = False
    filters: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class TableSource:
    """A table whose changes a function gets. ``retries`` None is for ever; ``failures`` is a queue's name."""

    table: str
    function: str
    batch: int = 100
    from_start: bool = False
    filters: tuple[Mapping[str, Any], ...] = ()
    retries: int | None = None
    bisect: bool = False
    item_failures: bool = False
    failures: str | None = None


@dataclass(frozen=True)
class Schedule:
    """A function that is invoked every ``seconds``; ``payload`` None is EventBridge's own event."""

    name: str
    function: str
    seconds: float
    payload: str | None = None


@dataclass(frozen=True)
class Stack:
    """All of a template that is run. ``notes`` say, a line each, what of it is not."""

    functions: tuple[Function, ...] = ()
    api: Api = Api()
    queues: tuple[QueueSettings, ...] = ()
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # name -> CreateTable's parameters
    sources: tuple[QueueSource | TableSource, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    notes: tuple[str, ...] = ()


def _part_pattern(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    name = part.strip("{}+")
    return f"(?P<{name}_greedy>.+)" if part.endswith("+}") else f"(?P<{name}>[^/]+)"
