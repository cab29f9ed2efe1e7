"""`hector serve`: the whole API on one socket."""

from __future__ import annotations

import asyncio
import socket

import uvicorn

from hector.errors import ConfigError
from hector.services import Services
from hector.web.server import whole_app

SHUTDOWN_SECONDS = 3
"""How long running turns may go on after Ctrl-C; then they fail, and their streams end by saying so."""


def serve_http(services: Services, host: str, port: int) -> None:
    """Serve until a signal says stop. Raises ConfigError if the address cannot be had."""
    listening = _listen(host, port)
    address = f"http://{host}:{listening.getsockname()[1]}"
    agents, backend = ", ".join(services.agents), services.settings.session_store.backend
    print(f"Serving {agents} at {address} (docs at /docs, sessions in the {backend} store)", flush=True)
    config = uvicorn.Config(whole_app(services), log_level="warning", timeout_graceful_shutdown=SHUTDOWN_SECONDS)
    _Server(config, services).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Ends running turns before it waits for open connections, so that every stream gets its terminal event."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._turns = services.turns

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        stopping = asyncio.create_task(self._turns.stop(SHUTDOWN_SECONDS))
        while not stopping.done() and not self.force_exit:  # a second Ctrl-C waits for nothing
            await asyncio.wait({stopping}, timeout=0.1)
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}. Choose another with --port.") from None
    return listening
