"""Every backend beside the reference: random calls come to the same."""

from __future__ import annotations

import os

from hector.testing import MakeStore
from hector.testing.beside import drive_beside_reference

PROGRAMS = int(os.environ.get("HECTOR_PROGRAMS", "15"))


def test_it_does_as_the_reference_does(make_store: MakeStore) -> None:
    drive_beside_reference(make_store, programs=PROGRAMS)
