"""`make chaos`: a storm over every backend whose sessions outlive a process; exit 1 if any promise was broken.

python -m tests.chaos [BACKEND …] [--kills 50] [--seconds 60] [--workers 8] [--sessions 20]
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from tests.backends import OUTLIVING, running
from tests.chaos.checker import PROMISES, Findings
from tests.chaos.storm import Storm


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "backends", nargs="*", metavar="backend", help=f"of {', '.join(OUTLIVING)}; all if none is named"
    )
    parser.add_argument("--kills", type=int, default=50, help="workers to kill, on each backend")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, on each backend")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--sessions", type=int, default=20)
    arguments = parser.parse_args()
    backends = arguments.backends or list(OUTLIVING)
    if unknown := sorted(set(backends) - set(OUTLIVING)):
        parser.error(f"there is no backend {unknown[0]!r}; there are: {', '.join(OUTLIVING)}")
    logging.disable(logging.CRITICAL)
    storm = Storm(arguments.workers, arguments.sessions, arguments.seconds, arguments.kills)
    results: dict[str, tuple[Findings, int]] = {}
    for backend in backends:
        with tempfile.TemporaryDirectory(prefix="hector-chaos-") as folder, running(backend, Path(folder)) as url:
            print(f"{backend}: {storm.workers} workers on {storm.sessions} sessions …", file=sys.stderr, flush=True)
            results[backend] = found, killed = storm.run(url, Path(folder))
            done = {name: found.counts[name] for name in ("accepted", "model", "read", "events", "worker_lost")}
            print(f"{backend}: {killed} kills; {done}", file=sys.stderr, flush=True)
            for example in found.examples:
                print(f"  {example}", file=sys.stderr, flush=True)
    print("\n".join(table(results)))
    return 1 if any(found.violations for found, _ in results.values()) else 0


def table(results: dict[str, tuple[Findings, int]]) -> list[str]:
    """Violations by promise and backend; then what they were counted among."""
    rows = [["violations of", *results]]
    rows += [[promise, *(str(found.of(promise)) for found, _ in results.values())] for promise in PROMISES]
    rows.append(["workers killed", *(str(killed) for _, killed in results.values())])
    rows += [
        [label, *(f"{found.counts[name]:,}" for found, _ in results.values())]
        for label, name in (
            ("workers stalled beyond their leases", "stalled"),
            ("messages accepted", "accepted"),
            ("model calls", "model"),
            ("turns lost with their worker", "worker_lost"),
            ("turns canceled", "canceled"),
            ("reads, whole and cut", "read"),
            ("events read back", "events"),
        )
    ]
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


if __name__ == "__main__":
    sys.exit(main())
