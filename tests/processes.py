"""Real `hector serve` processes for tests, each on a free loopback port."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith(("HECTOR_", "AWS_"))}
ENVIRONMENT["PYTHONPATH"] = str(Path(__file__).parent.parent / "layers" / "hector")


def free_port() -> int:
    """A port of the loopback for a server that takes a while to start.

    Below those that the system gives out by itself: no other test's server gets it meanwhile.
    """
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(12_000, 32_000)))
            return int(probe.getsockname()[1])


@dataclass(frozen=True)
class HectorServer:
    url: str
    greeting: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[-1])

    def kill(self) -> None:
        """As a crash does: no shutdown, no goodbye."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def hector_server(config: str | None = None, folder: Path | None = None, **environment: str) -> Iterator[HectorServer]:
    """`hector serve` in an empty folder (or `folder`), with this hector.yaml if one is given."""
    with tempfile.TemporaryDirectory() as empty:
        cwd = folder or Path(empty)
        if config is not None:
            (cwd / "hector.yaml").write_text(config)
        process = subprocess.Popen(
            [sys.executable, "-m", "hector", "serve", "--port", "0"],
            cwd=cwd,
            env=ENVIRONMENT | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        greeting = process.stdout.readline()
        match = re.search(r"http://[\d.]+:\d+", greeting)
        assert match, f"hector serve said: {greeting}{process.stdout.read()}"
        try:
            yield HectorServer(match[0], greeting, process)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            process.stdout.close()
