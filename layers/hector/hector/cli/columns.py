"""Which columns of a table there is room for on a terminal, and how wide each is then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len

GAP = 2
"""Between two columns."""
_LEAST_TEXT = 8
"""A text that has less room than this says nothing."""


@dataclass(frozen=True, slots=True)
class Column:
    """Where there is no room for all, the column with the highest `rank` goes first; 0 stays.

    `time`: a time of the API. `text`: as long as people write; takes the room that is left, in as many lines as that
    takes, or is cut to `one_line`. The first column is the row's name: it is never cut or broken, so that it can be
    copied.
    """

    name: str
    rank: int = 0
    time: bool = False
    text: bool = False
    one_line: bool = False


def fitted(columns: Sequence[Column], cells: Sequence[Sequence[str]], room: int) -> dict[int, int]:
    """The width of each column that there is room for, by its place."""
    natural = [_natural(column, [row[place] for row in cells]) for place, column in enumerate(columns)]
    least = [min(width, _LEAST_TEXT) if column.text else width for column, width in zip(columns, natural, strict=True)]
    kept = list(range(len(columns)))
    while _total(kept, least) > room and columns[going := max(kept, key=lambda place: columns[place].rank)].rank:
        kept.remove(going)
    widths = {place: least[place] for place in kept}
    for place in kept:
        if columns[place].text:
            widths[place] += max(0, min(natural[place] - least[place], room - _total(kept, widths)))
    return widths


def _total(kept: Sequence[int], widths: Sequence[int] | dict[int, int]) -> int:
    return sum(widths[place] for place in kept) + GAP * (len(kept) - 1)


def _natural(column: Column, cells: Sequence[str]) -> int:
    """A heading goes on in a second line."""
    return max(map(cell_len, [*column.name.split(), *cells]))


def short_time(text: str) -> str:
    """The API's time as a clock on the wall here shows it, with the date if that is not today's."""
    try:
        at = datetime.fromisoformat(text).astimezone()
    except ValueError:
        return text
    today = at.date() == datetime.now().astimezone().date()
    return at.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")
