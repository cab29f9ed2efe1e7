"""What this process has found out about sessions. Nothing is wrong without it, some things take longer."""

from __future__ import annotations

from typing import TypeVar

V = TypeVar("V")

_SESSIONS = 10_000
_PAUSE = 5
"""Turns after which a summary that could not be made is tried again."""


class Notes:
    def __init__(self) -> None:
        self._depths: dict[str, int] = {}
        self._again: dict[str, int] = {}

    def depth(self, session_id: str, otherwise: int) -> int:
        """How many turns to read at first."""
        return max(self._depths.get(session_id, 0), otherwise)

    def needed(self, session_id: str, turns: int) -> None:
        """Some more may fit the next time: turns differ in size."""
        _keep(self._depths, session_id, turns + turns // 8 + 2)

    def may_summarise(self, session_id: str, head: int) -> bool:
        return head >= self._again.get(session_id, 0)

    def summarised(self, session_id: str, head: int, *, failed: bool) -> None:
        if failed:
            _keep(self._again, session_id, head + _PAUSE)
        else:
            self._again.pop(session_id, None)


def _keep(notes: dict[str, V], session_id: str, value: V) -> None:
    """The newest notes stay."""
    notes.pop(session_id, None)
    if len(notes) >= _SESSIONS:
        del notes[next(iter(notes))]
    notes[session_id] = value
