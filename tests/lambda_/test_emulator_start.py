"""What is asked of an emulator while it starts: processes keep their environment, so none may begin with half of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import httpx
import pytest

from hector.emulator import Emulator, emulator
from hector.emulator.model import Api, Function, Route, Stack
from hector.errors import ConfigError
from tests.lambda_.conftest import TOYS

DYNAMODB = "http://127.0.0.1:9"


def starting(**options: object) -> Emulator:
    function = Function("Toy", TOYS, "surroundings.handler", timeout=20)
    stack = Stack((function,), Api((Route("GET", "/", "Toy"),)))
    return Emulator(stack=stack, environment={"GIVEN": "yes"}, dynamodb=DYNAMODB, **options)  # type: ignore[arg-type]


def while_tables_are_made(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    monkeypatch.setattr(emulator, "make_tables", lambda *_: act())


async def test_nobody_is_answered_before_the_environment_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = starting()

    def ask() -> None:
        for path in ("/", "/2015-03-31/functions/Toy/invocations"):
            with pytest.raises(httpx.ConnectError):
                httpx.request("POST" if "functions" in path else "GET", aws.url + path, timeout=10)

    while_tables_are_made(monkeypatch, ask)
    async with aws, httpx.AsyncClient(timeout=30) as http:
        environment = (await http.get(aws.url)).json()
    assert environment["AWS_ENDPOINT_URL_DYNAMODB"] == DYNAMODB
    assert environment["AWS_ENDPOINT_URL_SQS"] == aws.url
    assert environment["GIVEN"] == "yes"


async def test_the_api_answers_when_the_warm_processes_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    while_tables_are_made(monkeypatch, lambda: None)
    aws = starting(warm=1)
    warm = aws.pool.warm
    asked: list[asyncio.Task[httpx.Response]] = []
    async with httpx.AsyncClient(timeout=30) as http:

        async def warm_slowly(count: int) -> None:
            asked.append(asyncio.create_task(http.get(aws.url)))
            await asyncio.wait(asked, timeout=0.5)
            assert not asked[0].done()
            await warm(count)

        monkeypatch.setattr(aws.pool, "warm", warm_slowly)
        async with aws:
            assert (await asked[0]).status_code == 200
            assert len(aws.instances("Toy")) == 1, "and by them"


async def test_a_port_that_somebody_takes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = starting()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        def take() -> None:
            other.bind(("127.0.0.1", int(aws.url.rpartition(":")[2])))
            other.listen()

        while_tables_are_made(monkeypatch, take)
        with pytest.raises(ConfigError, match="Choose another with --port"):
            await aws.__aenter__()
