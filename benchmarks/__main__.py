"""`python -m benchmarks [name …] [--quick] [--json]`: measure, print a table, exit 1 if a budget is missed."""

from __future__ import annotations

import argparse
import sys

from benchmarks import (
    chunks,
    cost,
    dynamodb_cost,
    first_token,
    followers,
    open_streams,
    packages,
    replay,
    startup,
    stores,
    throughput,
)
from benchmarks.report import Row, as_json, as_table, missed

BENCHMARKS = {
    "startup": startup.measure,
    "first-token": first_token.measure,
    "throughput": throughput.measure,
    "replay": replay.measure,
    "followers": followers.measure,
    "open-streams": open_streams.measure,
    "chunks": chunks.measure,
    "packages": packages.measure,
    "cost": cost.measure,
    "stores": stores.measure,
    "dynamodb-cost": dynamodb_cost.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(BENCHMARKS)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: quicker, and noisier")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(BENCHMARKS)):
        parser.error(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    rows: list[Row] = []
    for name in arguments.names or BENCHMARKS:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        rows += BENCHMARKS[name](quick=arguments.quick)
    print(as_json(rows) if arguments.json else as_table(rows))
    for row in missed(rows):
        print(f"missed: {row.name}: {row.figure} where {row.limit} is the budget", file=sys.stderr)
    return 1 if missed(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
