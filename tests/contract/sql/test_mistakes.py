"""A mistake of the program is no engine that is away: it is told at once, and not tried again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, text

from hector.errors import HectorError, StoreUnavailable
from hector.model import TaskState, Usage
from hector.stores.base import Outcome
from hector.stores.sql import SQLStore
from hector.testing import Bench
from hector.testing.bench import nonce


class Strange:
    pass


async def test_a_value_that_no_column_takes_is_a_mistake(bench: Bench) -> None:
    lease = await bench.claimed(await bench.session())
    usage: Any = Usage(Decimal(5), 3)  # type: ignore[arg-type]
    with pytest.raises(HectorError, match="mistake in the program") as raised:
        await bench.store.commit(lease, Outcome(TaskState.COMPLETED, 0, usage=usage), nonce=nonce())
    assert not isinstance(raised.value, StoreUnavailable)
    assert raised.value.status == 500


async def test_a_value_that_no_driver_takes_is_a_mistake_and_not_tried_again(bench: Bench) -> None:
    assert isinstance(bench.store, SQLStore)
    calls = 0

    def work(connection: Connection) -> None:
        nonlocal calls
        calls += 1
        connection.execute(text("SELECT :value"), {"value": Strange()})

    with pytest.raises(HectorError, match="mistake in the program"):
        await bench.store._database.read(work)
    assert calls == 1
