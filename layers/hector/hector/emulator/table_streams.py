"""A table's stream: every change of an item, in order, to a function that filters them. Read from DynamoDB Local.

https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
"""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from hector.emulator.filters import passes
from hector.emulator.model import REGION, TableSource
from hector.emulator.pool import Pool, Throttled
from hector.emulator.queues import Queue
from hector.emulator.sources import failed_items

_POLL = 0.25  # seconds between looks at a shard that has nothing new; Lambda looks four times a second, too
_WORST_WAIT = 60.0  # seconds between attempts at a batch that fails again and again

Record = dict[str, Any]


class TableStream:
    """Delivers one mapping. ``client`` is boto3's for ``dynamodbstreams``; its calls block, so they run in threads."""

    def __init__(self, source: TableSource, client: Any, pool: Pool, failures: Queue | None) -> None:
        self._source, self._client, self._pool, self._failures = source, client, pool, failures
        self._shards: dict[str, asyncio.Task[None]] = {}

    async def find(self) -> None:
        """Finds the stream and its place in it: what happens to the table from now on will be delivered."""
        found = await self._call("list_streams", TableName=self._source.table)
        if not found["Streams"]:
            raise LookupError(f"{self._source.table} has no stream: its table was made without one; delete that table.")
        self._arn = found["Streams"][-1]["StreamArn"]
        kind = "TRIM_HORIZON" if self._source.from_start else "LATEST"
        self._places = {shard: await self._iterator(shard, kind) for shard in await self._list()}

    async def deliver(self) -> None:
        """Delivers for ever."""
        async with asyncio.TaskGroup() as shards:
            while True:
                for shard in await self._list():
                    if shard not in self._shards:
                        place = self._places.get(shard) or await self._iterator(shard, "TRIM_HORIZON")
                        self._shards[shard] = shards.create_task(self._read(place))
                await asyncio.sleep(1)

    async def _list(self) -> list[str]:
        described = await self._call("describe_stream", StreamArn=self._arn)
        return [shard["ShardId"] for shard in described["StreamDescription"]["Shards"]]

    async def _iterator(self, shard: str, kind: str) -> str:
        made = await self._call("get_shard_iterator", StreamArn=self._arn, ShardId=shard, ShardIteratorType=kind)
        return str(made["ShardIterator"])

    async def _read(self, place: str | None) -> None:
        """Delivers a shard until it is closed."""
        while place is not None:
            answer = await self._call("get_records", ShardIterator=place, Limit=1000)
            records = [_shown(record, self._arn) for record in answer["Records"]]
            wanted = [record for record in records if passes(record, self._source.filters)]
            for start in range(0, len(wanted), self._source.batch):
                await self._deliver(wanted[start : start + self._source.batch])
            place = answer.get("NextShardIterator")
            if not records:
                await asyncio.sleep(_POLL)

    async def _deliver(self, batch: list[Record]) -> None:
        """Invokes the function until it has taken the batch, or the attempts are over."""
        attempt = 0
        while batch:
            batch, failed = await self._attempt(batch)
            if not failed:
                return
            if self._source.retries is not None and attempt >= self._source.retries:
                self._give_up(batch)
                return
            attempt += 1
            if self._source.bisect and len(batch) > 1:
                middle = len(batch) // 2
                await self._deliver(batch[:middle])
                await self._deliver(batch[middle:])
                return
            await asyncio.sleep(min(0.1 * 2**attempt, _WORST_WAIT))

    async def _attempt(self, batch: list[Record]) -> tuple[list[Record], bool]:
        """What is left of the batch, and whether it failed: the first failed item and all that follow it."""
        try:
            invocation = await self._pool.invoke(self._source.function, {"Records": batch})
        except Throttled:
            return batch, True
        content = await invocation.read()
        ids = [record["dynamodb"]["SequenceNumber"] for record in batch]
        failed = failed_items(invocation, content, ids, item_failures=self._source.item_failures)
        first = next((index for index, one in enumerate(ids) if one in failed), len(batch))
        return batch[first:], bool(failed)

    def _give_up(self, batch: list[Record]) -> None:
        numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
        text = f"{self._source.function} failed {len(batch)} change(s) of {self._source.table}, from {numbers[0]} on"
        print(f"{text}: they are passed over", file=sys.stderr)
        if self._failures is not None:
            self._failures.send(
                f'{{"streamArn":"{self._arn}","startSequenceNumber":"{numbers[0]}","batchSize":{len(batch)}}}'
            )

    async def _call(self, operation: str, **parameters: Any) -> Any:
        call: Callable[..., Any] = getattr(self._client, operation)
        return await asyncio.to_thread(call, **parameters)


def _shown(record: Mapping[str, Any], stream: str) -> Record:
    """A record as Lambda hands it over: JSON, with bytes as base64 and times as seconds."""
    shown: Record = _plain(record)
    return {**shown, "awsRegion": REGION, "eventSourceARN": stream}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.timestamp()
    return value
