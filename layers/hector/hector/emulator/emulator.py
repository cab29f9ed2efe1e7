"""The whole thing: functions with their processes, the front door, AWS's own endpoints, and event sources."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hector.emulator.gateway import Gateway
from hector.emulator.http import HttpConnection, Request, serve
from hector.emulator.instance import Instance
from hector.emulator.invocation import Invocation
from hector.emulator.limits import Limits
from hector.emulator.model import SQS, Api, Function, QueueSource, Route, Stack
from hector.emulator.pool import Pool
from hector.emulator.queues import make_queues
from hector.emulator.service import LambdaService
from hector.emulator.sources import deliver_queue, deliver_schedule
from hector.emulator.sqs import SqsService
from hector.emulator.table_streams import TableStream
from hector.emulator.tables import client, make_tables
from hector.errors import ConfigError


class Emulator:
    """An async context manager; ``url`` is the API, and the endpoint of boto3's ``lambda`` and ``sqs`` clients.

    ``dynamodb`` is DynamoDB Local's address: the stack's tables are made there, and the functions are led to it.
    ``environment`` is added to every function's own. ``port`` 0 takes a free one. ``warm`` processes of every function
    are started before the API answers; with ``cold``, each invocation gets a new one. Schedules and retries of
    events run ``speed`` times as fast as on AWS. ``echo`` prints the functions' output to stderr.
    """

    def __init__(
        self,
        functions: Iterable[Function] = (),
        routes: Iterable[Route] = (),
        *,
        stack: Stack | None = None,
        environment: Mapping[str, str] | None = None,
        dynamodb: str | None = None,
        limits: Limits | None = None,
        port: int = 0,
        warm: int = 0,
        cold: bool = False,
        speed: float = 1.0,
        echo: bool = False,
    ) -> None:
        self.stack = stack or Stack(functions=tuple(functions), api=Api(tuple(routes)))
        self.limits = limits or Limits()
        self.queues = make_queues(self.stack.queues)
        self._given = dict(environment or {})
        self._environment: dict[str, str] = {}
        self._dynamodb, self._port, self._warm, self._speed = dynamodb, port, warm, speed
        self.pool = Pool(self.stack.functions, limits=self.limits, environment=self._environment, cold=cold, echo=echo)
        self._gateway = Gateway(self.stack.api, self.invoke, self.limits)
        self._service = LambdaService(self.pool, self.limits, speed=speed)
        self._sqs = SqsService(self.queues, self.limits, lambda: self.url)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ready = asyncio.Event()

    @classmethod
    def from_template(
        cls,
        template: str | Path,
        *,
        parameters: Mapping[str, str] | None = None,
        resources: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        **options: Any,
    ) -> Emulator:
        """What a built SAM template describes; ``options`` are the constructor's. Raises ConfigError.

        ``parameters`` are the stack's; ``resources`` gives physical names (``{"Table": "sessions"}``), else a resource
        is called by its logical id.
        """
        from hector.emulator.template import load

        stack = load(Path(template), parameters, resources, limits)
        return cls(stack=stack, limits=limits, **options)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def invocations(self) -> list[Invocation]:
        """What was invoked, oldest first."""
        return self.pool.invocations

    def instances(self, function: str) -> list[Instance]:
        """The living processes of a function."""
        return [one for one in self.pool.instances if one.function.name == function and one.alive]

    async def invoke(self, function: str, event: Mapping[str, Any] | bytes) -> Invocation:
        """Invokes a function; returns when its answer has begun or it has failed."""
        return await self.pool.invoke(function, event)

    async def idle(self) -> None:
        """Waits until every living process asks for work, so that the next invocation needs no new one."""
        await self.pool.idle()

    async def __aenter__(self) -> Emulator:
        # A process keeps the environment that it starts with: nothing may start one before all of that is known, of
        # which the port is a part.
        try:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, start_serving=False)
        except OSError as error:
            raise self._cannot_listen(error) from None
        self._port = self._server.sockets[0].getsockname()[1]
        self._environment |= {"AWS_ENDPOINT_URL_SQS": self.url, "AWS_ENDPOINT_URL_LAMBDA": self.url}
        for name, function in self.pool.functions.items():
            # A client may take a queue's address from its URL.
            local = {key: value.replace(SQS, self.url) for key, value in function.environment.items()}
            self.pool.functions[name] = replace(function, environment=local)
        try:
            self.pool.open()
            await self._open_tables()
            self._environment |= self._given
            await self._start_serving()
            await self.pool.warm(self._warm)
            await self._open_sources()
        except BaseException:
            await self.__aexit__()
            raise
        self._ready.set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._service.close()
        await self.pool.close()

    async def _start_serving(self) -> None:
        try:
            await self._server.start_serving()
        except OSError as error:
            raise self._cannot_listen(error) from None

    def _cannot_listen(self, error: OSError) -> ConfigError:
        return ConfigError(f"cannot listen on 127.0.0.1:{self._port}: {error.strerror}. Choose another with --port.")

    async def _open_tables(self) -> None:
        if self._dynamodb is not None:
            await asyncio.to_thread(make_tables, self._dynamodb, self.stack.tables)
            self._environment["AWS_ENDPOINT_URL_DYNAMODB"] = self._dynamodb

    async def _open_sources(self) -> None:
        for source in self.stack.sources:
            if isinstance(source, QueueSource):
                work = deliver_queue(source, self.queues[source.queue], self.pool, self.limits)
                self._spawn(work, f"queue {source.queue}")
            elif self._dynamodb is not None:
                failures = self.queues.get(source.failures or "")
                stream = TableStream(source, client(self._dynamodb, "dynamodbstreams"), self.pool, failures)
                await stream.find()
                self._spawn(stream.deliver(), f"stream of {source.table}")
        for schedule in self.stack.schedules:
            self._spawn(deliver_schedule(schedule, self._service, self._speed), f"schedule {schedule.name}")

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        task = asyncio.create_task(work, name=what)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            print(f"{task.get_name()}: nothing is delivered any more: {error!r}", file=sys.stderr)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await serve(HttpConnection(reader, writer), self._answer)

    async def _answer(self, request: Request, connection: HttpConnection) -> None:
        for service in (self._service, self._sqs):
            if service.takes(request):
                body = b"".join([piece async for piece in connection.body()])
                await service.answer(request, body, connection)
                return
        await self._ready.wait()  # the processes that are being warmed may call AWS before; clients wait
        await self._gateway.answer(request, connection)
