"""How an answer is shown while it comes: as plain text, or not before its end. `live` has the one that draws."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Protocol

from hector.cli.terminal import plain, rich_output


class Screen(Protocol):
    """Entered when waiting begins; left when the answer has ended, was canceled, or failed."""

    async def __aenter__(self) -> Screen: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show what was held back, whatever the reason for the end."""

    def text(self, piece: str) -> None:
        """The next piece of the answer."""

    def note(self, text: str, fraction: float | None = None) -> None:
        """What is going on; `fraction` (0 to 1) of it is done."""

    def usage(self, task: dict[str, Any], seconds: float) -> None:
        """What the ended answer took; called after the screen was left."""


class PlainScreen:
    """Pieces as they come (or all at the end, if not `streaming`); notes to standard error."""

    def __init__(self, *, streaming: bool = True) -> None:
        self._streaming = streaming
        self._pieces: list[str] = []

    async def __aenter__(self) -> PlainScreen:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pieces and not isinstance(error, BrokenPipeError):
            print("" if self._streaming else "".join(self._pieces), flush=True)

    def text(self, piece: str) -> None:
        self._pieces.append(plain(piece))
        if self._streaming:
            print(self._pieces[-1], end="", flush=True)

    def note(self, text: str, fraction: float | None = None) -> None:
        print(f"({noted(text, fraction)})", file=sys.stderr, flush=True)

    def usage(self, task: dict[str, Any], seconds: float) -> None:
        pass


class SilentScreen(PlainScreen):
    """Shows nothing: the command prints something else."""

    async def __aexit__(self, *_: object) -> None:
        pass

    def text(self, piece: str) -> None:
        pass

    def note(self, text: str, fraction: float | None = None) -> None:
        pass


def screen(*, streaming: bool = True) -> Screen:
    """The one that suits where standard output goes."""
    if not rich_output():
        return PlainScreen(streaming=streaming)
    from hector.cli.live import LiveScreen

    return LiveScreen(streaming=streaming)


def noted(text: str, fraction: float | None) -> str:
    """A note with what is done of it, such as `Reading (30 %)`."""
    text = " ".join(plain(text).split())
    return text if fraction is None else f"{text} ({fraction:.0%})"


def complain(message: str) -> None:
    """Say on standard error what went wrong."""
    print(f"hector: {message}", file=sys.stderr, flush=True)
