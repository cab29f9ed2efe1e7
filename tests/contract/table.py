"""What the contract suite found, as a table: a row for each property, a column for each backend."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import pytest

from hector.testing.contract import PROPERTIES

BACKENDS = ("memory", "dynamodb-mock", "dynamodb-local", "redis", "redis-cluster", "valkey", "sqlite", "postgresql")
Counts = dict[tuple[str, str], Counter[str]]


def write_table(reporter: pytest.TerminalReporter) -> None:
    """Says what was found, if anything of the suite was run."""
    results = [
        (report.nodeid, "failed" if outcome == "error" else outcome)
        for outcome in ("passed", "failed", "error", "skipped")
        for report in reporter.stats.get(outcome, ())
        if isinstance(report, pytest.TestReport)
    ]
    counts = counted(results, BACKENDS)
    if counts:
        reporter.section("contract of the stores: tests passed by property and backend")
        for line in table(counts, BACKENDS):
            reporter.write_line(line)


def counted(results: Iterable[tuple[str, str]], backends: Iterable[str]) -> Counts:
    """From pairs of a test's node id and its outcome: how many of each outcome, by property and backend."""
    found: Counts = {}
    known = sorted(backends, key=len, reverse=True)
    for node, outcome in results:
        place = placed(node, known)
        if place is not None:
            found.setdefault(place, Counter())[outcome] += 1
    return found


def placed(node: str, backends: Iterable[str]) -> tuple[str, str] | None:
    """The property and the backend of a contract test; None if it is another test."""
    match = re.search(r"/test_contract\.py::test_(\w+?)__\w+\[(.*)\]$", node)
    if match is None:
        return None
    parameters = f"-{match[2]}-"
    return next(((match[1], backend) for backend in backends if f"-{backend}-" in parameters), None)


def table(counts: Counts, backends: Iterable[str]) -> list[str]:
    """Lines. A cell says how many passed; of how many, if some failed; and `-` where none was run."""
    columns = [backend for backend in backends if any(place[1] == backend for place in counts)]
    rows = [name for name in PROPERTIES if any(place[0] == name for place in counts)]
    cells = [["", *columns]]
    cells += [[name, *(_cell(counts.get((name, backend))) for backend in columns)] for name in rows]
    cells.append(["all", *(_cell(_sum(counts, backend)) for backend in columns)])
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns) + 1)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _sum(counts: Counts, backend: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for (_, of), counter in counts.items():
        if of == backend:
            total += counter
    return total


def _cell(counter: Counter[str] | None) -> str:
    if not counter:
        return "-"
    passed, ran = counter["passed"], counter["passed"] + counter["failed"]
    skipped = f" ({counter['skipped']} skipped)" if counter["skipped"] else ""
    return (f"{passed}" if passed == ran else f"{passed} of {ran} FAILED") + skipped
