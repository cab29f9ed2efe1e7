"""Standard output, whose failure (a full disk) is told in a sentence, whoever was writing."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hector.errors import HectorError


class OutputFailed(HectorError):
    """Standard output takes no more. A reader that has left is a BrokenPipeError instead."""

    code = "output_failed"


class Output(io.TextIOWrapper):
    """Raises OutputFailed where a file raises OSError."""

    def write(self, text: str) -> int:
        with writing():
            return super().write(text)

    def flush(self) -> None:
        with writing():
            super().flush()


def install() -> None:
    """Have `sys.stdout` raise OutputFailed. Where it is closed, what is printed goes nowhere."""
    if sys.stdout is None:  # so Python leaves it for `>&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open as long as the process
    elif isinstance(given := sys.stdout, io.TextIOWrapper):
        sys.stdout = Output(
            given.buffer,
            given.encoding,
            given.errors,
            line_buffering=given.line_buffering,
            write_through=given.write_through,
        )


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
