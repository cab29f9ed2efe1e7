"""The contract suite on the store of this folder: `pytest examples/own-store`."""

from __future__ import annotations

from pathlib import Path

import pytest
from file_store import FileStore

from hector.testing import MakeStore
from hector.testing.beside import drive_beside_reference
from hector.testing.contract import *  # noqa: F403


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """Makes stores that share a folder."""
    return lambda clock: FileStore(tmp_path, clock)


def test_it_does_as_the_reference_does(make_store: MakeStore) -> None:
    drive_beside_reference(make_store, same_each_time=True)
