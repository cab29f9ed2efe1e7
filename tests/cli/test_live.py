"""Markdown that grows: whatever the pieces and the terminal's size, no word is lost, doubled or moved."""

from __future__ import annotations

import asyncio
import io
import itertools
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hector.cli.live import LiveScreen, spent
from hector.cli.markdown import Blocks, complete_lines

ANSWER = """\
# Heading one

Text with <b>html</b>, [a link](http://x.example/y) and ![a picture](http://x.example/z.png).

- a
- b
  1. inner

```python
def code(): return "a line that is longer than a narrow terminal is wide, and goes on"
```

| name | value |
|---|---|
| supercalifragilisticexpialidocious | 1 |

[1]: http://x.example/reference

> quoted

Setext
------
the end"""


def console(width: int, height: int = 24) -> Console:
    return Console(file=io.StringIO(), width=width, height=height, force_terminal=False, highlight=False)


def written(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


def letters(text: str) -> str:
    """What must be there in this order: no layout, no markup."""
    return re.sub(r"[^A-Za-z0-9]", "", text)


async def shown(pieces: list[str], on: Console, *, streaming: bool = True) -> str:
    async with LiveScreen(streaming=streaming, console=on) as screen:
        for piece in pieces:
            screen.text(piece)
    return written(on)


@pytest.mark.parametrize("width", [120, 40, 20])
async def test_nothing_of_an_answer_is_lost_on_a_terminal_of_any_width(width: int) -> None:
    text = letters(await shown([ANSWER], console(width)))
    inside = ANSWER.replace("python", "")
    expected = letters(inside)
    if width == 120:
        assert text == expected
    assert sorted(text) == sorted(expected), "cells of a table may be folded side by side"


@given(st.lists(st.integers(min_value=0, max_value=len(ANSWER)), max_size=40), st.booleans())
def test_the_pieces_make_no_difference(cuts: list[int], streaming: bool) -> None:
    edges = [0, *sorted(cuts), len(ANSWER)]
    pieces = [ANSWER[start:end] for start, end in itertools.pairwise(edges)]
    whole = asyncio.run(shown([ANSWER], console(60), streaming=False))
    assert letters(asyncio.run(shown(pieces, console(60), streaming=streaming))) == letters(whole)


async def test_whole_blocks_are_printed_while_the_answer_goes_on() -> None:
    on = console(60)
    async with LiveScreen(console=on) as screen:
        for piece in ("First **para", "graph**\n", "\n", "second"):
            screen.text(piece)
        assert written(on) == ""
        screen.text(" paragraph\n\nthird")
        assert [line.rstrip() for line in written(on).splitlines()] == ["First paragraph", "", "second paragraph"]
    assert written(on).splitlines()[-1].rstrip() == "third"


async def test_what_was_said_before_a_cancel_stays() -> None:
    on = console(60)
    with suppress(asyncio.CancelledError):
        async with LiveScreen(console=on) as screen:
            screen.text("half a sen")
            raise asyncio.CancelledError
    assert written(on).split() == ["half", "a", "sen"]


def test_a_block_that_is_too_high_shows_its_end() -> None:
    on = console(60)
    on.print(Blocks("```\n" + "\n".join(map(str, range(50))) + "\n", height=4))
    assert written(on).split() == ["46", "47", "48", "49"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [("one", 0), ("one\n\ntwo", 2), ("- a\n\n- b", 0), ("- a\n\nb", 2), ("```\na\n\nb", 0), ("a\n---\nb", 2), ("", 0)],
)
def test_complete_blocks(text: str, lines: int) -> None:
    assert complete_lines(text) == lines


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        ({"inputTokens": 1200, "outputTokens": 34}, "1,200 tokens in, 34 out · 1.5 s"),
        ({"inputTokens": None, "outputTokens": 34}, "0 tokens in, 34 out · 1.5 s"),
        (None, "1.5 s"),
    ],
)
def test_what_an_answer_took(usage: dict[str, int | None] | None, said: str) -> None:
    assert spent({"usage": usage}, 1.5) == said
