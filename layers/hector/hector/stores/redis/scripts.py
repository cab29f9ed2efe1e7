"""The Lua scripts, each with what they share in front of it."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

from hector.stores.redis.items import FIELDS, NUMBERS

PARTS: dict[str, tuple[str, ...]] = {
    "append": ("log",),
    "commit": ("task", "turns"),
    "create": ("tasks", "staged"),
    "delete": ("wake",),
    "discard": ("task", "tasks", "keys"),
    "erase": ("tasks", "staged"),
    "events": ("task", "log", "wake"),
    "expire": ("staged",),
    "history": ("turns",),
    "leave": ("task", "log", "wake"),
    "line_up": ("task",),
    "past": ("task", "log"),
    "release": ("task", "log", "wake"),
    "stage": ("task", "log", "tasks", "turns", "staged"),
    "stage_summary": ("staged",),
    "submit": ("task", "tasks", "keys"),
    "task": ("task",),
    "tasks": ("tasks",),
}
"""What a script on a session touches beside the hot record; tasks that it finds in a listing come on top of that."""

FOLDER = Path(__file__).parent / "lua"


class Script(NamedTuple):
    text: str
    sha: str


@functools.cache
def script(name: str) -> Script:
    text = f"{_table('FIELDS', FIELDS)}\n{_table('NUMBERS', NUMBERS)}\n{_read('common')}\n{_read(name)}"
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _table(name: str, words: tuple[str, ...]) -> str:
    return f"local {name} = {{{', '.join(repr(word) for word in words)}}}"


def _read(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text(encoding="utf-8")
