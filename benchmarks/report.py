"""The rows of a report: ours against a peer in the same run, held against a budget."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Row:
    """`at_most` and `at_least` bound the ratio ours ÷ peer, or `ours` itself where there is no peer.

    A row with neither is information. A row without `ours` was skipped; `note` says why.
    """

    name: str
    unit: str
    ours: float | None
    peer: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return None if self.ours is None or not self.peer else self.ours / self.peer

    @property
    def judged(self) -> float | None:
        return self.ours if self.peer is None else self.ratio

    @property
    def ok(self) -> bool | None:
        """Whether the budget is kept; None where there is nothing to judge."""
        if self.judged is None or (self.at_most is None and self.at_least is None):
            return None
        return (self.at_most is None or self.judged <= self.at_most) and (
            self.at_least is None or self.judged >= self.at_least
        )

    @property
    def limit(self) -> str:
        unit = f" {self.unit}" if self.peer is None else ""
        if self.at_most is not None:
            return f"≤ {self.at_most:g}{unit}"
        return f"≥ {self.at_least:g}{unit}" if self.at_least is not None else ""

    @property
    def figure(self) -> str:
        return f"{self.ours:.2f} {self.unit}" if self.peer is None else f"{self.ratio:.2f}"


def alternating(measures: Mapping[K, Callable[[], float]], rounds: int) -> dict[K, list[float]]:
    """Each measure once per round, in turn (A B A B …), so that a slow moment of the machine meets all of them.

    A first round, which warms caches and compiles .pyc files, is thrown away.
    """
    results: dict[K, list[float]] = {key: [] for key in measures}
    for round_ in range(rounds + 1):
        for key, measure in measures.items():
            value = measure()
            if round_:
                results[key].append(value)
    return results


def missed(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.ok is False]


def as_json(rows: Sequence[Row]) -> str:
    return json.dumps([asdict(row) | {"ratio": row.ratio, "ok": row.ok} for row in rows], indent=2, ensure_ascii=False)


def as_table(rows: Sequence[Row]) -> str:
    lines = [("", "ours", "peer", "ratio", "budget", "")]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        verdict = {True: "ok", False: "MISSED", None: "skipped" if row.ours is None else ""}[row.ok]
        lines.append((row.name, _figure(row.ours, row.unit), _figure(row.peer, row.unit), ratio, row.limit, verdict))
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    table = ["  ".join(_cells(line, widths)).rstrip() for line in lines]
    notes = [f"{row.name}: {row.note}" for row in rows if row.note]
    return "\n".join([*table, *([""] if notes else []), *notes])


def _cells(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *rest = (
        cell.ljust(width) if column in (0, 5) else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return [first, *rest]


def _figure(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.{0 if value >= 100 else 2}f} {unit}"
