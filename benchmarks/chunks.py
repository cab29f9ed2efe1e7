"""What each chunk of a streamed answer costs on its way from the application to Lambda's Runtime API.

The Runtime API is a socket of ours that reads as fast as it can. The time is that between an answer's first bytes and
its last, over thousands of chunks, so that start-up and the call itself weigh nothing.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.report import Row, alternating
from benchmarks.startup import DROPPED, PATIENCE_SECONDS, PROJECT

HERE = Path(__file__).parent
ENDING = b"0\r\n\r\n"
AT_MOST = 4.0


def measure(*, quick: bool = False) -> list[Row]:
    count, rounds = (5_000, 3) if quick else (20_000, 7)
    times = alternating({"ours": lambda: _ours(count), "peer": lambda: _peer(count)}, rounds)
    micros = {name: [1e6 * found / count for found in values] for name, values in times.items()}
    return [
        Row(
            "per streamed chunk, application to Runtime API",
            "µs",
            min(micros["ours"]),
            min(micros["peer"]),
            at_most=AT_MOST,
            note=f"best of {rounds}, {count:,} chunks; medians "
            f"{statistics.median(micros['ours']):.1f} and {statistics.median(micros['peer']):.1f} µs",
        )
    ]


def _ours(count: int) -> float:
    """Seconds, through the runtime client in a process of its own, as Lambda starts it."""
    folder = HERE / "lambda_" / "chunks"
    paths = [folder, PROJECT / "layers/response_streaming"]
    with _listening() as server:
        environment = {
            **{name: value for name, value in os.environ.items() if name not in DROPPED},
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "LAMBDA_TASK_ROOT": str(folder),
            "AWS_LAMBDA_FUNCTION_NAME": "benchmark",
            "AWS_LAMBDA_RUNTIME_API": _address(server),
        }
        command = [sys.executable, "-m", "response_streaming", "app.handler"]
        with _running(command, environment), closing(_accepted(server)) as asking:
            asking.recv(65_536)
            asking.sendall(_event(count))
            with closing(_accepted(server)) as answer:
                return _read(answer)


def _peer(count: int) -> float:
    with (
        _listening() as server,
        _running([sys.executable, str(HERE / "peers/bare_chunks.py"), _address(server), str(count)], os.environ),
        closing(_accepted(server)) as answer,
    ):
        return _read(answer)


def _read(connection: socket.socket) -> float:
    """Seconds from an answer's first bytes to its last."""
    tail, began = connection.recv(65_536), time.perf_counter()
    while not tail.endswith(ENDING):
        received = connection.recv(1_048_576)
        if not received:
            raise RuntimeError("the answer was cut off")
        tail = (tail + received)[-len(ENDING) :]
    took = time.perf_counter() - began
    connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    return took


def _event(count: int) -> bytes:
    event = {
        "resource": "/{proxy+}", "path": f"/{count}", "httpMethod": "GET", "headers": {}, "multiValueHeaders": {},
        "queryStringParameters": None, "multiValueQueryStringParameters": None, "body": None, "isBase64Encoded": False,
        "requestContext": {"identity": {"sourceIp": "192.0.2.1"}, "stage": "prod"},
    }  # fmt: skip
    body = json.dumps(event).encode()
    deadline = int((time.time() + 900) * 1000)
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        f"Lambda-Runtime-Aws-Request-Id: 1\r\nLambda-Runtime-Deadline-Ms: {deadline}\r\n"
        "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:benchmark\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@contextmanager
def _listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_SECONDS)
        yield server


def _accepted(server: socket.socket) -> socket.socket:
    connection, _ = server.accept()
    connection.settimeout(PATIENCE_SECONDS)
    return connection


def _address(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def _running(command: list[str], environment: Mapping[str, str]) -> Iterator[None]:
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()
