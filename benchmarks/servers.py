"""Servers in processes of their own, on a free port of the loopback, one at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

PROJECT = Path(__file__).parent.parent
PATIENCE_SECONDS = 30
AGENTS = ("flood", "stamp", "silence", "ticks", "probe", "held", "release")
CONFIG = {
    "llms": {name: {"type": "python", "target": f"benchmarks.agents:{name}"} for name in AGENTS},
    "agents": {name: {"llm": name} for name in AGENTS},
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def hector(port: int, folder: Path) -> list[str]:
    """The command that serves the agents of `benchmarks.agents`."""
    config = folder / "hector.yaml"
    config.write_text(json.dumps(CONFIG))  # which is YAML, too
    return [sys.executable, "-m", "hector", "serve", "--config", str(config), "--port", str(port)]


def uvicorn(app: str, port: int, python: str = sys.executable) -> list[str]:
    return [python, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]


@contextlib.contextmanager
def serving(command: list[str], port: int, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Raises RuntimeError if the server ends, or does not listen in time.

    What is measured is the package of this checkout, with no settings but those of `environment`.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith("HECTOR_")}
    variables |= {"PYTHONPATH": str(PROJECT / "layers/hector"), **(environment or {})}
    process = subprocess.Popen(command, cwd=PROJECT, env=variables, stdout=subprocess.DEVNULL)
    try:
        _wait_until_listening(process, port)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    gives_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < gives_up_at:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen")
