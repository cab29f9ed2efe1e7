"""Every backend beside the reference: random calls come to the same.

`make test` makes the same calls at each run, so that it fails for what has changed; `make chaos` makes new ones.
"""

from __future__ import annotations

import os

import pytest

from hector.testing import MakeStore
from hector.testing.beside import drive_beside_reference
from tests.contract.table import BACKENDS

SAME_PROGRAMS = 20


@pytest.mark.parametrize("make_store", [name for name in BACKENDS if name != "dynamodb-mock"], indirect=True)
def test_it_does_as_the_reference_does(make_store: MakeStore) -> None:
    if new := os.environ.get("HECTOR_PROGRAMS"):
        drive_beside_reference(make_store, programs=int(new))
    else:
        drive_beside_reference(make_store, programs=SAME_PROGRAMS, same_each_time=True)
