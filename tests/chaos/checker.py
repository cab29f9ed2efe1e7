"""Reads everything back after the storm, and counts the violations of each promise of the product."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hector.dialects.native import event_frame
from hector.errors import HectorError, LostTurn, NotFound, SessionBusy
from hector.model import Event, EventKind, Message, Role, Task, TaskState, TurnPolicy
from hector.recovery import WORKER_LOST
from hector.services import Services
from hector.turns import Asked
from tests.chaos.journal import Entry, Journal, entries
from tests.chaos.setting import LEASE_MS, OWNER, services

PROMISES = {
    "1 acknowledged is never lost": ("lost",),
    "2 no gaps, the same bytes": ("gap", "bytes"),
    "3 one open turn, fenced": ("turns", "fence"),
    "4 one terminal event": ("terminal", "open"),
    "5 one key, one model call": ("calls", "key"),
    "6 expired is gone": ("expired",),
    "7 foreign is not found": ("foreign",),
    "8 cancels only if asked": ("cancel",),
    "9 the session goes on": ("history", "stuck"),
    "10 bad requests write nothing": ("blunder",),
    "errors that nobody expects": ("error",),
}
"""What is counted for each."""
SETTLE_SECONDS = 60
CANCEL_MS = 3_000
"""The promise is a second; the rest is for a machine that is busy with all this."""


@dataclass
class Findings:
    violations: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def wrong(self, kind: str, what: str) -> None:
        self.violations[kind] += 1
        if self.violations[kind] <= 3:
            self.examples.append(f"{kind}: {what}")

    def of(self, promise: str) -> int:
        return sum(self.violations[kind] for kind in PROMISES[promise])


async def check(url: str, journal: Path, sessions: list[str]) -> Findings:
    found = Findings()
    built = services(url, Journal(journal))
    try:
        await _settle(built, sessions, found)
        tasks, logs = await _read(built, sessions, found)
        _check_journal(list(entries(journal)), tasks, logs, found)
        await _go_on(built, sessions, found)
    finally:
        await built.aclose()
    return found


async def _settle(built: Services, sessions: list[str], found: Findings) -> None:
    """As a server with readers does: what was lost is ended, what waits has its turn."""
    await asyncio.sleep(LEASE_MS / 1000)
    ends_at = asyncio.get_running_loop().time() + SETTLE_SECONDS
    while True:
        left: list[str] = []
        try:
            await built.sweep.run()
        except HectorError as error:
            left.append(f"(the sweep failed: {error})")
        for session_id in sessions:
            session = await built.store.read_session(OWNER, session_id)
            left += session.waiting
            for state in (TaskState.SUBMITTED, TaskState.WORKING):
                for task in (await built.store.list_tasks(OWNER, session_id, state=state, limit=1000)).items:
                    with suppress(NotFound):
                        if not (await built.follow.task(OWNER, task.id)).state.terminal:
                            left.append(task.id)
        if not left:
            return
        if asyncio.get_running_loop().time() > ends_at:
            for task_id in set(left):
                found.wrong("open", f"never ended: {task_id}")
            return
        await asyncio.sleep(0.3)


async def _read(
    built: Services, sessions: list[str], found: Findings
) -> tuple[dict[str, Task], dict[str, list[Event]]]:
    tasks: dict[str, Task] = {}
    logs: dict[str, list[Event]] = {}
    for session_id in sessions:
        listed: list[Task] = []
        cursor = None
        while True:
            page = await built.store.list_tasks(OWNER, session_id, cursor=cursor, limit=200)
            listed += page.items
            if (cursor := page.next_cursor) is None:
                break
        tasks |= {task.id: task for task in listed}
        turns = sorted(task.turn for task in listed if task.turn)
        if turns != list(range(1, len(turns) + 1)):
            found.wrong("turns", f"session {session_id} has the turns {turns}")
        session = await built.store.read_session(OWNER, session_id)
        if session.turns != len(turns) or session.open_task_id:
            found.wrong("turns", f"session {session_id}: {session.turns} turns, {len(turns)} ended; {session}")
        history = await built.store.read_history(OWNER, session_id, limit=len(turns) + 1)
        if [task.turn for task in history] != turns:
            found.wrong("history", f"session {session_id}: its history is {[task.turn for task in history]}")
        for task in listed:
            if task.state.terminal:
                logs[task.id] = await _log(built, task, found)
    found.counts["tasks"] = len(tasks)
    found.counts["events"] = sum(map(len, logs.values()))
    found.counts["worker_lost"] = sum(1 for task in tasks.values() if task.error and task.error.code == WORKER_LOST)
    for state in TaskState:
        found.counts[state.value] = sum(1 for task in tasks.values() if task.state is state)
    return tasks, logs


async def _log(built: Services, task: Task, found: Findings) -> list[Event]:
    log = [event async for batch in built.follow.events(OWNER, task) for event in batch]
    numbers = [event.number for event in log]
    if numbers != list(range(1, task.last_event + 2)):
        found.wrong("gap", f"task {task.id} with {task.last_event} events has {numbers}")
    if [event.state.terminal for event in log if event.state].count(True) != 1 or not log[-1].state:
        found.wrong("terminal", f"task {task.id} ends with {log[-1:]}")
    text = "".join(event.text for event in log if event.kind is EventKind.MESSAGE)
    if text != (task.output.text if task.output else ""):
        found.wrong("fence", f"task {task.id}: its answer is not what its log says")
    if text.split("\n")[:-1] != [f"{task.input.text.split(' ')[0]}.{n} å" for n in range(text.count("\n"))]:
        found.wrong("fence", f"task {task.id} has pieces of another: {text!r}")
    return log


def _check_journal(noted: list[Entry], tasks: dict[str, Task], logs: dict[str, list[Event]], found: Findings) -> None:
    frames = {
        task_id: [hashlib.sha256(event_frame(task_id, event).encode()).hexdigest()[:16] for event in log]
        for task_id, log in logs.items()
    }
    by_key: dict[str, set[str]] = defaultdict(set)
    calls: Counter[str] = Counter()
    said_by = {task.input.text.split(" ")[0]: task for task in tasks.values()}
    canceled = {entry["task"]: entry for entry in noted if entry["what"] == "canceled"}
    asked_for = {entry["task"] for entry in noted if entry["what"] == "canceling"}
    interrupted = {
        entry["message"]["session"]
        for entry in noted
        if entry["what"] == "sending" and entry["message"]["policy"] == TurnPolicy.INTERRUPT
    }
    for entry in noted:
        found.counts[entry["what"]] += 1
        match entry["what"]:
            case "accepted":
                if entry["task"] not in tasks:
                    found.wrong("lost", f"{entry} is nowhere")
                elif tasks[entry["task"]].input.text.split(" ")[0] != entry["said"]:
                    found.wrong("lost", f"{entry}, but there it says {tasks[entry['task']].input.text!r}")
                if entry["key"]:
                    by_key[entry["key"]].add(entry["task"])
            case "model":
                calls[entry["said"]] += 1
                if entry["problem"]:
                    found.wrong("history", str(entry))
            case "read" if entry["task"] in tasks:
                _check_reader(entry, tasks[entry["task"]], frames.get(entry["task"], []), found)
            case "blunder accepted":
                found.wrong("blunder", str(entry))
            case "blunder refused" if not entry["field"]:
                found.wrong("blunder", f"no field is named: {entry}")
            case "expired seen" | "foreign seen":
                found.wrong(entry["what"].partition(" ")[0], str(entry))
            case "error":
                found.wrong("error", entry["trace"])
    for task in tasks.values():
        if task.input.text.endswith("-blunder"):
            found.wrong("blunder", f"task {task.id} of a request that could not be right is there")
    for key, ids in by_key.items():
        if len(ids) > 1:
            found.wrong("key", f"key {key} stands for {ids}")
    for said, count in calls.items():
        if count > 1 and not said.endswith("-visit"):
            found.wrong("calls", f"{said} went to the model {count} times ({said_by.get(said)})")
    for task in tasks.values():
        asked = task.id in asked_for or task.session_id in interrupted
        if task.state is TaskState.CANCELED and not asked:
            found.wrong("cancel", f"task {task.id} was canceled, and nobody asked for it")
        cancel = canceled.get(task.id)
        if task.state is TaskState.COMPLETED and cancel and task.updated_at > cancel["at"] + CANCEL_MS:
            found.wrong("cancel", f"task {task.id} went on for {task.updated_at - cancel['at']} ms")


def _check_reader(entry: Entry, task: Task, frames: list[str], found: Findings) -> None:
    """What one reader saw of a log. Beyond the good events of a lost worker, it may have seen some that never came."""
    lost = task.error is not None and task.error.code == WORKER_LOST
    expected = entry["after"] + 1
    for number, kind, fingerprint in entry["seen"]:
        if kind == EventKind.RESET:
            expected = number + 1
            if not lost:
                found.wrong("gap", f"a reset in {task.id}, whose worker was not lost: {entry}")
            continue
        if number != expected and not (lost and number <= expected):
            found.wrong("gap", f"a reader of {task.id} met {number} in place of {expected}: {entry}")
        expected = number + 1
        good = frames[number - 1] if number <= len(frames) else None
        if fingerprint != good and not (lost and number > task.last_event):
            found.wrong("bytes", f"event {number} of {task.id} ({task.state}, {task.error}): {entry}")
    ends = [seen for seen in entry["seen"] if seen[2] == (frames[-1] if frames else "")]
    if entry["ended"] and len(ends) > 1:
        found.wrong("terminal", f"a reader of {task.id} met its end {len(ends)} times: {entry}")
    if entry["ended"] and not ends and entry["after"] <= task.last_event:
        found.wrong("terminal", f"a reader of {task.id} never met its end: {entry}")


async def _go_on(built: Services, sessions: list[str], found: Findings) -> None:
    for session_id in sessions:
        try:
            content = Message.of(Role.USER, f"after-{secrets.token_hex(4)} ")
            task = await built.turns.start(OWNER, session_id, content, asked=Asked(policy=TurnPolicy.REJECT))
            ended: Any = await built.follow.ended(OWNER, task)
            if ended.state is not TaskState.COMPLETED:
                found.wrong("stuck", f"session {session_id}: {ended}")
        except (SessionBusy, LostTurn, HectorError) as error:
            found.wrong("stuck", f"session {session_id}: {error}")
