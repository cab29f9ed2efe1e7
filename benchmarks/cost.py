"""What 1,000 turns cost on AWS, beyond the model: measured units times list prices.

DynamoDB's write units are counted on DynamoDB Local by AWS's own size rules (tests/contract/dynamodb/units.py), its
read units as the engine reports them. Needs java.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.report import Row

# US East (N. Virginia), US dollars, as on AWS's public price pages in November 2025; no free tier, no savings plan.
# These are no measurements: look them up for your region before you rely on them.
PER_WRITE_UNIT = 0.625e-6  # DynamoDB, on demand
PER_READ_UNIT = 0.125e-6
PER_GB_SECOND = 0.0000133334  # Lambda, arm64
PER_INVOCATION = 0.20e-6
PER_REQUEST = 3.50e-6  # API Gateway, REST; a stream counts once for every 10 MB
PER_LOG_BYTE = 0.50 / 1e9  # CloudWatch, ingested

MEMORY_GB = 1.0
LOG_BYTES = 2_500  # Lambda's three lines, ours about the turn, the metrics', and the access log's
PROMPT = "count to 40 every 250 ms"


def measure(*, quick: bool = False) -> list[Row]:
    """`quick` changes nothing: units are counted, not timed."""
    from tests import dynamodb_local

    with dynamodb_local.running() as url:
        writes, reads, erased, seconds = asyncio.run(_turn(url))
    costs = {
        "DynamoDB": (writes + erased) * PER_WRITE_UNIT + reads * PER_READ_UNIT,
        "Lambda": seconds * MEMORY_GB * PER_GB_SECOND + PER_INVOCATION,
        "API Gateway": PER_REQUEST,
        "CloudWatch Logs": LOG_BYTES * PER_LOG_BYTE,
    }
    turn = f"a streamed turn of {seconds:.0f} s"
    return [
        Row(f"DynamoDB write units of {turn}", "units", writes, note=f"{PROMPT!r}, the sixth turn of a session"),
        Row(f"DynamoDB read units of {turn}", "units", reads),
        Row("DynamoDB write units of erasing it, when its session has expired", "units", erased),
        Row("1,000 of them, without the model", "USD", 1000 * sum(costs.values()),
            note=", ".join(f"{name} {1000 * cost:.3f}" for name, cost in costs.items())),
    ]  # fmt: skip


async def _turn(url: str) -> tuple[float, float, float, float]:
    """Write units, read units, units of erasing it and seconds of one turn, in a session that has had some."""
    from tests.contract.dynamodb.units import recorded

    from hector import config
    from hector.model import Message, Principal, Role
    from hector.stores.dynamodb import DynamoDBStore
    from hector.wiring import build

    store = DynamoDBStore("cost", endpoint_url=url)
    await store.set_up()
    services = build(config.load(), store=store)
    alice = Principal("alice")
    session = await services.turns.create_session(alice, "my_agent")
    for _ in range(5):
        task = await services.turns.start(alice, session.id, Message.of(Role.USER, "My name is Alice"))
        await services.follow.ended(alice, task)
        await services.turns.drain()
    before = _to_erase(store, session.id)
    with recorded(store) as writes, _read_units(store) as reads:
        began = time.monotonic()
        task = await services.turns.start(alice, session.id, Message.of(Role.USER, PROMPT))
        async for _ in services.follow.events(alice, task):
            pass
        await services.turns.drain()
        seconds = time.monotonic() - began
    erased = _to_erase(store, session.id) - before
    await services.aclose()
    return sum(write.counted for write in writes), sum(reads), erased, seconds


def _to_erase(store: Any, session_id: str) -> int:
    """Write units of deleting what a session has, but for its hot record: that goes by its TTL, which costs nothing."""
    from tests.contract.dynamodb.units import units
    from tests.contract.dynamodb.wire import client_of

    items = client_of(store).query(
        TableName="cost",
        KeyConditionExpression="pk = :session",
        ExpressionAttributeValues={":session": {"S": session_id}},
    )["Items"]
    return sum(units(item, {}) for item in items if item["sk"]["S"] != "hot")


@contextmanager
def _read_units(store: Any) -> Iterator[list[float]]:
    from tests.contract.dynamodb.wire import client_of

    client, units = client_of(store), list[float]()
    call = client._make_api_call

    def watched(operation: str, parameters: dict[str, Any]) -> Any:
        # What the count of writes reads, to compare before and after, goes another way and is not seen here.
        if operation not in ("GetItem", "Query", "BatchGetItem"):
            return call(operation, parameters)
        answer = call(operation, parameters | {"ReturnConsumedCapacity": "TOTAL"})
        consumed = answer["ConsumedCapacity"]
        units.extend(one["CapacityUnits"] for one in (consumed if isinstance(consumed, list) else [consumed]))
        return answer

    client._make_api_call = watched
    try:
        yield units
    finally:
        client._make_api_call = call
