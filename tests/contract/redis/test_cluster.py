"""A cluster whose slots move while sessions are in use."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from hector.model import Principal
from hector.stores.base import Idempotency
from hector.stores.redis import RedisStore
from hector.testing.bench import LEASE, Bench, done, nonce, pieces
from tests import redis_server
from tests.support import ManualClock


@pytest.fixture
def servers() -> Iterator[list[redis_server.Server]]:
    with redis_server.running_cluster() as ready:
        yield ready


class Move:
    """One slot, from the node that has it to another."""

    def __init__(self, servers: list[redis_server.Server], key: str) -> None:
        clients = [server.client() for server in servers]
        self.slot = clients[0].execute_command("CLUSTER KEYSLOT", key)
        home = redis_server.home_of(self.slot)
        self.source, self.target = clients[home], clients[home - 1]
        self.clients, self.port = clients, servers[home - 1].port
        self.ids = [client.execute_command("CLUSTER MYID") for client in (self.source, self.target)]

    def begin(self) -> None:
        self.target.execute_command("CLUSTER", "SETSLOT", self.slot, "IMPORTING", self.ids[0])
        self.source.execute_command("CLUSTER", "SETSLOT", self.slot, "MIGRATING", self.ids[1])

    def copy(self, *keys: str) -> None:
        keys = keys or tuple(self.source.execute_command("CLUSTER", "GETKEYSINSLOT", self.slot, 1000))
        self.source.execute_command("MIGRATE", "127.0.0.1", self.port, "", 0, 5000, "KEYS", *keys)

    def end(self) -> None:
        for client in (self.target, self.source, *self.clients):
            client.execute_command("CLUSTER", "SETSLOT", self.slot, "NODE", self.ids[1])


async def test_a_session_goes_on_while_its_slot_moves(servers: list[redis_server.Server]) -> None:
    url = f"{servers[0].url}?cluster=true"
    async with Bench(lambda clock: RedisStore(url, clock=clock), ManualClock(), Principal("somebody")) as bench:
        session = await bench.session(metadata={"a": 1})
        before = await bench.turn(session)
        lease = await bench.claimed(session)
        lease = await bench.store.append_events(lease, pieces(1, 2), extend=LEASE)
        move = Move(servers, f"hector:{{{session.id}}}")
        move.begin()
        lease = await bench.store.append_events(lease, pieces(3, 4), extend=LEASE)
        move.copy()
        move.end()
        lease = await bench.store.append_events(lease, pieces(5, 6), extend=LEASE)
        assert await bench.numbers(lease.task_id) == [1, 2, 3, 4, 5, 6]
        task = await bench.ended(lease, done(6))
        for store in (bench.store, bench.another()):
            assert await store.read_history(bench.principal, session.id, limit=5) == [before, task]
        assert [found.id for found in (await bench.store.list_sessions(bench.principal)).items] == [session.id]


@pytest.mark.parametrize("moved", ["", ":log:{task}", ":task:{task}", ":tasks", ":turns", ":task:{earlier}"])
async def test_half_a_session_is_not_taken_for_a_whole_one(servers: list[redis_server.Server], moved: str) -> None:
    """Some of its keys have been moved, and others not yet: calls wait until all have, whatever they ask for."""
    url = f"{servers[0].url}?cluster=true"
    async with Bench(lambda clock: RedisStore(url, clock=clock), ManualClock(), Principal("somebody")) as bench:
        session, key = await bench.session(), Idempotency("key", "fingerprint")
        earlier = (await bench.store.submit(bench.task(session), nonce=nonce(), idempotency=key)).task
        earlier = await bench.ended(await bench.claim(earlier))
        lease = await bench.claimed(session)
        lease = await bench.store.append_events(lease, pieces(1, 2), extend=LEASE)
        hot = f"hector:{{{session.id}}}"
        move = Move(servers, hot)
        move.begin()
        move.copy(hot + moved.format(task=lease.task_id[-19:], earlier=earlier.id[-19:]))
        again = bench.task(session)
        calls: list[Coroutine[Any, Any, Any]] = [
            bench.store.append_events(lease, pieces(3, 4), extend=LEASE),
            bench.store.read_history(bench.principal, session.id, limit=5),
            bench.store.list_tasks(bench.principal, session.id),
            bench.store.read_task(bench.principal, earlier.id),
            bench.store.submit(again, nonce=nonce(), idempotency=key),
            bench.store.submit(bench.task(session), nonce=nonce()),
        ]
        waiting = asyncio.gather(*calls)
        await asyncio.sleep(0.3)
        move.copy()
        move.end()
        _, history, tasks, read, old, new = await waiting
        assert (history, read, old.task) == ([earlier], earlier, earlier)
        assert (old.created, new.created) == (False, True)
        assert {lease.task_id, earlier.id} <= {task.id for task in tasks.items}
        assert await bench.numbers(lease.task_id) == [1, 2, 3, 4]
        task = await bench.ended(lease, done(4))
        assert await bench.store.read_history(bench.principal, session.id, limit=5) == [earlier, task]


async def test_a_node_that_is_restarted_is_waited_for(servers: list[redis_server.Server]) -> None:
    url = f"{servers[0].url}?cluster=true"
    async with Bench(lambda clock: RedisStore(url, clock=clock), ManualClock(), Principal("somebody")) as bench:
        sessions = [await bench.session() for _ in range(12)]
        for server in servers:
            server.kill()
            server.start()
            for session in sessions:
                await bench.turn(session)
        for session in sessions:
            assert (await bench.store.read_session(bench.principal, session.id)).turns == len(servers)
