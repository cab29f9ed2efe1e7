"""One worker process: clients and their turns, followers that are cut and resume, cancels; until it is killed.

python -m tests.chaos.worker URL JOURNAL NAME SESSION…
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

from hector.errors import HectorError, InvalidRequest, NotFound, SessionBusy, StoreUnavailable, TaskNotCancelable
from hector.model import Message, Role, Task, TurnPolicy
from hector.stores.base import Idempotency, system_clock
from hector.turns import Asked
from tests.chaos.journal import Journal, entries
from tests.chaos.setting import AGENT, OWNER, STRANGER, services, short_leases

HOW = ("", "", "", "", "fail", "silent")
CLIENTS = 3


class Worker:
    def __init__(self, url: str, journal: Path, name: str, sessions: list[str]) -> None:
        self._journal = Journal(journal)
        self._services = services(url, self._journal)
        self._name = name
        self._sessions = sessions
        self._count = 0
        self._accepted: dict[str, Any] | None = None
        """The last message that was accepted with a key."""
        self._unanswered = _unanswered(journal, name)

    async def run(self) -> None:
        await self._set_up()
        self._journal.note("begun", name=self._name)
        loop = asyncio.get_running_loop()
        jobs = [self._client] * CLIENTS + [self._passer_by, self._canceler, self._visitor, self._blunderer]
        running = [asyncio.create_task(self._for_ever(job)) for job in jobs]
        stopped = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stopped.set)
        sweeping = asyncio.create_task(self._services.sweep.for_ever(2))
        await stopped.wait()
        for task in (*running, sweeping):
            task.cancel()
        await asyncio.gather(*running, sweeping, return_exceptions=True)
        await self._services.aclose()

    async def _set_up(self) -> None:
        """A worker that was stopped meanwhile may find its first requests timed out."""
        while True:
            try:
                await self._services.store.set_up()
                return
            except StoreUnavailable as error:
                self._journal.note("unavailable", error=str(error))
                await asyncio.sleep(0.2)

    async def _for_ever(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await job()
            except StoreUnavailable as error:
                self._journal.note("unavailable", error=str(error))
                await asyncio.sleep(0.2)
            except Exception:  # noqa: BLE001 - the checker counts them
                self._journal.note("error", trace=traceback.format_exc()[-2500:])
                await asyncio.sleep(0.2)
            await asyncio.sleep(random.uniform(0, 0.3))

    async def _client(self) -> None:
        """Say something, with a key or without, and read the answer. What had no answer before a kill is sent again."""
        if self._unanswered:
            message = self._unanswered.pop()
        else:
            self._count += 1
            said = f"{self._name}-{self._count}"
            message = {
                "said": said,
                "how": random.choice(HOW),
                "session": random.choice(self._sessions),
                "policy": random.choice([policy.value for policy in TurnPolicy]),
                "key": said if random.random() < 0.6 else None,
            }
        self._journal.note("sending", message=message)
        task = await self._send(message)
        if task is not None and message["key"] and random.random() < 0.3:
            await self._send(message)  # once more, as who is not sure
        if task is not None:
            await self._read(task)

    async def _send(self, message: dict[str, Any]) -> Task | None:
        key = message["key"]
        asked = Asked(
            idempotency=Idempotency(key, message["how"]) if key else None, policy=TurnPolicy(message["policy"])
        )
        content = Message.of(Role.USER, f"{message['said']} {message['how']}")
        try:
            task = await self._services.turns.start(OWNER, message["session"], content, asked=asked)
        except SessionBusy:
            self._journal.note("refused", said=message["said"])
            return None
        self._journal.note("accepted", said=message["said"], key=key, task=task.id, session=message["session"])
        if key:
            self._accepted = message
        return task

    async def _read(self, task: Task) -> None:
        """The log, cut and resumed now and then; sometimes not to its end."""
        cursor = 0
        while True:
            seen: list[list[Any]] = []
            cut = random.choice((1, 2, 5, None))
            batches = 0
            try:
                async with aclosing(self._services.follow.events(OWNER, task, after=cursor)) as log:
                    async for batch in log:
                        seen += [[event.number, event.kind.value, _fingerprint(task.id, event)] for event in batch]
                        batches += 1
                        if batches == cut and not (batch[-1].state and batch[-1].state.terminal):
                            break
                    else:
                        self._journal.note("read", task=task.id, after=cursor, seen=seen, ended=True)
                        return
            except BaseException:
                self._journal.note("read", task=task.id, after=cursor, seen=seen, ended=False)
                raise
            self._journal.note("read", task=task.id, after=cursor, seen=seen, ended=False)
            if random.random() < 0.2:
                return
            cursor = seen[-1][0] if seen else cursor
            task = await self._services.follow.task(OWNER, task.id)

    async def _some_task(self) -> Task | None:
        page = await self._services.store.list_tasks(OWNER, random.choice(self._sessions), limit=3)
        return random.choice(page.items) if page.items else None

    async def _passer_by(self) -> None:
        """Follow what somebody else has asked for."""
        task = await self._some_task()
        if task is not None:
            try:
                task = await self._services.follow.task(OWNER, task.id)
            except NotFound:
                return  # it was refused, and taken back
            await self._read(task)

    async def _canceler(self) -> None:
        await asyncio.sleep(random.uniform(0, 1))
        task = await self._some_task()
        if task is None:
            return
        self._journal.note("canceling", task=task.id)
        try:
            canceled = await self._services.turns.cancel(OWNER, task.id)
        except (TaskNotCancelable, NotFound):
            return
        self._journal.note("canceled", task=task.id, state=canceled.state.value)

    async def _visitor(self) -> None:
        """What is over, and what belongs to somebody else, is not found."""
        await asyncio.sleep(0.5)
        task = await self._some_task()
        others = [
            self._services.store.read_session(STRANGER, random.choice(self._sessions)),
            self._services.store.list_tasks(STRANGER, random.choice(self._sessions)),
        ]
        if task is not None:
            others += [self._services.follow.task(STRANGER, task.id), self._services.turns.cancel(STRANGER, task.id)]
        await self._not_found("foreign", *others)
        session = await self._services.turns.create_session(OWNER, AGENT, ttl=600)
        try:
            turn = await self._services.turns.start(OWNER, session.id, Message.of(Role.USER, f"{self._name}-visit"))
        except NotFound:
            return  # on a busy machine it has expired already
        await self._services.follow.ended(OWNER, turn)
        seen = session
        while True:
            try:
                seen = await self._services.store.read_session(OWNER, session.id)
            except NotFound:
                break
            if seen.expires_at <= system_clock() - 1:
                # The clock may have passed it between the read and this line: look once more.
                break
            await asyncio.sleep(max(0.0, (seen.expires_at - system_clock()) / 1000) + 0.001)
        if seen.open_task_id is None:
            await self._not_found(
                "expired",
                self._services.store.read_session(OWNER, session.id),
                self._services.store.read_history(OWNER, session.id, limit=5),
                self._services.follow.task(OWNER, turn.id),
                self._services.turns.start(OWNER, session.id, Message.of(Role.USER, "too late")),
            )

    async def _blunderer(self) -> None:
        """Requests that cannot be right: each is refused with the name of what is wrong, and leaves nothing."""
        await asyncio.sleep(random.uniform(0, 1))
        turns, session_id = self._services.turns, random.choice(self._sessions)
        blunder = Message.of(Role.USER, f"{self._name}-blunder")
        calls = [
            turns.start(OWNER, session_id, blunder, agent_id="somebody_else"),
            turns.create_session(OWNER, AGENT, ttl=10**15),
        ]
        if self._accepted is not None:
            key = Idempotency(self._accepted["key"], "another body")
            calls.append(turns.start(OWNER, self._accepted["session"], blunder, asked=Asked(key, TurnPolicy.ENQUEUE)))
        for call in calls:
            try:
                await call
            except (SessionBusy, StoreUnavailable):
                continue  # it was not looked at
            except InvalidRequest as error:
                self._journal.note("blunder refused", field=error.field)
            else:
                self._journal.note("blunder accepted", call=getattr(call, "__qualname__", ""))

    async def _not_found(self, what: str, *calls: Coroutine[Any, Any, Any]) -> None:
        for call in calls:
            name = getattr(call, "__qualname__", "")
            try:
                await call
            except NotFound:
                self._journal.note(f"{what} refused")
            except HectorError as error:
                self._journal.note("unavailable", error=str(error))
            else:
                self._journal.note(f"{what} seen", call=name)


def _fingerprint(task_id: str, event: Any) -> str:
    from hector.dialects.native import event_frame

    return hashlib.sha256(event_frame(task_id, event).encode()).hexdigest()[:16]


def _unanswered(journal: Path, name: str) -> list[dict[str, Any]]:
    """What this worker's predecessors sent with a key, and were killed before they had an answer."""
    prefix = f"{name.partition('.')[0]}."
    sent: dict[str, dict[str, Any]] = {}
    for entry in entries(journal):
        if entry["what"] == "sending" and entry["message"]["said"].startswith(prefix) and entry["message"]["key"]:
            sent[entry["message"]["said"]] = entry["message"]
        elif entry["what"] in ("accepted", "refused"):
            sent.pop(entry["said"], None)
    return list(sent.values())


if __name__ == "__main__":
    with short_leases():
        asyncio.run(Worker(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4:]).run())
