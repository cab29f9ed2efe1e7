"""The table that the contract suite ends with."""

from __future__ import annotations

from tests.contract.table import counted, table

BACKENDS = ["memory", "dynamodb", "dynamodb-mock"]
SUITE = "tests/contract/test_contract.py::test_"
RESULTS = [
    (f"{SUITE}claim__has_one_winner[memory]", "passed"),
    (f"{SUITE}claim__has_one_winner[dynamodb-mock]", "passed"),
    (f"{SUITE}claim__has_one_winner[dynamodb]", "failed"),
    (f"{SUITE}claim__counts[memory-1-True]", "passed"),
    (f"{SUITE}claim__counts[dynamodb-1-True]", "passed"),
    (f"{SUITE}session_keys__are_free_again[key0-memory]", "skipped"),
    ("tests/web/test_api.py::test_claim__x[memory]", "failed"),
    ("tests/unit/test_x.py::test_y", "failed"),
]


def test_a_cell_counts_what_passed_failed_and_was_skipped() -> None:
    assert table(counted(RESULTS, BACKENDS), BACKENDS) == [
        "              memory         dynamodb       dynamodb-mock",
        "session_keys  0 (1 skipped)  -              -",
        "claim         2              1 of 2 FAILED  1",
        "all           2 (1 skipped)  1 of 2 FAILED  1",
    ]


def test_nothing_that_was_run_is_no_table() -> None:
    assert counted(RESULTS[-2:], BACKENDS) == {}
