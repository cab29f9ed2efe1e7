"""Run one turn that has been claimed: agent → live log → store, and its one final status."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import NamedTuple, TypeVar

from hector import telemetry
from hector.agents.base import Agent, Progress, Text, Truncated, Turn
from hector.agents.outputs import checked
from hector.concurrency import abort, clean_up
from hector.endings import Stop, ending
from hector.errors import AgentError, HectorError, LeaseLost, NotFound, QueueUnavailable, StoreUnavailable, TaskClosed
from hector.live import LiveLog
from hector.log_writer import EVENT_BYTES, LEASE, LogWriter
from hector.margins import ABORT_SECONDS, CLEAN_UP_SECONDS, ENDING_SECONDS
from hector.model import (
    EventKind,
    Message,
    Role,
    StopReason,
    Task,
    TaskError,
    TaskState,
    Usage,
    clean_text,
)
from hector.queues.base import WorkQueue
from hector.stores.base import Clock, Lease, Outcome, Store
from hector.stores.log import handed_over, seconds_taken
from hector.telemetry import TurnClock

T = TypeVar("T")

logger = logging.getLogger(__name__)

RENEW_SECONDS = 5.0
CANCEL_POLL_SECONDS = 0.5
MAX_OUTPUT_BYTES = 1024 * 1024
MAX_NOTE_CHARACTERS = 2_000
HAND_OVER_DELAY = 1.0
"""Seconds until a worker is told of a turn that goes on elsewhere: by then it has been given back."""
_COURTESY = 16
"""Pieces after which an agent that never waits lets others run."""


_NOT_STORED = TaskError("internal", "What came of this turn could not be stored; the server's log says more.")


class Limits(NamedTuple):
    """`seconds` is how long a turn may take, in all processes that go on with it; `seconds_left` how long this one may.

    After `seconds_left` there are ENDING_SECONDS more, for the turn's end and for its agent's.
    `streams`: whether the answer is handed on as it is made, or at once.
    """

    seconds: float
    seconds_left: float | None = None
    streams: bool = True


class Producer:
    """The producer never talks to a client: it writes the log.

    While the agent is silent, the cancel mark is looked at every 500 ms and the lease renewed every 5 s.

    What the log holds already, another process has said and stored. With a `queue`, a turn that is cut by this
    process's end is handed over to another one; else it fails.
    """

    def __init__(
        self, store: Store, log: LiveLog, lease: Lease, limits: Limits, clock: Clock, queue: WorkQueue | None = None
    ) -> None:
        self.log = log
        self._now = clock
        self._queue = queue
        self._store = store
        self._limits = limits
        self._begins = not log.events
        self._taken = seconds_taken(log.events)
        self._texts = [event.text for event in log.events if event.kind is EventKind.MESSAGE]
        self._told = sum(map(len, self._texts))
        self._told_before = self._told
        self._output_bytes = sum(len(text.encode()) for text in self._texts)
        self._usage: Usage | None = None
        self._stop_reason: StopReason | None = None
        self._stopping: Stop | None = None
        self._over = False
        self._wake = asyncio.Event()
        self._writer = LogWriter(store, log, lease, self._wake)
        self._loop = asyncio.get_running_loop()
        self._began_at = self._loop.time()
        left = limits.seconds_left
        self._leaves_at = math.inf if left is None else self._began_at + left
        self._gone_at = self._leaves_at + ENDING_SECONDS
        self._clock = TurnClock()

    def stop(self) -> None:
        """End the turn as failed: this worker has to go."""
        self._stopping = Stop.WORKER_STOPPED
        self._wake.set()

    async def run(self, agent: Agent, turn: Turn) -> None:
        """Raises nothing: whatever goes wrong becomes the task's status, or is left to whoever takes over the lease."""
        telemetry.TASK.set(turn.task_id)
        task: Task | None = None
        answering: asyncio.Task[None] | None = None
        stop: Stop | None = Stop.CANCELED
        error: BaseException | None = None
        try:
            if not self._writer.lease.cancel_requested:
                answering = asyncio.create_task(self._answer(agent, turn), name=f"answer {turn.task_id}")
                answering.add_done_callback(lambda _: self._wake.set())
                stop = await self._keep(answering)
                error = await abort(answering, ABORT_SECONDS)
            self._over = True
            if stop is Stop.DEADLINE and self._queue is not None and self._gets_on():
                task = await self._hand_over(self._queue)
            elif stop is not Stop.LOST:
                task = await self._finish(self._outcome(stop, error))
        except (LeaseLost, TaskClosed, NotFound) as lost:
            logger.warning("task %s goes on without this worker: %s", turn.task_id, lost)
        except HectorError as failure:
            logger.error("task %s could not be ended: %s", turn.task_id, failure)
        except Exception:
            logger.exception("task %s could not be ended", turn.task_id)
        finally:
            self._over = True
            self.log.close(task)
            if task is not None:
                self._clock.ended(task)
            if answering is not None:
                await clean_up(answering, self._at_most(CLEAN_UP_SECONDS))

    async def _answer(self, agent: Agent, turn: Turn) -> None:
        pieces = 0
        try:
            async with aclosing(agent.answer(turn)) as outputs:
                async for output in outputs:
                    if self._over:
                        return
                    match checked(output):
                        case Text(text):
                            self._say(text)
                        case Progress(note, fraction):
                            self._note(note, fraction)
                        case Usage() as usage:
                            self._usage = usage
                        case Truncated(reason):
                            self._stop_reason = reason
                    pieces += 1
                    if pieces % _COURTESY == 0:
                        await asyncio.sleep(0)
        except (SystemExit, KeyboardInterrupt) as error:
            # Raised in a task, these would end the whole server.
            raise RuntimeError(f"the agent raised {type(error).__name__}") from error

    def _say(self, text: str) -> None:
        if text:
            text = clean_text(text)
            self._measure(text)
            self._texts.append(text)
            self._clock.token()
            if self._limits.streams:
                self._writer.append(EventKind.MESSAGE, text)

    def _note(self, note: str, fraction: float | None) -> None:
        note = clean_text(note)[:MAX_NOTE_CHARACTERS]
        self._measure(note, EVENT_BYTES)
        self._writer.append(EventKind.STATUS, note, TaskState.WORKING, fraction)

    def _measure(self, text: str, extra: int = 0) -> None:
        self._output_bytes += len(text.encode()) + extra
        if self._output_bytes > MAX_OUTPUT_BYTES:
            raise AgentError("answer_too_long", f"The answer was cut off: it grew beyond {MAX_OUTPUT_BYTES:,} bytes.")

    async def _keep(self, answering: asyncio.Task[None]) -> Stop | None:
        """Flush, renew and look for the cancel mark until the answer is complete or has to be stopped."""
        loop = self._loop
        ends_at = self._began_at + self._limits.seconds - self._taken
        leaves_at = self._leaves_at
        lost_at = loop.time() + LEASE / 1000
        renew_at = loop.time() + RENEW_SECONDS
        poll_at = loop.time() + CANCEL_POLL_SECONDS
        while not answering.done():
            self._wake.clear()
            now = loop.time()
            if self._stopping:
                return self._stopping
            if now >= min(ends_at, leaves_at):
                return Stop.TIMEOUT if ends_at <= leaves_at else Stop.DEADLINE
            try:
                if (self._writer.pending and now >= self._writer.due) or now >= renew_at:
                    await self._writer.flush()
                    renew_at, lost_at = loop.time() + RENEW_SECONDS, now + LEASE / 1000
                    poll_at = loop.time() + CANCEL_POLL_SECONDS
                elif now >= poll_at:
                    poll_at = now + CANCEL_POLL_SECONDS
                    await self._writer.look()
                    if self._is_off():
                        renew_at = now
            except LeaseLost:
                return Stop.LOST
            except StoreUnavailable as error:
                if now >= lost_at:
                    logger.error("gave up the lease on task %s: %s", self._writer.lease.task_id, error)
                    return Stop.LOST
                self._writer.due = renew_at = loop.time() + CANCEL_POLL_SECONDS
            if self._writer.lease.cancel_requested:
                return Stop.CANCELED
            due = min(ends_at, leaves_at, renew_at, poll_at)
            if self._writer.pending:
                due = min(due, self._writer.due)
            await self._sleep_until(due)
        return None

    def _is_off(self) -> bool:
        """Whether the clock was set, or this computer slept: the lease is to be renewed, before others find it lost."""
        return abs(self._writer.lease.until - LEASE - self._now()) > LEASE / 2

    async def _sleep_until(self, due: float) -> None:
        handle = self._loop.call_at(due, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            handle.cancel()

    def _tell(self, text: str) -> None:
        """Where the answer is not streamed: all of it that is not in the log yet, at once."""
        if not self._limits.streams and len(text) > self._told:
            self._writer.append(EventKind.MESSAGE, text[self._told :])

    def _outcome(self, stop: Stop | None, error: BaseException | None) -> Outcome:
        text = "".join(self._texts)
        self._tell(text)
        state, problem = ending(stop, error, self._limits.seconds)
        if stop is None and error is not None and not isinstance(error, AgentError):
            logger.error("the agent of task %s raised", self._writer.lease.task_id, exc_info=error)
        output = Message.of(Role.AGENT, text) if text else None
        return Outcome(
            state,
            len(self.log.events),
            output,
            self._usage,
            problem,
            self._stop_reason if state is TaskState.COMPLETED else None,
        )

    def _gets_on(self) -> bool:
        """Whether another process would: a turn that was taken over and had nothing to add would go round for ever."""
        return self._begins or sum(map(len, self._texts)) > self._told_before

    async def _hand_over(self, queue: WorkQueue) -> Task | None:
        """Let another process go on from what the log holds; its last event says so.

        The ended task, if it was canceled in this very moment, or the queue cannot be reached.
        """
        self._tell("".join(self._texts))
        taken = self._taken + self._loop.time() - self._began_at
        self._writer.append(EventKind.STATUS, handed_over(taken), TaskState.SUBMITTED)
        await self._insist(self._writer.flush)
        if self._writer.lease.cancel_requested:
            return await self._finish(self._outcome(Stop.CANCELED, None))
        try:
            # The queue comes first: whatever is lost after that, the worker finds the task, and sees to it.
            await queue.send(self._writer.lease.task_id, delay=HAND_OVER_DELAY)
        except QueueUnavailable as error:
            logger.error("task %s cannot be handed over: %s", self._writer.lease.task_id, error.message)
            return await self._finish(self._outcome(Stop.DEADLINE, None))
        # From here on this worker ends nothing: the turn may be another's already, though no answer has come.
        await self._insist(lambda: self._store.release(self._writer.lease, next_in_line=True))
        return None

    async def _finish(self, outcome: Outcome) -> Task:
        """Flush, commit and release. What cannot be stored at all ends as a failure, rather than with its lease."""
        try:
            return await self._end(outcome)
        except (LeaseLost, TaskClosed, NotFound, StoreUnavailable):
            raise
        except Exception:
            if self._writer.pending:
                raise  # readers have seen what is not stored: whoever takes over the lease tells them
            logger.exception("what came of task %s cannot be stored", self._writer.lease.task_id)
            return await self._end(Outcome(TaskState.FAILED, self._writer.flushed, error=_NOT_STORED))

    async def _end(self, outcome: Outcome) -> Task:
        nonce = secrets.token_hex(8)

        async def end() -> Task:
            try:
                if self._writer.pending:
                    await self._writer.flush()
                task = await self._store.commit(self._writer.lease, outcome, nonce=nonce)
            except (TaskClosed, NotFound):
                await self._store.release(self._writer.lease)
                raise
            # The session is free before the end is told: who has seen the end can send the next message.
            await self._store.release(self._writer.lease)
            return task

        return await self._insist(end)

    def _at_most(self, seconds: float) -> float:
        """So many seconds, or those until this process is gone."""
        return max(0.0, min(seconds, self._gone_at - self._loop.time()))

    async def _insist(self, step: Callable[[], Awaitable[T]]) -> T:
        """Again while the store is away, for less than a lease. Raises StoreUnavailable after that."""
        give_up_at = self._loop.time() + self._at_most(LEASE / 1000)
        while True:
            try:
                return await step()
            except StoreUnavailable:
                if self._loop.time() >= give_up_at:
                    raise
                await asyncio.sleep(CANCEL_POLL_SECONDS)
