"""The processes of every function: who is idle, who has to be started, and what is invoked on them."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hector.emulator.instance import Instance
from hector.emulator.invocation import Invocation
from hector.emulator.limits import Limits
from hector.emulator.model import Function
from hector.emulator.runtime_folder import make_runtime_folder, merge_layers

KEPT = 1000  # invocations, and processes that have ended, are remembered, so that a long run does not fill the memory


class NoSuchFunction(LookupError):
    """The template has no function of this name."""


class Throttled(Exception):
    """The function has as many processes as it may, and all are at work."""


class RequestTooLarge(Exception):
    """The event is larger than Lambda takes."""


class Pool:
    """``invocations`` is what was invoked, oldest first; ``environment`` is added to every function's own.

    ``cold``: every invocation gets a new process, which ends afterwards. ``echo`` prints the functions' output to
    stderr; it is always kept in ``Instance.log``.
    """

    def __init__(
        self,
        functions: Iterable[Function],
        *,
        limits: Limits,
        environment: dict[str, str],
        cold: bool = False,
        echo: bool = False,
    ) -> None:
        self.functions = {function.name: function for function in functions}
        self.invocations: list[Invocation] = []
        self.instances: list[Instance] = []
        self._limits, self._environment, self._cold, self._echo = limits, environment, cold, echo
        self._idle: dict[str, list[Instance]] = {name: [] for name in self.functions}
        self._opts: dict[tuple[Path, ...], Path] = {}
        self._tasks: set[asyncio.Future[None]] = set()

    def open(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="emulator-")
        self._runtime = make_runtime_folder(Path(self._folder.name, "runtime"))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(instance.stop() for instance in self.instances))
        self._folder.cleanup()

    async def warm(self, count: int) -> None:
        """Starts so many processes of every function, as provisioned concurrency does."""
        starting = [self._start(function) for function in self.functions.values() for _ in range(count)]
        for instance in await asyncio.gather(*starting):
            if instance not in self._idle[instance.function.name] and instance.alive:
                self._became_idle(instance)

    async def invoke(self, function: str, event: Mapping[str, Any] | bytes, *, trace: str | None = None) -> Invocation:
        """Invokes a function; returns when its answer has begun or it has failed. ``trace`` is what led to it.

        Raises NoSuchFunction, RequestTooLarge, Throttled.
        """
        if function not in self.functions:
            raise NoSuchFunction(function)
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        if len(body) > self._limits.request:
            raise RequestTooLarge(self._limits.say("request", f"an event of {len(body)} bytes for {function}"))
        invocation = Invocation(function, body, self._limits, trace)
        running = asyncio.ensure_future(self._run(invocation))
        self._tasks.add(running)
        running.add_done_callback(self._tasks.discard)
        try:
            await asyncio.shield(running)
            await invocation.begun.wait()
        except asyncio.CancelledError:
            invocation.leave()  # whoever asked waits no longer; the function runs all the same
            raise
        return invocation

    async def _run(self, invocation: Invocation) -> None:
        instance = await self._take_instance(invocation.function)
        invocation.deadline_ms = int((time.time() + instance.function.timeout) * 1000)
        self.invocations.append(invocation)
        del self.invocations[:-KEPT]
        if instance.init_error is not None or not instance.alive:
            invocation.end(error=instance.init_error, cut=True)
        else:
            instance.submit(invocation)

    async def idle(self) -> None:
        """Waits until every living process asks for work, so that the next invocation needs no new one."""
        await asyncio.gather(*(instance.released() for instance in self.instances))

    async def _take_instance(self, name: str) -> Instance:
        """An idle instance, or a new one, as Lambda does it."""
        while self._idle[name]:
            if (instance := self._idle[name].pop()).alive:
                return instance
        function = self.functions[name]
        busy = sum(one.function is function and not one.gone for one in self.instances)
        if function.concurrency is not None and busy >= function.concurrency:
            raise Throttled(f"{name} may have {function.concurrency} processes at a time")
        instance = await self._start(function)
        if instance in self._idle[name]:
            self._idle[name].remove(instance)
        return instance

    async def _start(self, function: Function) -> Instance:
        opt = self._opt(function.layers)
        for ended in [one for one in self.instances if one.gone][:-KEPT]:
            self.instances.remove(ended)
        instance = Instance(function, opt, self._runtime, on_idle=self._became_idle, echo=self._echo)
        self.instances.append(instance)
        await instance.start(self._environment)
        return instance

    def _became_idle(self, instance: Instance) -> None:
        if self._cold and instance.invocations:
            instance.kill()
        else:
            self._idle[instance.function.name].append(instance)

    def _opt(self, layers: tuple[Path, ...]) -> Path:
        if layers not in self._opts:
            self._opts[layers] = merge_layers(layers, Path(self._folder.name, f"opt-{len(self._opts)}"))
        return self._opts[layers]
