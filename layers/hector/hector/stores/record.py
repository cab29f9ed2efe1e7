"""What the memory store holds of a session."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hector.model import Event, Millis, Session, Summary, Task
from hector.stores.base import Lease


@dataclass(slots=True)
class Record:
    """A session and all that belongs to it."""

    session: Session
    idle_until: Millis
    fence: int = 0
    open_task: str | None = None
    lease_until: Millis = 0
    lease_nonce: str = ""
    cancel_requested: str | None = None
    waiting: list[str] = field(default_factory=list)
    interrupting: set[str] = field(default_factory=set)
    summary: Summary | None = None
    tasks: dict[str, Task] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    nonces: dict[str, str] = field(default_factory=dict)
    logs: dict[str, list[Event]] = field(default_factory=dict)
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)

    @staticmethod
    def of(session: Session) -> Record:
        return Record(session, idle_until=session.expires_at)

    def lease(self, now: Millis) -> Lease:
        assert self.open_task is not None
        canceled = self.cancel_requested == self.open_task or not self.interrupting.isdisjoint(self.waiting)
        return Lease(self.seen(now), self.open_task, self.fence, self.lease_until, canceled)

    def slide(self, now: Millis) -> None:
        """Let the session live on from now; an open turn keeps it alive in any case."""
        self.idle_until = self.session.slid(now)
        self.extend()

    def extend(self) -> None:
        self.session = replace(self.session, expires_at=max(self.idle_until, self.lease_until))

    def seen(self, now: Millis) -> Session:
        """The session as a reader sees it: with its open task, if a worker is alive."""
        open_task = self.open_task if self.lease_until > now else None
        return replace(self.session, open_task_id=open_task, waiting=tuple(self.waiting))
