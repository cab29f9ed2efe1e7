"""The whole thing: functions with their instances, and the front door."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hector.emulator.gateway import Gateway
from hector.emulator.instance import Instance, Invocation
from hector.emulator.model import Function, Route
from hector.emulator.runtime_folder import make_runtime_folder, merge_layers


class Emulator:
    """An async context manager; ``url`` is the front door, ``invocations`` all that was invoked, oldest first.

    ``environment`` is added to every function's own. ``port`` 0 takes a free one. ``echo`` prints
    the functions' output to stderr; it is always kept in ``Instance.log``.
    """

    def __init__(
        self,
        functions: Iterable[Function],
        routes: Iterable[Route] = (),
        *,
        environment: Mapping[str, str] | None = None,
        port: int = 0,
        echo: bool = False,
    ) -> None:
        self.functions = {function.name: function for function in functions}
        self.invocations: list[Invocation] = []
        self._environment = dict(environment or {})
        self._instances: list[Instance] = []
        self._idle: dict[str, list[Instance]] = {name: [] for name in self.functions}
        self._opts: dict[tuple[Path, ...], Path] = {}
        self._echo = echo
        self._gateway = Gateway(list(routes), self.invoke, port)

    @classmethod
    def from_template(
        cls,
        template: str | Path,
        *,
        parameters: Mapping[str, str] | None = None,
        resources: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        port: int = 0,
        echo: bool = False,
    ) -> Emulator:
        """The functions and routes of a built SAM template.

        ``parameters`` are the stack's; ``resources`` gives physical names (``{"Table": "sessions"}``), else a resource
        is called by its logical id.
        """
        from hector.emulator.template import load

        functions, routes = load(Path(template), parameters or {}, resources or {})
        return cls(functions, routes, environment=environment, port=port, echo=echo)

    @property
    def url(self) -> str:
        return self._gateway.url

    def instances(self, function: str) -> list[Instance]:
        """The living processes of a function."""
        return [instance for instance in self._instances if instance.function.name == function and instance.alive]

    async def invoke(self, function: str, event: Mapping[str, Any] | bytes) -> Invocation:
        """Invokes a function; returns when its answer has begun or it has failed."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        deadline = int((time.time() + self.functions[function].timeout) * 1000)
        invocation = Invocation(function, body, deadline)
        self.invocations.append(invocation)
        instance = await self._take_instance(function)
        if instance.init_error is not None or not instance.alive:
            invocation.end(error=instance.init_error, cut=True)
        else:
            instance.submit(invocation)
        await invocation.begun.wait()
        return invocation

    async def idle(self) -> None:
        """Waits until every living process asks for work, so that the next invocation needs no new one."""
        while any(instance.alive and instance.current is not None for instance in self._instances):
            await asyncio.sleep(0.005)

    async def __aenter__(self) -> Emulator:
        self._folder = tempfile.TemporaryDirectory(prefix="emulator-")
        self._runtime = make_runtime_folder(Path(self._folder.name, "runtime"))
        await self._gateway.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._gateway.stop()
        await asyncio.gather(*(instance.stop() for instance in self._instances))
        self._folder.cleanup()

    async def _take_instance(self, name: str) -> Instance:
        """An idle instance, or a new one, as Lambda does it."""
        while self._idle[name]:
            if (instance := self._idle[name].pop()).alive:
                return instance
        function = self.functions[name]
        instance = Instance(
            function, self._opt(function.layers), self._runtime, on_idle=self._became_idle, echo=self._echo
        )
        await instance.start(self._environment)
        self._instances.append(instance)
        if instance in self._idle[name]:
            self._idle[name].remove(instance)
        return instance

    def _became_idle(self, instance: Instance) -> None:
        self._idle[instance.function.name].append(instance)

    def _opt(self, layers: tuple[Path, ...]) -> Path:
        if layers not in self._opts:
            self._opts[layers] = merge_layers(layers, Path(self._folder.name, f"opt-{len(self._opts)}"))
        return self._opts[layers]
