"""Results: a table for a person, tab-separated lines for a pipe, one JSON document for a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hector.cli.terminal import printable, rich_output

if TYPE_CHECKING:
    from hector.cli.columns import Column


_EDGES = 2
"""The blanks on both sides of a table."""


def print_json(document: Any) -> None:
    """Indented; escaped where standard output is not Unicode."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(document, ensure_ascii=not unicode, indent=2))


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> None:
    """In a pipe without a heading, and with every column; a cell is one line, and has no tabs."""
    cells = [[" ".join(printable(str(cell)).split()) for cell in row] for row in rows]
    if not rich_output():
        for row in cells:
            print("\t".join(row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from hector.cli.columns import GAP, fitted, short_time

    for row in cells:
        row[:] = (short_time(cell) if column.time else cell for column, cell in zip(columns, row, strict=True))
    console = Console(highlight=False)
    widths = fitted(columns, cells, console.width - _EDGES)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, highlight=False, padding=(0, GAP - 1, 0, 0))
    for place, width in widths.items():
        cut = columns[place].one_line
        table.add_column(columns[place].name, width=width, no_wrap=cut, overflow="ellipsis" if cut else "fold")
    for row in cells:
        table.add_row(*(_literal(row[place]) for place in widths))
    console.width = max(console.width, widths[0] + _EDGES)  # the terminal itself breaks what is wider than it
    console.print(table)


def print_listing(
    listing: dict[str, Any], columns: Sequence[Column], row: Callable[[Any], Sequence[object]], as_json: bool
) -> None:
    """A page of the API; standard error says so if there is more."""
    if as_json:
        return print_json(listing)
    print_table(columns, [row(item) for item in listing["items"]])
    if listing["nextCursor"] is not None:
        print("There are more; --limit says how many are shown.", file=sys.stderr)
    return None


def print_pairs(pairs: Mapping[str, object]) -> None:
    """One thing's properties, name and value."""
    rows = [(name, " ".join(printable(str(value)).split())) for name, value in pairs.items() if value not in (None, "")]
    if not rich_output():
        for name, value in rows:
            print(f"{name}\t{value}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, _literal(value))
    Console(highlight=False).print(table)


def print_answer(text: str) -> None:
    """An answer that is there: as Markdown on a terminal."""
    if not rich_output():
        from hector.cli.terminal import plain

        print(plain(text))
        return
    from rich.console import Console

    from hector.cli.markdown import Blocks

    Console(highlight=False).print(Blocks(printable(text)))


def tokens(task: dict[str, Any]) -> tuple[int, int] | None:
    """What a task read and wrote, if that is known; one of both may not be, and is then 0."""
    usage = task.get("usage")
    return (usage.get("inputTokens") or 0, usage.get("outputTokens") or 0) if usage else None


def _literal(text: str) -> Any:
    """A cell in which [brackets] are no markup."""
    from rich.text import Text

    return Text(text)
