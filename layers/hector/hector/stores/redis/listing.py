"""A listing by activity, newest first: a sorted set of sessions, read from a place on."""

from __future__ import annotations

from collections.abc import AsyncIterator

from hector.model import Millis
from hector.stores.cursors import check_sessions_cursor
from hector.stores.redis.connection import Connection


async def newest(
    connection: Connection, listing: str, cursor: str | None, page: int
) -> AsyncIterator[list[tuple[Millis, str]]]:
    """Activity and id, some at a time, after a cursor, which is an activity key. Raises InvalidRequest for another."""
    place: tuple[Millis, str] | None = None
    if cursor is not None:
        at, _, id_ = check_sessions_cursor(cursor).partition(".")
        place = int(at), id_
    count = page
    while True:
        highest = "+inf" if place is None else place[0]
        command = ("ZRANGE", listing, highest, "-inf", "BYSCORE", "REV", "LIMIT", 0, count, "WITHSCORES")
        values = await connection.call(*command)
        entries = [(int(float(score)), id_) for id_, score in zip(values[::2], values[1::2], strict=True)]
        fresh = [entry for entry in entries if place is None or entry < place]
        if fresh:
            yield fresh
            place = fresh[-1]
        if len(entries) < count:
            return
        # Many that were active in the same millisecond: look further.
        count = page if fresh else count * 2
