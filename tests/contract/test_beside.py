"""Every backend beside the reference: random calls come to the same."""

from __future__ import annotations

import os

import pytest

from hector.testing import MakeStore
from hector.testing.beside import drive_beside_reference
from tests.contract.table import BACKENDS

PROGRAMS = int(os.environ.get("HECTOR_PROGRAMS", "15"))


@pytest.mark.parametrize("make_store", [name for name in BACKENDS if name != "dynamodb-mock"], indirect=True)
def test_it_does_as_the_reference_does(make_store: MakeStore) -> None:
    drive_beside_reference(make_store, programs=PROGRAMS)
