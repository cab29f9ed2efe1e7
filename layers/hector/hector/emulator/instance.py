"""One execution environment: a function's process and the Runtime API that it talks to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hector.emulator.http import HttpConnection, Request
from hector.emulator.model import Function

_PREFIX = "/2018-06-01/runtime"
_ARN = "arn:aws:lambda:us-east-1:000000000000:function:"


@dataclass
class Invocation:
    """One event and what became of it.

    ``mode`` is "streaming" or "buffered" once an answer has begun. ``error`` is what the runtime (or Lambda, for a
    timeout or a crash) reported before that. ``trailers`` holds the two error trailers of a stream that failed later.
    ``cut`` says that the answer stopped without an end. ``arrivals`` are monotonic times of the answer's pieces.
    """

    function: str
    event: bytes
    deadline_ms: int
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    invocation_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    pid: int = 0
    mode: str | None = None
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    trailers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    content: bytearray = field(default_factory=bytearray)
    arrivals: list[float] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _pieces: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(16))

    async def pieces(self) -> AsyncIterator[bytes]:
        """The answer's bytes as they arrive. One reader only; nobody reading means backpressure for the function."""
        while (piece := await self._pieces.get()) is not None:
            self._room.release()
            yield piece

    async def read(self) -> bytes:
        """The whole answer."""
        async for _ in self.pieces():
            pass
        return bytes(self.content)

    async def add(self, piece: bytes) -> None:
        self.arrivals.append(time.monotonic())
        self.content += piece
        await self._room.acquire()
        self._pieces.put_nowait(piece)

    def end(self, *, error: dict[str, Any] | None = None, cut: bool = False) -> None:
        """Ends the invocation, once."""
        if not self.ended.is_set():
            self.error, self.cut = error, cut
            self.ended.set()
            self.begun.set()
            self._pieces.put_nowait(None)


class Instance:
    """A process of a function, started on ``start`` and serving one invocation at a time."""

    def __init__(
        self,
        function: Function,
        opt: Path,
        runtime: Path,
        *,
        on_idle: Callable[[Instance], None],
        echo: bool = False,
    ) -> None:
        self.function = function
        self.log: list[str] = []
        self.init_error: dict[str, Any] | None = None
        self.started_in = 0.0  # seconds from process start to the first /next
        self.current: Invocation | None = None
        self._opt, self._runtime, self._on_idle = opt, runtime, on_idle
        self._echo = echo
        self._next: asyncio.Queue[Invocation] = asyncio.Queue()
        self._ready = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def start(self, environment: dict[str, str]) -> None:
        """Starts the process and waits until it asks for work. ``init_error`` is set if it never will."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        python = str(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"))
        # -S: the interpreter's own site-packages stay out, so that a layer that lacks a package fails here, too.
        command = [python, "-S", str(self._runtime / "bootstrap.py")]
        variables = self._variables(port, environment)
        if wrapper := variables.get("AWS_LAMBDA_EXEC_WRAPPER"):
            command.insert(0, wrapper)
        began = time.monotonic()
        self._process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.function.code,
            env=variables,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1 << 20,
        )
        self._spawn(self._watch())
        await self._ready.wait()
        self.started_in = time.monotonic() - began

    def submit(self, invocation: Invocation) -> None:
        """Hands an invocation to the process, which is idle."""
        invocation.pid = self.pid
        self.current = invocation
        self._next.put_nowait(invocation)
        self._spawn(self._time_out(invocation))

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends the process a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def stop(self) -> None:
        """Ends the process and the Runtime API."""
        if self.alive:
            self.kill()
        await self._process.wait()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _variables(self, port: int, environment: dict[str, str]) -> dict[str, str]:
        function = self.function
        variables = {
            "PATH": f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PYTHONDONTWRITEBYTECODE": "1",  # /opt and /var/task are read-only
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "emulator",
            "AWS_SECRET_ACCESS_KEY": "emulator",
            "LAMBDA_TASK_ROOT": str(function.code),
            "LAMBDA_RUNTIME_DIR": str(self._runtime),
            "EMULATOR_OPT": str(self._opt),
            "_HANDLER": function.handler,
            **function.environment,
            **environment,
        }
        return {name: self._from_opt(value) for name, value in variables.items()}

    def _from_opt(self, value: str) -> str:
        return f"{self._opt}{value.removeprefix('/opt')}" if value.startswith("/opt/") else value

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        connection = HttpConnection(reader, writer)
        try:
            while (request := await connection.next_request()) is not None:
                await self._answer(request, connection)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the process has gone, which _watch notices, or the emulator stops
        finally:
            connection.close()

    async def _answer(self, request: Request, connection: HttpConnection) -> None:
        """The Runtime API ("Using the Lambda runtime API for custom runtimes")."""
        path = request.target.removeprefix(_PREFIX)
        if path == "/invocation/next":
            async for _ in connection.body():
                pass
            await self._give_next(connection)
        elif path == "/init/error":
            self.init_error = json.loads(b"".join([piece async for piece in connection.body()]))
            await connection.respond(202)
        elif self.current is None or path.split("/")[2] != self.current.request_id:
            await connection.respond(403, body=b'{"errorType":"InvalidStateTransition"}')
        elif path.endswith("/response"):
            await self._take_response(request, connection, self.current)
        elif path.endswith("/error"):
            error = json.loads(b"".join([piece async for piece in connection.body()]))
            self.current.headers = {name.lower(): value for name, value in request.headers}
            self.current.end(error=error)
            await connection.respond(202)
        else:
            await connection.respond(404)

    async def _give_next(self, connection: HttpConnection) -> None:
        self.current = None
        self._ready.set()
        self._on_idle(self)
        invocation = await self._next.get()
        headers = [
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
            ("Lambda-Runtime-Invocation-Id", invocation.invocation_id),
            ("Lambda-Runtime-Deadline-Ms", str(invocation.deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", _ARN + self.function.name),
            ("Lambda-Runtime-Trace-Id", f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0"),
        ]
        await connection.respond(200, headers, invocation.event)

    async def _take_response(self, request: Request, connection: HttpConnection, invocation: Invocation) -> None:
        streaming = request.header("Lambda-Runtime-Function-Response-Mode") == "streaming"
        invocation.mode = "streaming" if streaming else "buffered"
        invocation.content_type = request.header("Content-Type") or ""
        invocation.headers = {name.lower(): value for name, value in request.headers}
        invocation.begun.set()
        try:
            async for piece in connection.body():
                await invocation.add(piece)
        except ConnectionError:
            invocation.end(cut=True)
            raise
        invocation.trailers = connection.trailers
        invocation.end()
        await connection.respond(202)

    async def _watch(self) -> None:
        """Keeps the process's output, and fails its invocation when it exits."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.log.append(line.decode(errors="replace").rstrip("\n"))
            if self._echo:
                print(f"[{self.function.name}] {self.log[-1]}", file=sys.stderr, flush=True)
        status = await self._process.wait()
        crash = {"errorType": "Runtime.ExitError", "errorMessage": f"Runtime exited with status {status}"}
        if not self._ready.is_set():
            self.init_error = self.init_error or crash
            self._ready.set()
        if self.current is not None:
            self.current.end(error=None if self.current.mode else crash, cut=True)

    async def _time_out(self, invocation: Invocation) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.function.timeout):
                await invocation.ended.wait()
            return
        message = f"{invocation.request_id} Task timed out after {self.function.timeout:.2f} seconds"
        invocation.end(error={"errorType": "Sandbox.Timedout", "errorMessage": message}, cut=True)
        self.kill()

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
