"""An answer as Markdown that grows on the terminal.

Blocks that are complete are printed for good, so that they scroll up like any other output; only the block that is
still being written is drawn again and again, cut to what fits on the screen, with a line below that says what is going
on. When the answer ends, that block is printed in full: nothing is lost on a small terminal.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from hector.cli.markdown import Blocks, complete_lines
from hector.cli.screens import noted
from hector.cli.tables import tokens
from hector.cli.terminal import printable

FRAMES_PER_SECOND = 12
_BELOW = 3
"""The lines that the block being written leaves free: a blank one, the spinner, and the cursor's."""


class LiveScreen:
    def __init__(self, *, streaming: bool = True, console: Console | None = None) -> None:
        self._streaming = streaming
        self._console = console or Console(highlight=False)
        self._spinner = Spinner("dots", style="cyan")
        self._open = ""
        self._printed = False
        self._began = 0.0
        self._note = ""
        together = sys.stderr is not None and sys.stderr.isatty()  # else what is drawn would end in somebody's file
        self._live = Live(
            get_renderable=self._drawn,
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=together,
            redirect_stderr=together,
        )
        self._drawing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LiveScreen:
        self._began = time.monotonic()
        self._live.start(refresh=True)
        self._drawing = asyncio.create_task(self._draw())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawing is not None:
            self._drawing.cancel()
            with suppress(asyncio.CancelledError):
                await self._drawing
        rest, self._open = self._open, ""
        self._live.stop()
        self._print(rest)

    def text(self, piece: str) -> None:
        self._note = ""
        self._open += printable(piece)
        if self._streaming and "\n" in piece and (lines := complete_lines(self._open)):
            done = "\n".join(self._open.split("\n")[:lines])
            self._open = "\n".join(self._open.split("\n")[lines:])
            self._print(done)

    def note(self, text: str, fraction: float | None = None) -> None:
        self._note = noted(text, fraction)

    def usage(self, task: dict[str, Any], seconds: float) -> None:
        self._console.print(Text(spent(task, seconds), style="dim"))

    def _print(self, markdown: str) -> None:
        if markdown.strip():
            if self._printed:
                self._console.print()
            self._console.print(Blocks(markdown))
            self._printed = True

    async def _draw(self) -> None:
        while True:
            await asyncio.sleep(1 / FRAMES_PER_SECOND)
            self._live.refresh()

    def _drawn(self) -> Group:
        waited = time.monotonic() - self._began
        self._spinner.text = Text.assemble(self._note, " " if self._note else "", (f"{waited:.0f} s", "dim"))
        if not (self._streaming and self._open.strip()):
            return Group(self._spinner)
        gap = [""] if self._printed else []
        return Group(*gap, Blocks(self._open, max(1, self._console.height - _BELOW)), self._spinner)


def spent(task: dict[str, Any], seconds: float) -> str:
    """Such as `12 tokens in, 34 out · 1.2 s`."""
    used = tokens(task)
    took = f"{used[0]:,} tokens in, {used[1]:,} out · " if used else ""
    return f"{took}{seconds:.1f} s"
