"""Start-up: from starting a function's process until it asks Lambda's Runtime API for its first event.

No network: the Runtime API is a socket of ours, and making a DynamoDB client sends nothing.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.report import Row, alternating

HERE = Path(__file__).parent
PROJECT = HERE.parent
PATIENCE_SECONDS = 30

# .pyc files are written by the round that is thrown away, so that both sides start from them, as on Lambda.
DROPPED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "HECTOR_CONFIG", "HECTOR_STORE")
ENVIRONMENT = {
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_LAMBDA_FUNCTION_NAME": "benchmark",
    "HECTOR_STORE": "dynamodb://sessions",
    "TABLE_NAME": "sessions",
    "OIDC_ISSUER": "https://issuer.example",
    "OIDC_AUDIENCE": "benchmark",
}


@dataclass(frozen=True, slots=True)
class Function:
    """`runtime` is the module that runs it: awslambdaric as on Lambda, or our streaming runtime client."""

    name: str
    folder: Path
    runtime: str
    handler: str
    at_most: float | None = None
    config: str = "hector.yaml"

    def start(self) -> float:
        """Milliseconds from starting the process until it is ready."""
        layers = [PROJECT / "layers" / name for name in ("hector", "response_streaming", "authorizer")]
        paths = [self.folder, *layers, HERE / "lambda_"]
        environment = {
            **{name: value for name, value in os.environ.items() if name not in DROPPED},
            **ENVIRONMENT,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "LAMBDA_TASK_ROOT": str(self.folder),
            "HECTOR_CONFIG": str(HERE / "lambda_" / self.config),
        }
        return _until_ready([sys.executable, "-m", self.runtime, self.handler], environment)


PEER = Function("FastAPI + Mangum + boto3 + Powertools", HERE / "peers", "awslambdaric", "plain_handler.handler")
STREAM = PROJECT / "functions/stream_response"
OURS = (
    Function("stream_response", STREAM, "response_streaming", "ready.handler", 0.6),
    Function("post_task", PROJECT / "functions/post_task", "response_streaming", "ready.handler", 1.0),
    Function("create_session", PROJECT / "functions/create_session", "awslambdaric", "ready.handler", 1.0),
    Function("handle_event", PROJECT / "functions/handle_event", "awslambdaric", "ready.handler", 1.0),
    Function("table_stream", PROJECT / "functions/table_stream", "awslambdaric", "ready.handler", 1.0),
    Function("authorize", PROJECT / "functions/authorize", "awslambdaric", "ready.handler", 1.0),
    Function("stream_response with an openai model", STREAM, "response_streaming", "ready.handler",
             config="hector-openai.yaml"),
)  # fmt: skip


def measure(*, quick: bool = False) -> list[Row]:
    functions = (PEER, *OURS)
    times = alternating({function.name: partial(function.start) for function in functions}, 3 if quick else 12)
    peer = min(times[PEER.name])
    return [
        Row(
            f"start-up of {function.name}",
            "ms",
            min(times[function.name]),
            peer,
            at_most=function.at_most,
            note=f"best of {len(times[function.name])}; medians "
            f"{statistics.median(times[function.name]):.0f} and {statistics.median(times[PEER.name]):.0f} ms",
        )
        for function in OURS
    ]


def _until_ready(command: list[str], environment: Mapping[str, str]) -> float:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_SECONDS)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        began = time.perf_counter()
        with subprocess.Popen(
            command, env={**environment, "AWS_LAMBDA_RUNTIME_API": address}, stdout=subprocess.DEVNULL
        ) as process:
            try:
                connection, _ = server.accept()
                with connection:
                    asked = connection.recv(65_536)
                    took = (time.perf_counter() - began) * 1000
                    process.kill()
                    if not asked.startswith(b"GET ") or b"/invocation/next" not in asked.split(b"\r\n", 1)[0]:
                        raise RuntimeError(f"{' '.join(command)} did not start: {asked.decode(errors='replace')}")
            finally:
                process.kill()
    return took
