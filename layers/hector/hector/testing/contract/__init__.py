"""What every session store must do, whatever it stores in. `from hector.testing.contract import *` collects all of it.

A test is named for the property that it belongs to: `test_claim__slides_the_expiry` is in `claim.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from importlib import import_module

import pytest
import pytest_asyncio

PROPERTIES = (
    "sessions",
    "session_keys",
    "update",
    "delete",
    "submit",
    "claim",
    "append",
    "commit",
    "release",
    "cancel",
    "line",
    "events",
    "history",
    "summary",
    "tasks",
    "staging",
    "ownership",
    "expiry",
    "sweeping",
    "sizes",
)
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in PROPERTIES))

from hector.model import Principal  # noqa: E402
from hector.testing.bench import Bench, MakeStore  # noqa: E402
from hector.testing.clock import ManualClock  # noqa: E402

__all__ = ["bench"]


@pytest_asyncio.fixture
async def bench(make_store: MakeStore) -> AsyncIterator[Bench]:
    """A store, its clock, and a principal that nobody has met before."""
    async with Bench(make_store, ManualClock(), Principal(f"subject-{secrets.token_hex(8)}", "tenant")) as ready:
        yield ready


for _property in PROPERTIES:
    _module = import_module(f"{__name__}.{_property}")
    for _name, _test in list(vars(_module).items()):
        if _name.startswith("test_") and _test.__module__ == _module.__name__:
            _public = f"test_{_property}__{_name.removeprefix('test_')}"
            globals()[_public] = pytest.mark.asyncio(_test)
            __all__.append(_public)
