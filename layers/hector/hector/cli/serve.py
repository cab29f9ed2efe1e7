"""`hector serve`: the whole API on one socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket

import uvicorn

from hector.cli.absent import no_file, who_answers
from hector.errors import ConfigError
from hector.services import Services
from hector.web.server import whole_app

SHUTDOWN_SECONDS = 3
"""How long running turns may go on after Ctrl-C; then they fail, and their streams end by saying so."""
OPEN_FILES = 20_000
"""What is asked of the system: an open stream is a file, and a second one where its model is called over HTTP."""


def serve_http(services: Services, host: str, port: int, source: str | None) -> None:
    """Serve until a signal says stop. Raises ConfigError if the address cannot be had.

    `source`: the configuration that the services were read from, as `hector.config.load.source` names it.
    """
    listening = listen(host, port)
    address = f"http://{host}:{listening.getsockname()[1]}"
    agents, backend = ", ".join(services.agents), services.settings.session_store.backend
    told = f"Configured by {source}." if source else f"{no_file()} {who_answers()}"
    print(f"Serving {agents} at {address} (docs at /docs, sessions in the {backend} store)", told, sep="\n", flush=True)
    allow_open_files()
    config = uvicorn.Config(whole_app(services), log_level="warning", timeout_graceful_shutdown=SHUTDOWN_SECONDS)
    server = _Server(config, services)
    # What is here by now stays. Left to the garbage collector, it would be looked through while all streams wait.
    gc.collect()
    gc.freeze()
    server.run(sockets=[listening])


def allow_open_files() -> None:
    """Many systems start a process with 256 or 1,024 open files, and let it have more if it asks."""
    try:
        import resource
    except ImportError:  # on Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = OPEN_FILES if hard == unlimited else min(OPEN_FILES, hard)
    if soft != unlimited and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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


def listen(host: str, port: int) -> socket.socket:
    """A socket that accepts. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sends small pieces at once (TCP_NODELAY) only where it is.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}. Choose another with --port.") from None
    return listening
