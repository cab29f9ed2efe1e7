"""Every backend, on its real engine: fresh places to keep sessions in, and stores that share one."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hector.config import store_at
from hector.stores.base import Clock, Store, system_clock
from hector.stores.memory import MemoryStore
from hector.wiring import open_store
from tests import dynamodb_local, postgres_server, redis_server

OUTLIVING = ("dynamodb", "redis", "sqlite", "postgresql")
"""Those whose sessions outlive a process."""
BACKENDS = ("memory", *OUTLIVING)
PAIRS = list(itertools.product(BACKENDS, BACKENDS))

FreshURL = Callable[[str], str]
FreshPlace = Callable[[str], "Place"]


class Place:
    """Somewhere to keep sessions. Every store that it makes shares what is stored, as several machines do."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._memory: MemoryStore | None = None

    def store(self, clock: Clock = system_clock) -> Store:
        if self.url == "memory://":
            self._memory = self._memory or MemoryStore(clock)
            return self._memory
        return open_store(store_at(self.url, "the URL"), clock)


@contextmanager
def running(backend: str, folder: Path) -> Iterator[str]:
    """The URL of an empty place on an engine of its own, for what is no test. Raises RuntimeError if it is missing."""
    try:
        match backend:
            case "memory":
                yield "memory://"
            case "dynamodb":
                with dynamodb_local.running() as endpoint:
                    yield f"dynamodb://hector?endpoint_url={endpoint}"
            case "redis":
                with redis_server.running() as redis:
                    yield redis.url
            case "sqlite":
                yield f"sqlite:///{folder / 'hector.db'}"
            case "postgresql":
                with postgres_server.running() as postgres:
                    yield postgres.url
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        raise RuntimeError(str(missing)) from None


def fresh_url(backend: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of an empty place, which `set_up` makes usable. Starts the engine if need be."""
    name = f"test-{secrets.token_hex(6)}"
    match backend:
        case "memory":
            return "memory://"
        case "dynamodb":
            return f"dynamodb://{name}?endpoint_url={request.getfixturevalue('dynamodb_local')}"
        case "redis":
            return f"{request.getfixturevalue('redis_url')}?prefix={name}"
        case "sqlite":
            return f"sqlite:///{folder / name}.db"
        case "postgresql":
            url: str = request.getfixturevalue("postgres_server").create_database(name)
            return url
    raise AssertionError(f"{backend} is no backend")
