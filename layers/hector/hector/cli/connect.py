"""Where a command finds its agents: on a server, or in this process under hector.yaml. Both speak the HTTP API."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from hector.cli.client import Client
from hector.errors import ConfigError

SERVER_VARIABLE = "HECTOR_SERVER"
TOKEN_VARIABLE = "HECTOR_TOKEN"
"""A bearer token for the server. No option: what a command line holds, every user of the machine can read."""
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
"""In seconds; servers break a long silence with heartbeats every 10 s."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the options say. A `config` that is named outweighs HECTOR_SERVER."""

    config: str | None = None
    server: str | None = None

    def server_address(self) -> str | None:
        if self.config is not None and self.server is not None:
            raise ConfigError("--server and --config exclude each other: a server has its own configuration.")
        address = self.server or (None if self.config else os.environ.get(SERVER_VARIABLE))
        if not address:
            return None
        name = "--server" if self.server else SERVER_VARIABLE
        try:
            url = httpx.URL(address)
            url.raw_host.decode("ascii").encode("idna")  # as the look-up of the name will do it
        except (httpx.InvalidURL, UnicodeError):
            url = httpx.URL()
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError(f"{name}: {address!r} is not an address such as http://localhost:8080.")
        if url.port is not None and not 0 < url.port < 65_536:
            raise ConfigError(f"{name}: {address!r} has the port {url.port}: a port is a number from 1 to 65535.")
        return address.rstrip("/")

    @staticmethod
    def headers() -> dict[str, str]:
        """What goes to a server with every request. Raises ConfigError."""
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not (token.isascii() and token.isprintable()):
            raise ConfigError(f"{TOKEN_VARIABLE} has characters that no token can have.")
        return {"Authorization": f"Bearer {token}"} if token else {}


@asynccontextmanager
async def connect(place: Place, *, lasting: str | None = None) -> AsyncIterator[Client]:
    """A client until the block ends, which ends the turns of this process.

    `lasting` names what makes sense only with sessions that outlive a process. Raises ConfigError.
    """
    address = place.server_address()
    if address is not None:
        async with httpx.AsyncClient(base_url=address, timeout=_TIMEOUT, headers=place.headers()) as http:
            yield Client(http, f"The server at {address}", lasting=True)
        return
    from hector.cli.absent import warn_of_misnamed
    from hector.cli.inprocess import InProcess
    from hector.cli.output import others, reserve
    from hector.web.api import api_app
    from hector.wiring import load

    warn_of_misnamed(place.config)
    reserve()
    with others():
        services = load(place.config)
    in_memory = services.settings.session_store.backend == "memory"
    try:
        if in_memory and lasting is not None:
            raise ConfigError(
                f"{lasting} needs sessions that outlive a process, and here they are in its memory. Name a running"
                f" server with --server or {SERVER_VARIABLE}, or a shared session_store in hector.yaml."
            )
        logging.getLogger("hector.web").addHandler(logging.NullHandler())  # the command itself says what went wrong
        api = api_app(services)

        async def app(*call: Any) -> None:
            with others():
                await api(*call)

        transport = InProcess(app)
        async with httpx.AsyncClient(base_url="http://in-process", timeout=None, transport=transport) as http:
            yield Client(http, "This process", lasting=not in_memory)
    finally:
        await services.aclose()
