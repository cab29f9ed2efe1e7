"""Real Redis and Valkey servers on free ports of this machine, each in its own folder, for as long as tests run."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from tests.engines import need

ROOT = Path(__file__).parents[1]
START_SECONDS = 20
SLOTS = 16384
NODES = 3


@dataclass
class Server:
    """A server that keeps what it holds in its folder, and can be killed and started again on the same port."""

    program: str
    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=lambda: free_port())
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        # What is acknowledged is in the file: who kills a server knows what it comes back with.
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--logfile", "log", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ends_at = time.monotonic() + START_SECONDS
        while True:
            try:
                self.client().ping()
            except redis.RedisError:
                if self.process.poll() is not None or time.monotonic() > ends_at:
                    log = (self.folder / "log").read_text()
                    raise RuntimeError(f"{self.program} did not start: {log[-1000:]}") from None
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """As a crash does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)

    def client(self) -> Any:
        """A look at the server, past the store."""
        retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        return redis.Redis(port=self.port, protocol=2, decode_responses=True, retry=retry)


@contextlib.contextmanager
def running(*options: str, program: str | None = None) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="hector-redis-") as folder:
        server = Server(program or redis_program(), Path(folder), options)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def running_cluster(*, program: str | None = None) -> Iterator[list[Server]]:
    """Three primaries that share the slots."""
    with contextlib.ExitStack() as stack:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        servers = [stack.enter_context(running(*options, program=program)) for _ in range(NODES)]
        first, *others = servers
        for index, server in enumerate(servers):
            slots = slots_of(index)
            server.client().execute_command("CLUSTER", "ADDSLOTSRANGE", slots[0], slots[-1])
            # As redis-cli does: two nodes of the same epoch quarrel about a slot that moves, and one deletes its keys.
            server.client().execute_command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for server in others:
            first.client().execute_command("CLUSTER", "MEET", "127.0.0.1", server.port)
        ends_at = time.monotonic() + START_SECONDS
        while not all(_knows_all(server) for server in servers):
            if time.monotonic() > ends_at:
                raise RuntimeError("the cluster did not come together")
            time.sleep(0.05)
        yield servers


def slots_of(node: int) -> range:
    return range(SLOTS * node // NODES, SLOTS * (node + 1) // NODES)


def home_of(slot: int) -> int:
    """The index of the node that has this slot at first."""
    return next(node for node in range(NODES) if slot in slots_of(node))


def redis_program() -> str:
    return need(shutil.which("redis-server"), "redis-server is not installed: apt install redis-server")


def valkey_program() -> str:
    found = ROOT / ".tools" / "valkey" / "valkey-server"
    program = shutil.which("valkey-server") or (str(found) if found.exists() else None)
    return need(program, "Valkey is not set up: make valkey")


def free_port() -> int:
    """In a cluster, the port 10,000 further on has to be free, too."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if port < 55_000:
                with contextlib.suppress(OSError):
                    bus.bind(("127.0.0.1", port + 10_000))
                    return port


def _knows_all(server: Server) -> bool:
    info = server.client().execute_command("CLUSTER INFO")
    return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(NODES))
