"""One execution environment: a function's process and the Runtime API that it talks to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hector.emulator.http import HttpConnection, Request, serve
from hector.emulator.invocation import TOO_LARGE, AnswerTooLarge, Invocation
from hector.emulator.model import REGION, Function
from hector.emulator.recursion import next_trace

KEPT_LINES = 1000
_PREFIX = "/2018-06-01/runtime"


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
        self.invocations = 0
        self._opt, self._runtime, self._on_idle = opt, runtime, on_idle
        self._echo = echo
        self._next: asyncio.Queue[Invocation] = asyncio.Queue()
        self._ready = asyncio.Event()
        self._released = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._process: asyncio.subprocess.Process
        self._started = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._started and self._process.returncode is None

    @property
    def gone(self) -> bool:
        return self._started and self._process.returncode is not None

    async def start(self, environment: Mapping[str, str]) -> None:
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
        self._started = True
        self._spawn(self._watch())
        await self._ready.wait()
        self.started_in = time.monotonic() - began

    def submit(self, invocation: Invocation) -> None:
        """Hands an invocation to the process, which is idle."""
        invocation.pid, invocation.cold = self.pid, self.invocations == 0
        self.invocations += 1
        invocation.began = time.monotonic()
        self.current, self._released = invocation, asyncio.Event()
        self._next.put_nowait(invocation)
        self._spawn(self._time_out(invocation, self._released))

    async def released(self) -> None:
        """Waits until the process asks for work again, or has ended."""
        if self.current is not None:
            await self._released.wait()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends the process a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def stop(self) -> None:
        """Ends the process and the Runtime API."""
        if self.alive:
            self.kill()
        if self._started:
            await self._process.wait()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _variables(self, port: int, environment: Mapping[str, str]) -> dict[str, str]:
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
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
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
        # Where the process has gone, _watch notices.
        await serve(HttpConnection(reader, writer), self._answer)

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
        if self.current is not None:
            self._report(self.current)
        self.current = None
        self._released.set()
        self._ready.set()
        self._on_idle(self)
        invocation = await self._next.get()
        headers = [
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
            ("Lambda-Runtime-Invocation-Id", invocation.invocation_id),
            ("Lambda-Runtime-Deadline-Ms", str(invocation.deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", self.function.arn),
            ("Lambda-Runtime-Trace-Id", next_trace(invocation.trace, self.function)),
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
        except AnswerTooLarge:
            await self._refuse_answer(connection, invocation)
            return
        invocation.trailers = connection.trailers
        invocation.end()
        await connection.respond(202)

    async def _refuse_answer(self, connection: HttpConnection, invocation: Invocation) -> None:
        """Fails an answer that is larger than Lambda takes. A stream's connection is closed, a whole answer refused."""
        streaming = invocation.mode == "streaming"
        name = "stream_size" if streaming else "response"
        limit = getattr(invocation.limits, name)
        self._say(invocation.limits.say(name, f"{self.function.name} answers with more"))
        message = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
        error = {"errorType": TOO_LARGE, "errorMessage": message}
        if streaming:
            invocation.trailers = {"lambda-runtime-function-error-type": TOO_LARGE}
            invocation.end(cut=True)
            raise ConnectionAbortedError(message)
        invocation.end(error=error)
        async for _ in connection.body():
            pass
        await connection.respond(413, [("Content-Type", "application/json")], json.dumps(error).encode())

    async def _watch(self) -> None:
        """Keeps the process's output, and fails its invocation when it exits."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._say(line.decode(errors="replace").rstrip("\n"))
        status = await self._process.wait()
        self._server.close()
        self._released.set()
        crash = {"errorType": "Runtime.ExitError", "errorMessage": f"Runtime exited with status {status}"}
        if not self._ready.is_set():
            self.init_error = self.init_error or crash
            self._ready.set()
        if self.current is not None:
            self.current.end(error=None if self.current.mode else crash, cut=True)

    def _say(self, line: str) -> None:
        self.log.append(line)
        del self.log[:-KEPT_LINES]
        if self._echo:
            print(f"[{self.function.name}] {line}", file=sys.stderr, flush=True)

    async def _time_out(self, invocation: Invocation, released: asyncio.Event) -> None:
        """Ends the process if it has not asked for more work when the function's time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.function.timeout):
                await released.wait()
            return
        message = f"{invocation.request_id} Task timed out after {self.function.timeout:.2f} seconds"
        self._say(message)
        invocation.end(error={"errorType": "Sandbox.Timedout", "errorMessage": message}, cut=True)
        self.kill()

    def _report(self, invocation: Invocation) -> None:
        """The line that Lambda writes at the end of an invocation."""
        took = (time.monotonic() - invocation.began) * 1000
        start = f"  Init Duration: {self.started_in * 1000:.0f} ms" if invocation.cold else ""
        self._say(f"REPORT RequestId: {invocation.request_id}  Duration: {took:.0f} ms{start}")

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
