"""The engine: its scripts may be flushed, it may be old, full, closed to us, or configured to lose sessions."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator

import pytest

from hector.errors import StoreUnavailable
from hector.stores.base import Check
from hector.stores.redis import RedisStore, connection
from hector.testing.bench import LEASE, Bench, pieces
from tests import redis_server
from tests.contract.redis.engine import Engine

SECRET = "p%40ss-secret-w%C3%B6rd"
PLAIN = "p@ss-secret-wörd"


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE_SECONDS", 0.2)


@pytest.fixture
def server() -> Iterator[redis_server.Server]:
    """One that a test may spoil."""
    with redis_server.running() as ready:
        yield ready


async def checked(url: str) -> dict[str, Check]:
    store = RedisStore(url)
    try:
        return {check.name: check for check in await store.check()}
    finally:
        await store.aclose()


async def refused(url: str) -> str:
    """The message with which a call fails; the password is nowhere in what a log would show."""
    store = RedisStore(url)
    try:
        with pytest.raises(StoreUnavailable) as failure:
            await store.read_owner("session")
    finally:
        await store.aclose()
    shown = "".join(traceback.format_exception(failure.value)) + repr(store._connection.place)
    assert not any(secret in shown for secret in (SECRET, PLAIN, "secret"))
    return failure.value.message


async def test_flushed_scripts_are_sent_again(everywhere: Bench) -> None:
    lease = await everywhere.claimed(await everywhere.session())
    flush = everywhere.store._connection.call  # type: ignore[attr-defined]
    for number in range(1, 4):
        await flush("SCRIPT FLUSH")
        lease = await everywhere.store.append_events(lease, pieces(number, number), extend=LEASE)
    await flush("SCRIPT FLUSH")
    assert (await everywhere.ended(lease)).turn == 1
    assert await everywhere.numbers(lease.task_id) == [1, 2, 3]


async def test_an_engine_as_it_should_be(redis_url: str) -> None:
    checks = await checked(redis_url)
    assert all(check.ok for check in checks.values()), checks
    assert list(checks) == ["connection", "version", "eviction", "persistence", "scripts"]
    assert "Redis 7." in checks["version"].detail
    assert checks["persistence"].detail == "The append-only file is on."


async def test_a_cluster_as_it_should_be(redis_cluster_url: str) -> None:
    checks = await checked(redis_cluster_url)
    assert all(check.ok for check in checks.values()), checks
    assert checks["cluster"].detail == "The cluster's state is ok."


async def test_valkey_is_known_by_its_name(valkey_url: str) -> None:
    assert "Valkey" in (await checked(valkey_url))["version"].detail


async def test_an_engine_that_would_drop_sessions(
    server: redis_server.Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.client().config_set("maxmemory-policy", "allkeys-lru")
    server.client().config_set("appendonly", "no")
    checks = await checked(server.url)
    assert not checks["eviction"].ok
    assert "allkeys-lru" in checks["eviction"].detail
    assert "set maxmemory-policy noeviction" in checks["eviction"].detail
    assert (checks["persistence"].ok, "no append-only file" in checks["persistence"].detail) == (True, True)
    store = RedisStore(server.url)
    with caplog.at_level(logging.WARNING):
        await store.set_up()
    await store.aclose()
    assert [record.message for record in caplog.records] == [f"session store: {checks['eviction'].detail}"]


async def test_a_broken_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    with redis_server.running("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no") as half:
        half.client().execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8000)
        checks = await checked(f"{half.url}?cluster=true")
    assert not all(check.ok for check in checks.values())


async def test_an_old_engine_is_refused(redis: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hector.stores.redis.engine.OLDEST", (99, 0))
    with pytest.raises(StoreUnavailable, match=r"is Redis 7\..*is needed"):
        await redis.store.set_up()


async def test_a_full_engine_writes_nothing_by_halves(redis: Bench, engine: Engine) -> None:
    with redis_server.running() as server:
        bench = Bench(lambda clock: RedisStore(server.url, clock=clock), redis.clock, redis.principal)
        async with bench:
            session = await bench.session()
            lease = await bench.claimed(session)
            client = server.client()
            before = {key: client.dump(key) for key in client.keys("*") if ":wake" not in key}
            client.config_set("maxmemory", 1)
            for call in (
                bench.submitted(session),
                bench.store.append_events(lease, pieces(1, 2), extend=LEASE),
                bench.ended(lease),
            ):
                with pytest.raises(StoreUnavailable, match="is full: raise its maxmemory"):
                    await call
            assert {key: client.dump(key) for key in client.keys("*")} == before
            client.config_set("maxmemory", 0)
            assert (await bench.ended(lease)).turn == 1


async def test_passwords_open_and_never_leak(server: redis_server.Server) -> None:
    server.client().acl_setuser("hector", enabled=True, passwords=[f"+{PLAIN}"], keys=["*"], categories=["+@all"])
    server.client().config_set("requirepass", PLAIN)
    place = f"127.0.0.1:{server.port}"
    for login in (f":{SECRET}", f"hector:{SECRET}"):
        assert all(check.ok for check in (await checked(f"redis://{login}@{place}")).values())
    assert "asks for a user and password" in await refused(f"redis://{place}")
    assert "does not take this user and password" in await refused(f"redis://hector:{SECRET}-wrong@{place}")
    server.process.kill()  # type: ignore[union-attr]
    server.process.wait()  # type: ignore[union-attr]
    message = await refused(f"redis://hector:{SECRET}@{place}")
    assert message.startswith(f"redis://{place} cannot be reached")


async def test_the_smallest_rights_that_do(server: redis_server.Server) -> None:
    """What the message about missing rights recommends."""
    client = server.client()
    client.execute_command("ACL", "SETUSER", "least", "on", "nopass", "~hector:*", "+@all", "-@dangerous", "+info")
    client.execute_command("ACL", "SETUSER", "none", "on", "nopass", "~hector:*", "+ping", "+info", "+client")
    url = f"redis://{{}}:x@127.0.0.1:{server.port}"
    assert all(check.ok for check in (await checked(url.format("least"))).values())
    assert not (await checked(url.format("none")))["permissions"].ok
    message = (await checked(url.format("none")))["permissions"].detail
    assert "does not let this user do what a session store does" in message


async def test_cluster_mode_has_to_be_said_and_not_to_be_made_up(redis_url: str, redis_cluster_url: str) -> None:
    assert "add ?cluster=true" in await refused(redis_cluster_url.partition("?")[0])
    assert "take cluster=true out" in await refused(f"{redis_url}?cluster=true")


async def test_nobody_listens() -> None:
    port = redis_server.free_port()
    for suffix in ("", "?cluster=true"):
        assert "cannot be reached" in await refused(f"redis://:{SECRET}@127.0.0.1:{port}{suffix}")
        assert (await checked(f"redis://127.0.0.1:{port}{suffix}"))["connection"].ok is False


async def test_a_replica_is_no_place_to_write(server: redis_server.Server, redis_url: str) -> None:
    server.client().execute_command("REPLICAOF", "127.0.0.1", "1")
    server.client().config_set("replica-serve-stale-data", "yes")
    store = RedisStore(server.url)
    with pytest.raises(StoreUnavailable, match="is a replica"):
        await store._connection.run("register", ["a", "b"], 1, "session", "listing", 1, 1)
    await store.aclose()
