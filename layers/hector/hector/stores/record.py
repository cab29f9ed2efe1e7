"""What a store holds of a session: the hot part, with the rules of its lease and its line, and all that the memory
store keeps beside it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

from hector.errors import LeaseLost, LineFull, LostTurn, SessionBusy
from hector.model import Event, Millis, Session, Summary, Task
from hector.stores.base import Lease


@dataclass(slots=True)
class Hot:
    """What turns change in a session. The rules are here; that nobody comes in between is up to the store."""

    session: Session
    idle_until: Millis
    fence: int = 0
    open_task: str | None = None
    lease_until: Millis = 0
    lease_nonce: str = ""
    cancel_requested: str | None = None
    waiting: list[str] = field(default_factory=list)
    interrupting: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, session: Session) -> Self:
        return cls(session, idle_until=session.expires_at)

    def claim(self, task_id: str, *, lease: Millis, nonce: str, takeover: bool, now: Millis) -> Lease:
        """See `Store.claim`. Raises SessionBusy, LostTurn."""
        if self.open_task is not None:
            if self.lease_until > now:
                if (self.open_task, self.lease_nonce) == (task_id, nonce):
                    return self.lease(now)
                raise SessionBusy(self.open_task)
            if self.open_task != task_id or not takeover:
                raise LostTurn(self.open_task)
        elif self.waiting:
            if self.waiting[0] != task_id:
                raise SessionBusy(self.waiting[0])
            del self.waiting[0]
            self.interrupting.discard(task_id)
        self.open_task = task_id
        self.fence += 1
        self.lease_until = now + lease
        self.lease_nonce = nonce
        self._act(now)
        return self.lease(now)

    def line_up(self, task_id: str, *, most: int, interrupt: bool, now: Millis) -> None:
        """See `Store.line_up`. Raises LineFull, SessionBusy, LostTurn."""
        if task_id in (self.open_task, *self.waiting):
            return
        if most == 0 and self.open_task is not None:
            raise SessionBusy(self.open_task) if self.lease_until > now else LostTurn(self.open_task)
        if len(self.waiting) >= max(most, 1):
            raise SessionBusy(self.waiting[0]) if most == 0 else LineFull(self.waiting[0], most)
        self.waiting.append(task_id)
        if interrupt:
            self.interrupting.add(task_id)
        self._act(now)

    def leave_line(self, task_id: str) -> None:
        if task_id in self.waiting:
            self.waiting.remove(task_id)

    def ended_unbegun(self, task_id: str) -> None:
        """A task has just ended without a turn: a claim for it that is on its way finds a mark."""
        self.leave_line(task_id)
        if self.open_task is None:
            self.cancel_requested = task_id

    def check_held(self, lease: Lease, now: Millis) -> None:
        """Raises LeaseLost if the lease is not the one on this session."""
        if (self.fence, self.open_task) != (lease.fence, lease.task_id) or self.session.expires_at <= now:
            raise lost(lease)

    def renew(self, until: Millis) -> None:
        self.lease_until = until
        self._extend()

    def release(self, *, turns: int, now: Millis, next_in_line: bool = False) -> None:
        if next_in_line and self.open_task is not None:
            self.waiting.insert(0, self.open_task)
        self.open_task = None
        self.lease_until = 0
        self.session = replace(self.session, turns=turns)
        self.slide(now)

    def lease(self, now: Millis) -> Lease:
        assert self.open_task is not None
        canceled = self.cancel_requested == self.open_task or not self.interrupting.isdisjoint(self.waiting)
        return Lease(self.seen(now), self.open_task, self.fence, self.lease_until, canceled)

    def slide(self, now: Millis) -> None:
        """Let the session live on from now; an open turn keeps it alive in any case."""
        self.idle_until = self.session.slid(now)
        self._extend()

    def seen(self, now: Millis) -> Session:
        """The session as a reader sees it: with its open task, if a worker is alive."""
        open_task = self.open_task if self.lease_until > now else None
        return replace(self.session, open_task_id=open_task, waiting=tuple(self.waiting))

    def _act(self, now: Millis) -> None:
        self.session = replace(self.session, last_activity_at=now)
        self.slide(now)

    def _extend(self) -> None:
        self.session = replace(self.session, expires_at=max(self.idle_until, self.lease_until))


@dataclass(slots=True)
class Record(Hot):
    """A session and all that belongs to it."""

    summary: Summary | None = None
    tasks: dict[str, Task] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    nonces: dict[str, str] = field(default_factory=dict)
    logs: dict[str, list[Event]] = field(default_factory=dict)
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)


def lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"The lease on task {lease.task_id!r} has passed to another worker.")
