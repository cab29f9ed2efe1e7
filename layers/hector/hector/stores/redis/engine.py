"""What the store needs of its engine, and how the engine is set up."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

from hector.errors import StoreUnavailable
from hector.stores.base import Check
from hector.stores.redis.records import Records

logger = logging.getLogger(__name__)

OLDEST = (7, 0)
Info = dict[str, Any]


class Engine(Records):
    async def set_up(self) -> None:
        """Nothing is made; what is not as it should be is logged. Raises StoreUnavailable for an old engine."""
        for check in [check async for check in self._checks()]:
            if check.name == "version" and not check.ok:
                raise StoreUnavailable(check.detail)
            if not check.ok:
                logger.warning("session store: %s", check.detail)

    async def check(self) -> list[Check]:
        checks: list[Check] = []
        try:
            async for check in self._checks():
                checks.append(check)
        except StoreUnavailable as error:
            checks.append(Check("permissions" if checks else "connection", False, error.message))
        return checks

    async def _checks(self) -> AsyncIterator[Check]:
        shown = self._connection.place.shown
        info = await self._info("server")
        yield Check("connection", True, f"{shown} answers.")
        yield _version(info, shown)
        yield _eviction(await self._info("memory"), shown)
        yield _persistence(await self._info("persistence"))
        if self._connection.place.cluster:
            state = await self._connection.call("CLUSTER INFO")
            ok = state.get("cluster_state") == "ok"
            yield Check("cluster", ok, f"The cluster's state is {state.get('cluster_state')}." + _unless(ok, _COVERED))
        await self._connection.run("events", [self._keys.hot("check")], self._now(), "", "", 0, 1)
        yield Check("scripts", True, "Scripts may run, and read.")

    async def _info(self, section: str) -> Info:
        """Of the engine; in a cluster, of the node that answers first."""
        answer: Info = await self._connection.call("INFO", section)
        if self._connection.place.cluster and answer and all(isinstance(value, dict) for value in answer.values()):
            return next(iter(answer.values()))
        return answer


_COVERED = " All slots have to be covered: see CLUSTER NODES."


def _version(info: Info, shown: str) -> Check:
    name = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version") or "0.0")
    major, minor = (int(part) for part in version.split(".")[:2])
    ok = (major, minor) >= OLDEST
    return Check("version", ok, f"{shown} is {name} {version}." + _unless(ok, " Redis 7.0 or Valkey 7.2 is needed."))


def _eviction(info: Info, shown: str) -> Check:
    policy = info.get("maxmemory_policy", "noeviction")
    ok = policy == "noeviction"
    advice = " Under pressure the engine would drop sessions that are in use: set maxmemory-policy noeviction."
    return Check("eviction", ok, f"{shown} has maxmemory-policy {policy}." + _unless(ok, advice))


def _persistence(info: Info) -> Check:
    if info.get("aof_enabled"):
        failed = info.get("aof_last_write_status", "ok") != "ok"
        advice = " Its last write failed: see the engine's log."
        return Check("persistence", not failed, "The append-only file is on." + _unless(not failed, advice))
    failed = info.get("rdb_last_bgsave_status", "ok") != "ok"
    advice = " The last one failed: see the engine's log."
    return Check(
        "persistence",
        not failed,
        "There is no append-only file: what came after the last snapshot is lost when the engine ends."
        + _unless(not failed, advice),
    )


def _unless(ok: bool, advice: str) -> str:
    return "" if ok else advice
