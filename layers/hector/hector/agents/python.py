"""An agent that is a Python callable, sync or async: `answer(turn)` returns or yields text or what `hector.agents` has.

Synchronous callables run in a thread of their own, so they may block. Python cannot interrupt a thread: when such a
turn is canceled or times out, its thread is abandoned and what it still yields is dropped.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from hector.agents.base import Output, Text, Turn
from hector.agents.outputs import checked
from hector.agents.threads import in_thread
from hector.errors import ConfigError


class PythonAgent:
    def __init__(self, function: Callable[[Turn], Any]) -> None:
        self._function = function
        target = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
        self._is_async = inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target)

    async def answer(self, turn: Turn) -> AsyncGenerator[Output, None]:
        called = _pieces(self._function(turn)) if self._is_async else in_thread(lambda: _items(self._function(turn)))
        async with aclosing(called) as items:
            async for item in items:
                if isinstance(item, Awaitable | AsyncIterator):
                    # A synchronous callable may well hand back something asynchronous: a partial does, or a lambda.
                    async with aclosing(_pieces(item)) as pieces:
                        async for piece in pieces:
                            yield _output(piece)
                else:
                    yield _output(item)

    async def aclose(self) -> None:
        pass


def load_target(target: str) -> Callable[[Turn], Any]:
    """The callable that `module:name` means. Raises ConfigError saying what is wrong with it."""
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise ConfigError(f"{target!r} must have the form module:function, such as my_module:answer")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(f"cannot import {module_name!r}: {type(error).__name__}: {error}") from error
    function: Callable[[Turn], Any] | None = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"module {module_name!r} has no function {name!r}")
    return function


def _output(item: Any) -> Output:
    return Text(item) if isinstance(item, str) else checked(item)


async def _pieces(result: Any) -> AsyncGenerator[Any, None]:
    """What an asynchronous callable returned, as the pieces of an answer."""
    if isinstance(result, Awaitable):
        result = await result
    if isinstance(result, AsyncIterator):
        try:
            async for item in result:
                yield item
        finally:
            await _close(result)
    else:
        for item in _items(result):
            yield item


def _items(result: Any) -> Iterator[Any]:
    """What a synchronous callable returned, as the pieces of an answer."""
    if isinstance(result, Iterable) and not isinstance(result, str | Mapping):
        yield from result
    elif result is not None:
        yield result


async def _close(iterator: AsyncIterator[Any]) -> None:
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()
