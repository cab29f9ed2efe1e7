"""`hector emulate`: the built functions on this machine, behind a front door that streams."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hector.emulator.emulator import Emulator
from hector.emulator.limits import Limits
from hector.emulator.model import Stack, TableSource
from hector.emulator.tables import USUAL, answers
from hector.emulator.template import load
from hector.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """As the command's; pairs are still ``KEY=VALUE``."""

    template: str
    port: int = 8080
    dynamodb: str | None = None
    parameters: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    environment: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    warm: int = 0
    cold: bool = False
    speed: float = 1.0


def emulate(options: Options) -> None:
    """Serves until a signal says stop. Raises ConfigError."""
    limits = Limits().replaced(_pairs("--limit", options.limits))
    names = _pairs("--resource", options.resources)
    stack = load(Path(options.template), _pairs("--parameter", options.parameters), names, limits)
    environment = _pairs("--env", options.environment)
    place = _place(options.dynamodb)
    if place is None and stack.tables and "HECTOR_STORE" not in environment:
        environment |= {"HECTOR_STORE": "memory:", "HECTOR_QUEUE": ""}
    emulator = Emulator(
        stack=stack,
        environment=environment,
        dynamodb=place,
        limits=limits,
        port=options.port,
        warm=options.warm,
        cold=options.cold,
        speed=options.speed,
        echo=True,
    )
    asyncio.run(_serve(emulator, list(_told(stack, place, environment))))


async def _serve(emulator: Emulator, told: list[str]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with emulator:
        for line in told:
            print(line)
        print(f"Listening on {emulator.url}, which is also boto3's endpoint_url for lambda and sqs", flush=True)
        await stop.wait()


def _place(given: str | None) -> str | None:
    """DynamoDB Local's address: the one that was given, else the usual one if it answers there."""
    return given or os.environ.get("AWS_ENDPOINT_URL_DYNAMODB") or (USUAL if answers(USUAL) else None)


def _told(stack: Stack, place: str | None, environment: dict[str, str]) -> Iterable[str]:
    """What runs, and what does not, a line each."""
    yield f"Functions: {', '.join(function.name for function in stack.functions)}"
    if place is not None:
        yield f"DynamoDB Local at {place}: {', '.join(stack.tables) or 'the template has no table'}"
    elif stack.tables:
        where = environment["HECTOR_STORE"]
        alone = "; each process has sessions of its own, and a session made by one is unknown to the others"
        yield (
            f"No DynamoDB Local: nothing answers at {USUAL}, and --dynamodb names no other place. "
            f"The functions run with HECTOR_STORE={where}{alone if where.startswith('memory') else ''}"
        )
    for source in stack.sources:
        if isinstance(source, TableSource) and place is None:
            yield f"Not emulated: {source.function} hears of no changes in {source.table} without DynamoDB Local"
    for note in stack.notes:
        yield f"Not emulated: {note}"


def _pairs(option: str, arguments: list[str]) -> dict[str, str]:
    for argument in arguments:
        if "=" not in argument:
            raise ConfigError(f"{option} {argument}: expected KEY=VALUE.")
    return dict(argument.split("=", 1) for argument in arguments)
