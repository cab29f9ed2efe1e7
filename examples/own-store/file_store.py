"""A session store that keeps every session in a file of its own, as JSON: an example of a store written by yourself.

It suits one machine with some processes. What is to happen is left to the reference, the memory store: each call reads
the session's file into one, asks that, and writes the file anew if anything has changed. The same recipe suits any
place that keeps a document and can replace it at once, or only if nobody else has meanwhile.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from hector.errors import StoreUnavailable
from hector.model import Event, Millis, Principal, Session, Summary, Task, TaskState, is_id, session_id_of
from hector.stores.base import (
    Check,
    Clock,
    Idempotency,
    Lease,
    LogPage,
    Outcome,
    Page,
    PastTask,
    StagedTurn,
    Submitted,
    Unfinished,
    system_clock,
)
from hector.stores.memory import MemoryStore
from hector.stores.record import Record

RECORD = TypeAdapter(tuple[Record], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))
KEY = TypeAdapter(tuple[str, str])
"""What a session's idempotency key stands for: the fingerprint of a body, and the session."""


class FileStore:
    def __init__(self, folder: str | Path, clock: Clock = system_clock) -> None:
        self._folder = Path(folder)
        self._sessions = self._folder / "sessions"
        self._staged = self._folder / "staged"
        self._keys = self._folder / "keys"
        self._now = clock

    def open(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    async def set_up(self) -> None:
        for folder in (self._sessions, self._staged, self._keys):
            folder.mkdir(parents=True, exist_ok=True)

    async def check(self) -> list[Check]:
        ready = all(folder.is_dir() for folder in (self._sessions, self._staged, self._keys))
        writable = ready and os.access(self._folder, os.W_OK)
        return [
            Check("folder", ready, f"{self._folder}" if ready else f"{self._folder} is not set up: call set_up."),
            Check("writable", writable, "yes" if writable else f"{self._folder} cannot be written."),
        ]

    async def create_session(self, session: Session, *, idempotency: Idempotency | None = None) -> Session:
        key = (session.principal, idempotency.key) if idempotency else None
        with self._memory(session.id, key=key) as memory:
            return await memory.create_session(session, idempotency=idempotency)

    async def read_session(self, principal: Principal, session_id: str) -> Session:
        with self._memory(session_id) as memory:
            return await memory.read_session(principal, session_id)

    async def list_sessions(
        self, principal: Principal, *, agent_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Session]:
        with self._memory(*self._all()) as memory:
            return await memory.list_sessions(principal, agent_id=agent_id, cursor=cursor, limit=limit)

    async def update_session(
        self,
        principal: Principal,
        session_id: str,
        *,
        ttl: Millis | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Session:
        with self._memory(session_id) as memory:
            return await memory.update_session(principal, session_id, ttl=ttl, metadata=metadata)

    async def delete_session(self, principal: Principal, session_id: str) -> None:
        with self._memory(session_id) as memory:
            await memory.delete_session(principal, session_id)

    async def stage_turns(
        self, session: Session, turns: Sequence[StagedTurn], *, summary: Summary | None = None
    ) -> None:
        with self._memory(session.id) as memory:
            await memory.stage_turns(session, turns, summary=summary)

    async def unstage(self, session: Session) -> None:
        with self._memory(session.id) as memory:
            await memory.unstage(session)

    async def submit(self, task: Task, *, nonce: str, idempotency: Idempotency | None = None) -> Submitted:
        with self._memory(task.session_id) as memory:
            return await memory.submit(task, nonce=nonce, idempotency=idempotency)

    async def discard(self, task: Task, *, nonce: str) -> None:
        with self._memory(task.session_id) as memory:
            await memory.discard(task, nonce=nonce)

    async def claim(
        self, principal: Principal, session_id: str, task_id: str, *, lease: Millis, nonce: str, takeover: bool = True
    ) -> Lease:
        with self._memory(session_id) as memory:
            return await memory.claim(principal, session_id, task_id, lease=lease, nonce=nonce, takeover=takeover)

    async def line_up(self, principal: Principal, task_id: str, *, most: int, interrupt: bool = False) -> Session:
        with self._memory(session_id_of(task_id)) as memory:
            return await memory.line_up(principal, task_id, most=most, interrupt=interrupt)

    async def leave_line(self, principal: Principal, task_id: str, outcome: Outcome, *, nonce: str) -> Task:
        with self._memory(session_id_of(task_id)) as memory:
            return await memory.leave_line(principal, task_id, outcome, nonce=nonce)

    async def append_events(self, lease: Lease, events: Sequence[Event], *, extend: Millis) -> Lease:
        with self._memory(lease.session.id) as memory:
            return await memory.append_events(lease, events, extend=extend)

    async def check_lease(self, lease: Lease) -> Lease:
        with self._memory(lease.session.id) as memory:
            return await memory.check_lease(lease)

    async def commit(self, lease: Lease, outcome: Outcome, *, nonce: str) -> Task:
        with self._memory(lease.session.id) as memory:
            return await memory.commit(lease, outcome, nonce=nonce)

    async def release(self, lease: Lease, *, next_in_line: bool = False) -> None:
        with self._memory(lease.session.id) as memory:
            await memory.release(lease, next_in_line=next_in_line)

    async def read_history(self, principal: Principal, session_id: str, *, limit: int) -> list[Task]:
        with self._memory(session_id) as memory:
            return await memory.read_history(principal, session_id, limit=limit)

    async def read_task(self, principal: Principal, task_id: str) -> Task:
        with self._memory(session_id_of(task_id)) as memory:
            return await memory.read_task(principal, task_id)

    async def list_tasks(
        self,
        principal: Principal,
        session_id: str,
        *,
        state: TaskState | None = None,
        oldest_first: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Task]:
        with self._memory(session_id) as memory:
            return await memory.list_tasks(
                principal, session_id, state=state, oldest_first=oldest_first, cursor=cursor, limit=limit
            )

    async def read_events(
        self, principal: Principal, task_id: str, *, after: int, limit: int = 1000, wait: Millis = 0
    ) -> LogPage:
        with self._memory(session_id_of(task_id)) as memory:
            return await memory.read_events(principal, task_id, after=after, limit=limit)

    async def read_past(self, principal: Principal, task_id: str, *, after: int, limit: int = 1000) -> PastTask:
        with self._memory(session_id_of(task_id) or "") as memory:
            return await memory.read_past(principal, task_id, after=after, limit=limit)

    async def request_cancel(self, principal: Principal, task_id: str) -> Task:
        with self._memory(session_id_of(task_id)) as memory:
            return await memory.request_cancel(principal, task_id)

    async def read_summary(self, principal: Principal, session_id: str) -> Summary | None:
        with self._memory(session_id) as memory:
            return await memory.read_summary(principal, session_id)

    async def save_summary(self, lease: Lease, summary: Summary) -> None:
        with self._memory(lease.session.id) as memory:
            await memory.save_summary(lease, summary)

    async def read_owner(self, session_id: str) -> Principal:
        with self._memory(session_id) as memory:
            return await memory.read_owner(session_id)

    async def list_every_session(self, *, cursor: str | None = None, limit: int = 100) -> Page[Session]:
        with self._memory(*self._all()) as memory:
            return await memory.list_every_session(cursor=cursor, limit=limit)

    async def list_unfinished(self, *, cursor: str | None = None, limit: int = 100) -> Page[Unfinished]:
        with self._memory(*self._all()) as memory:
            return await memory.list_unfinished(cursor=cursor, limit=limit)

    async def clean_up(self) -> int:
        with self._memory(*self._all()) as memory:
            return await memory.clean_up()

    @contextmanager
    def _memory(self, *session_ids: str | None, key: tuple[Principal, str] | None = None) -> Iterator[MemoryStore]:
        """A memory store that holds these sessions, and what `key` stands for; what changes in it is kept.

        Nobody else reads or writes meanwhile: one lock for all is enough here, where nothing waits for a network.
        """
        with self._locked():
            memory = MemoryStore(self._now)
            key_file = self._keys / f"{hashlib.sha256(repr(key).encode()).hexdigest()}.json"
            if key is not None and (kept := _read(key_file)) is not None:
                memory.keys[key] = KEY.validate_json(kept)
                session_ids = (*session_ids, memory.keys[key][1])
            before: dict[Path, bytes | None] = {}
            for id_ in {id_ for id_ in session_ids if id_ and is_id(id_)}:
                for folder, records in ((self._sessions, memory.records), (self._staged, memory.staged)):
                    before[path] = kept = _read(path := folder / f"{id_}.json")
                    if kept is not None:
                        [records[id_]] = RECORD.validate_json(kept)
            yield memory
            after = {self._sessions / f"{id_}.json": record for id_, record in memory.records.items()}
            after |= {self._staged / f"{id_}.json": record for id_, record in memory.staged.items()}
            for path in before | after:
                _keep(path, RECORD.dump_json((after[path],)) if path in after else None, before.get(path))
            if key is not None:
                _keep(key_file, KEY.dump_json(memory.keys[key]))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            lock = open(self._folder / "lock", "w")  # noqa: SIM115 - closed below
        except OSError as error:
            raise StoreUnavailable(f"{self._folder} cannot be used: {error.strerror}. Call set_up.") from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _all(self) -> list[str]:
        return [path.stem for path in self._sessions.glob("*.json")]


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _keep(path: Path, content: bytes | None, before: bytes | None = None) -> None:
    """Replace a file as a whole, if its content has changed: whoever is killed here leaves the one or the other."""
    if content is None:
        path.unlink(missing_ok=True)
    elif content != before:
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
