"""What is at the other end of standard output: a terminal that can be drawn on, or something that wants plain text."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def rich_output() -> bool:
    """Whether to draw: on a terminal, unless TERM is dumb. NO_COLOR (no-color.org), about colours alone, is Rich's."""
    return sys.stdout.isatty() and not dumb()


def dumb() -> bool:
    """Whether the terminal can do nothing but print line after line."""
    return os.environ.get("TERM", "dumb") in ("", "dumb", "unknown")


def printable(text: str) -> str:
    """The text without control characters: what an agent says must not steer a person's terminal."""
    return text.translate(_CONTROLS)


def plain(text: str) -> str:
    """The text as it is for a pipe, and `printable` for a terminal."""
    return printable(text) if sys.stdout.isatty() else text


@contextmanager
def unechoed() -> Iterator[None]:
    """What is typed meanwhile is kept for the next prompt, and not shown in the middle of an answer."""
    try:
        import termios

        before = termios.tcgetattr(sys.stdin)
    except (ImportError, termios.error, ValueError, OSError):
        yield
        return
    silent = list(before)
    silent[3] &= ~termios.ECHO
    if not dumb():
        silent[3] &= ~termios.ICANON  # the prompt reads keys, not lines: a Ctrl-D is kept for it like any other
    termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
