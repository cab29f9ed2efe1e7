"""The contract suite on the store of this folder: `pytest examples/own-store`."""

from __future__ import annotations

from pathlib import Path

import pytest
from file_store import FileStore

from hector.testing import MakeStore
from hector.testing.contract import *  # noqa: F403


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """Makes stores that share a folder."""
    return lambda clock: FileStore(tmp_path, clock)
