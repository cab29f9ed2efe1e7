"""The contract suite of session stores, for stores of your own: what `hector.stores.base.Store` promises, as tests.

In a test module, with a fixture that makes your store under a clock which the tests move:

    import pytest
    from hector.testing.contract import *

    @pytest.fixture
    def make_store():
        return lambda clock: MyStore("shared place", clock=clock)

Every store that the fixture's function makes has to share what is stored, as two machines do that use one database.
`hector.testing.beside` drives a store beside the memory store, with random calls.
Needs the extra `testing` (pytest, pytest-asyncio, hypothesis).
"""

from hector.testing.bench import Bench, MakeStore
from hector.testing.clock import ManualClock

__all__ = ["Bench", "MakeStore", "ManualClock"]
