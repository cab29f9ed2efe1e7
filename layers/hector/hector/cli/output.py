"""Standard output, whose failure (a full disk) is told in a sentence, whoever was writing; and that of a command whose
agents are Python in the same process, which is the command's alone: what they print goes to standard error."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from hector.errors import HectorError

_own: ContextVar[bool] = ContextVar("own", default=False)
"""Whether it is the command itself that runs. The threads that an agent starts have a context without it."""


class OutputFailed(HectorError):
    """Standard output takes no more. A reader that has left is a BrokenPipeError instead."""

    code = "output_failed"


class Output(io.TextIOWrapper):
    """Raises OutputFailed where a file raises OSError. With an `aside`, whoever is not the command writes there."""

    aside: TextIO | None = None
    before: Output | None = None
    """What this one took the place of; without anybody to hold it, it would close its file."""

    def write(self, text: str) -> int:
        if self.aside and not _own.get():
            return self.aside.write(text)
        with writing():
            return super().write(text)

    def flush(self) -> None:
        if self.aside and not _own.get():
            return self.aside.flush()
        with writing():
            return super().flush()

    def fileno(self) -> int:
        return self.aside.fileno() if self.aside and not _own.get() else super().fileno()

    def isatty(self) -> bool:
        return self.aside.isatty() if self.aside and not _own.get() else super().isatty()

    @property
    def buffer(self) -> Any:
        return self.aside.buffer if self.aside and not _own.get() else super().buffer


def install() -> None:
    """Have `sys.stdout` raise OutputFailed. Where it is closed, what is printed goes nowhere."""
    _own.set(True)
    if sys.stdout is None:  # so Python leaves it for `>&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open as long as the process
    elif isinstance(given := sys.stdout, io.TextIOWrapper):
        sys.stdout = _like(given, given.buffer)


def _like(given: io.TextIOWrapper, file: Any) -> Output:
    buffering, through = given.line_buffering, given.write_through
    return Output(file, given.encoding, given.errors, line_buffering=buffering, write_through=through)


def reserve() -> None:
    """From here on only the command writes to standard output: agents in this process write to standard error."""
    given = sys.stdout
    if not isinstance(given, Output) or given.aside:
        return
    aside = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open as long as the process
    if not given.isatty():  # where also a program that an agent starts would spoil what is read from there
        given.flush()
        own = _like(given, os.fdopen(os.dup(given.fileno()), "wb"))
        os.dup2(aside.fileno(), given.fileno())
        own.before, sys.stdout, given = given, own, own
    given.aside = aside


@contextmanager
def others() -> Iterator[None]:
    """What runs meanwhile, and whatever it starts, is not the command itself."""
    token = _own.set(False)
    try:
        yield
    finally:
        _own.reset(token)


@contextmanager
def writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(f"Standard output cannot be written: {error.strerror}.") from error


def silence() -> None:
    """Drop what standard output still holds back: Python's own end would fail at it once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
