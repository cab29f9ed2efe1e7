"""Markdown on a terminal, by Rich, without losing a word of what a model wrote."""

from __future__ import annotations

from typing import ClassVar

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Markdown, TableElement
from rich.segment import Segment
from rich.table import Table

_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable(["image", "reference"])
"""Rich leaves out HTML, the addresses of images, and link definitions: here they are text."""


class _FoldedTable(TableElement):
    """A word that is wider than its column goes on in the next line; Rich would cut it off."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                for column in table.columns:
                    column.overflow = "fold"
            yield table


class _Document(Markdown):
    """Links show their address, which not every terminal could hide behind the text."""

    elements: ClassVar = {**Markdown.elements, "table_open": _FoldedTable}

    def __init__(self, text: str) -> None:
        super().__init__("", code_theme="ansi_dark", hyperlinks=False)
        self.markup = text
        self.parsed = _PARSER.parse(text)


class Blocks:
    """Markdown without blank lines around it; the last `height` lines of it, if that is given."""

    def __init__(self, text: str, height: int | None = None) -> None:
        self._text = text
        self._height = height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(_Document(self._text), options.update(height=None), pad=False)
        filled = [index for index, line in enumerate(lines) if any(segment.text.strip() for segment in line)]
        lines = lines[filled[0] : filled[-1] + 1] if filled else []
        for line in lines[-self._height :] if self._height else lines:
            yield from line
            yield Segment.line()


def complete_lines(text: str) -> int:
    """How many lines, from the first, are whole blocks that more text cannot change: all but the last block."""
    starts = [token.map[0] for token in _PARSER.parse(text) if token.level == 0 and token.map and token.nesting >= 0]
    return starts[-1] if len(starts) > 1 else 0
