"""Messages that meet a busy session: refused, waiting or interrupting; and turns that nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hector.agents.base import Turn
from hector.errors import LineFull, SessionBusy
from hector.line import ENOUGH_SECONDS, GRACE_SECONDS
from hector.log_writer import LEASE
from hector.model import Role, Task, TaskState, TurnPolicy
from hector.patience import WAIT_TIMEOUT
from hector.services import Services
from hector.stores.base import Idempotency, Store
from hector.stores.memory import MemoryStore
from hector.transcript import messages
from hector.turn_order import ended_turns
from hector.turns import Asked
from tests.service.test_faults import die
from tests.service.test_follow import elsewhere
from tests.support import ALICE, ManualClock, ask, events_of, new_session, said, services_with, wait_until

ENQUEUE = Asked(policy=TurnPolicy.ENQUEUE)
INTERRUPT = Asked(policy=TurnPolicy.INTERRUPT)
BACKGROUND = Asked(background=True)


class Gate:
    """An agent that answers once it may, and keeps what it was asked and shown."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.shown: list[list[str]] = []
        self.open = asyncio.Event()

    async def answer(self, turn: Turn) -> str:
        self.calls.append(turn.text)
        self.shown.append([message.text for message in turn.history])
        await self.open.wait()
        return f"answer to {turn.text}"


def with_agent(
    store: Store, answer: Callable[..., Any], *, clock: ManualClock | None = None, **served: Any
) -> Services:
    services = services_with(store, agent=answer, clock=clock)
    agents = {id_: replace(agent, **served) for id_, agent in services.agents.items()}
    services.turns._agents = agents
    return replace(services, agents=agents)


async def post(services: Services, session_id: str, text: str, asked: Asked) -> Task:
    """One whole turn."""
    return await services.follow.ended(ALICE, await services.turns.start(ALICE, session_id, said(text), asked=asked))


async def conversation_of(services: Services, session_id: str) -> list[Task]:
    return await services.store.read_history(ALICE, session_id, limit=100)


async def messages_of(services: Services, session_id: str, limit: int, *, newest_first: bool = False) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = await messages(services.store, ALICE, session_id, newest_first=newest_first, cursor=cursor, limit=limit)
        found += [said.message.text for said in page.items]
        if (cursor := page.next_cursor) is None:
            return found


async def test_fifty_messages_at_once_wait_and_run_one_after_the_other(store: Store) -> None:
    open_turns = 0
    shown: dict[str, list[str]] = {}

    async def answer(turn: Turn) -> str:
        nonlocal open_turns
        open_turns += 1
        assert open_turns == 1, "two turns at once"
        assert turn.text not in shown, "a turn that is run twice"
        shown[turn.text] = [message.text for message in turn.history if message.role is Role.USER]
        await asyncio.sleep(0.002)
        open_turns -= 1
        return f"answer to {turn.text}"

    services = with_agent(store, answer, max_waiting=50, window=1000)
    session_id = await new_session(services)
    posts = [post(services, session_id, f"m{number}", ENQUEUE) for number in range(50)]
    tasks = await asyncio.gather(*posts)
    assert {task.state for task in tasks} == {TaskState.COMPLETED}
    for number, task in enumerate(tasks):
        assert task.output is not None
        assert task.output.text == f"answer to m{number}", "everybody gets the answer to the own message"
    history = await conversation_of(services, session_id)
    assert [turn.turn for turn in history] == list(range(1, 51))
    said_in_order = [turn.input.text for turn in history]
    assert sorted(said_in_order) == sorted(f"m{number}" for number in range(50))
    for place, text in enumerate(said_in_order):
        assert shown[text] == said_in_order[:place], "the model sees the turns before, whole and in order"
    assert (await services.store.read_session(ALICE, session_id)).waiting == ()
    assert [turn.id async for turn in ended_turns(store, ALICE, session_id)] == [turn.id for turn in history]
    conversation = [text for said in said_in_order for text in (said, f"answer to {said}")]
    for limit in (7, 100):
        assert await messages_of(services, session_id, limit) == conversation
        assert await messages_of(services, session_id, limit, newest_first=True) == conversation[::-1]


async def test_fifty_interrupting_messages_at_once_lose_none_and_answer_the_last(store: Store) -> None:
    gate = Gate()
    services = with_agent(store, gate.answer, max_waiting=2)
    session_id = await new_session(services)
    first = await services.turns.start(ALICE, session_id, said("first"))
    posts = [services.turns.start(ALICE, session_id, said(f"m{number}"), asked=INTERRUPT) for number in range(50)]
    tasks = [first, *await asyncio.gather(*posts)]
    await wait_until(lambda: len(gate.calls) > 1, 20)
    gate.open.set()
    ended = [await services.follow.ended(ALICE, task) for task in tasks]
    history = await conversation_of(services, session_id)
    assert sorted(turn.input.text for turn in history) == sorted(["first", *(f"m{number}" for number in range(50))])
    assert [turn.turn for turn in history] == list(range(1, 52))
    states = [turn.state for turn in history]
    assert states == [TaskState.CANCELED] * 50 + [TaskState.COMPLETED]
    assert len(ended) == 51
    assert gate.calls == ["first", history[-1].input.text], "what is interrupted before it began costs no model call"


async def test_fifty_messages_at_once_where_only_some_may_wait(store: Store) -> None:
    gate = Gate()
    services = with_agent(store, gate.answer, policy=TurnPolicy.ENQUEUE, max_waiting=10)
    session_id = await new_session(services)
    running = await services.turns.start(ALICE, session_id, said("first"))
    posts = [services.turns.start(ALICE, session_id, said(f"m{number}")) for number in range(50)]
    results = await asyncio.gather(*posts, return_exceptions=True)
    waiting = [task for task in results if isinstance(task, Task)]
    assert len(waiting) == 10
    refused = [error for error in results if isinstance(error, BaseException)]
    assert all(isinstance(error, LineFull) for error in refused)
    gate.open.set()
    for task in (running, *waiting):
        assert (await services.follow.ended(ALICE, task)).state is TaskState.COMPLETED
    listed = (await store.list_tasks(ALICE, session_id)).items
    assert len(listed) == 11, "a refused message leaves nothing behind"


async def test_messages_are_answered_in_the_order_in_which_they_came(store: Store) -> None:
    gate = Gate()
    services = with_agent(store, gate.answer, policy=TurnPolicy.ENQUEUE)
    session_id = await new_session(services)
    tasks = [await services.turns.start(ALICE, session_id, said(f"m{number}")) for number in range(6)]
    session = await store.read_session(ALICE, session_id)
    assert (session.open_task_id, session.waiting) == (tasks[0].id, tuple(task.id for task in tasks[1:]))
    assert (await services.follow.task(ALICE, tasks[3].id)).state is TaskState.SUBMITTED
    gate.open.set()
    for task in tasks:
        await services.follow.ended(ALICE, task)
    assert gate.calls == [f"m{number}" for number in range(6)]


async def test_the_request_outweighs_the_agents_policy(store: Store) -> None:
    gate = Gate()
    services = with_agent(store, gate.answer, policy=TurnPolicy.ENQUEUE)
    session_id = await new_session(services)
    running = await services.turns.start(ALICE, session_id, said("first"))
    with pytest.raises(SessionBusy):
        await services.turns.start(ALICE, session_id, said("no"), asked=Asked(policy=TurnPolicy.REJECT))
    waiting = await services.turns.start(ALICE, session_id, said("polite"))
    rude = await services.turns.start(ALICE, session_id, said("rude"), asked=INTERRUPT)
    assert (await services.follow.ended(ALICE, running)).state is TaskState.CANCELED
    assert (await services.follow.ended(ALICE, waiting)).state is TaskState.CANCELED
    gate.open.set()
    assert (await services.follow.ended(ALICE, rude)).state is TaskState.COMPLETED
    assert gate.calls == ["first", "rude"]
    assert gate.shown[-1][::2] == ["first", "polite"], "what was interrupted is not forgotten"


async def test_a_newcomer_waits_behind_those_who_wait_even_in_a_free_moment(store: Store) -> None:
    gate = Gate()
    services = with_agent(store, gate.answer)
    session_id = await new_session(services)
    await services.turns.start(ALICE, session_id, said("first"))
    await services.turns.start(ALICE, session_id, said("second"), asked=ENQUEUE)
    gate.open.set()
    while len(gate.calls) < 2:
        with pytest.raises(SessionBusy):
            await services.turns.start(ALICE, session_id, said("pushes in"))
        await asyncio.sleep(0)
    await services.turns.drain()
    assert gate.calls == ["first", "second"]


async def test_a_follower_of_a_waiting_task_gets_every_token_live(store: Store) -> None:
    services = services_with(store)
    session_id = await new_session(services)
    await services.turns.start(ALICE, session_id, said("count to 5 every 20 ms"))
    task = await services.turns.start(ALICE, session_id, said("count to 5"), asked=ENQUEUE)
    here, there = await asyncio.gather(events_of(services, task), events_of(elsewhere(services), task))
    assert here == there
    assert [event.number for event in here] == list(range(1, 7))
    assert here[-1].state is TaskState.COMPLETED


async def test_a_waiting_task_can_be_canceled_and_is_no_turn(store: Store) -> None:
    gate = Gate()
    services = with_agent(store, gate.answer)
    session_id = await new_session(services)
    await services.turns.start(ALICE, session_id, said("first"))
    unwanted = await services.turns.start(ALICE, session_id, said("unwanted"), asked=ENQUEUE)
    wanted = await services.turns.start(ALICE, session_id, said("wanted"), asked=ENQUEUE)
    following = asyncio.create_task(events_of(services, unwanted))
    await asyncio.sleep(0)
    assert (await services.turns.cancel(ALICE, unwanted.id)).state is TaskState.CANCELED
    assert [event.state for event in await following] == [TaskState.CANCELED]
    gate.open.set()
    await services.follow.ended(ALICE, wanted)
    assert [turn.input.text for turn in await conversation_of(services, session_id)] == ["first", "wanted"]


async def test_a_message_waits_for_a_bounded_time(store: Store) -> None:
    gate = Gate()
    services = with_agent(store, gate.answer, max_wait=0.3)
    session_id = await new_session(services)
    first = await services.turns.start(ALICE, session_id, said("first"))
    ended = await post(services, session_id, "impatient", ENQUEUE)
    assert ended.state is TaskState.FAILED
    assert ended.error is not None
    assert ended.error.code == WAIT_TIMEOUT
    assert "0.3 seconds" in ended.error.message
    gate.open.set()
    assert (await services.follow.ended(ALICE, first)).state is TaskState.COMPLETED
    assert gate.calls == ["first"]


async def test_a_message_waits_no_longer_than_its_process_lives(store: Store) -> None:
    gate = Gate()
    services = with_agent(store, gate.answer)
    session_id = await new_session(services)
    await services.turns.start(ALICE, session_id, said("first"))
    ended = await post(services, session_id, "late", ENQUEUE._replace(seconds_left=0.2))
    assert ended.error is not None
    assert ended.error.code == WAIT_TIMEOUT
    gate.open.set()
    await services.turns.drain()


async def test_one_key_is_one_model_call_under_every_policy(store: Store) -> None:
    for policy in TurnPolicy:
        gate = Gate()
        services = with_agent(store, gate.answer, max_waiting=50)
        session_id = await new_session(services)
        running = await services.turns.start(ALICE, session_id, said("first"))
        asked = Asked(Idempotency("key", "body"), policy)
        starting = [services.turns.start(ALICE, session_id, said("pay"), asked=asked) for _ in range(10)]
        results = await asyncio.gather(*starting, return_exceptions=True)
        gate.open.set()
        await services.follow.ended(ALICE, running)
        if policy is TurnPolicy.REJECT:
            assert {type(result) for result in results} == {SessionBusy}, results
        started = [await services.turns.start(ALICE, session_id, said("pay"), asked=asked) for _ in range(2)]
        started += [result for result in results if isinstance(result, Task)]
        ended = [await services.follow.ended(ALICE, task) for task in started]
        assert len({task.id for task in ended}) == 1
        assert {task.output.text for task in ended if task.output} == {"answer to pay"}
        assert gate.calls == ["first", "pay"]


async def test_a_background_turn_runs_though_nobody_waits(store: Store) -> None:
    services = services_with(store)
    session_id = await new_session(services)
    task = await services.turns.start(ALICE, session_id, said("count to 3"), asked=BACKGROUND)
    assert task.state is TaskState.SUBMITTED
    await services.turns.drain()
    ended = await services.follow.task(ALICE, task.id)
    assert ended.state is TaskState.COMPLETED
    assert ended.turn == 1


async def test_background_turns_obey_the_policy(store: Store) -> None:
    gate = Gate()
    services = with_agent(store, gate.answer)
    session_id = await new_session(services)
    running = await services.turns.start(ALICE, session_id, said("first"))
    with pytest.raises(SessionBusy) as busy:
        await services.turns.start(ALICE, session_id, said("no"), asked=BACKGROUND)
    assert busy.value.task_id == running.id
    assert len((await store.list_tasks(ALICE, session_id)).items) == 1
    task = await services.turns.start(
        ALICE, session_id, said("then"), asked=Asked(policy=TurnPolicy.ENQUEUE, background=True)
    )
    gate.open.set()
    await services.turns.drain()
    assert (await store.read_task(ALICE, task.id)).state is TaskState.COMPLETED


async def test_the_line_of_a_dead_process_is_kept_by_whoever_is_in_it(store: Store) -> None:
    gate = Gate()
    dead, alive = with_agent(store, gate.answer), with_agent(store, gate.answer)
    session_id = await new_session(dead)
    first = await alive.turns.start(ALICE, session_id, said("first"))
    left_behind = await dead.turns.start(ALICE, session_id, said("left behind"), asked=ENQUEUE)
    mine = await alive.turns.start(ALICE, session_id, said("mine"), asked=ENQUEUE)
    die(dead)
    gate.open.set()
    for task in (first, left_behind, mine):
        assert (await alive.follow.ended(ALICE, task)).state is TaskState.COMPLETED
    assert gate.calls == ["first", "left behind", "mine"]


async def test_a_sweep_takes_up_a_line_that_nobody_keeps(store: Store) -> None:
    gate = Gate()
    dead, alive = with_agent(store, gate.answer), with_agent(store, gate.answer)
    session_id = await new_session(dead)
    first = await alive.turns.start(ALICE, session_id, said("first"))
    waiting = [await dead.turns.start(ALICE, session_id, said(text), asked=ENQUEUE) for text in ("second", "third")]
    die(dead)
    gate.open.set()
    await alive.follow.ended(ALICE, first)
    assert (await alive.sweep.run()).taken_up >= 1
    async with asyncio.timeout(GRACE_SECONDS * 2 + 15):
        await alive.turns.drain()
    for task in waiting:
        assert (await store.read_task(ALICE, task.id)).state is TaskState.COMPLETED
    # Not what the agent was called with: a sweep takes up what other tests have left in this store, too.
    said_in_order = [turn.input.text for turn in await conversation_of(alive, session_id)]
    assert said_in_order == ["first", "second", "third"]


async def test_a_sweep_that_has_to_go_begins_nothing_that_it_could_not_finish(store: Store) -> None:
    gate = Gate()
    dead, alive = with_agent(store, gate.answer), with_agent(store, gate.answer)
    session_id = await new_session(dead)
    first = await alive.turns.start(ALICE, session_id, said("first"))
    waiting = await dead.turns.start(ALICE, session_id, said("second"), asked=ENQUEUE)
    die(dead)
    gate.open.set()
    await alive.follow.ended(ALICE, first)
    await alive.sweep.run(seconds_left=ENOUGH_SECONDS)
    await alive.turns.drain()
    assert (await store.read_task(ALICE, waiting.id)).state is TaskState.SUBMITTED
    await alive.sweep.run(seconds_left=ENOUGH_SECONDS + GRACE_SECONDS * 2 + 15)
    await alive.turns.drain()
    assert (await store.read_task(ALICE, waiting.id)).state is TaskState.COMPLETED


async def test_a_sweep_ends_what_was_left_running_with_no_reader(store: Store) -> None:
    gate = Gate()
    clock = ManualClock()
    memory = MemoryStore(clock)
    dead, alive = (with_agent(memory, gate.answer, clock=clock) for _ in range(2))
    session_id = await new_session(dead)
    task = await dead.turns.start(ALICE, session_id, said("first"))
    die(dead)
    assert (await alive.sweep.run()).closed == 0, "it may be alive"
    clock.advance(seconds=LEASE / 1000)
    assert (await alive.sweep.run()).closed == 1
    ended = await memory.read_task(ALICE, task.id)
    assert ended.error is not None
    assert ended.error.code == "worker_lost"
    assert (await alive.sweep.run()).closed == 0
    gate.open.set()
    assert (await ask(alive, session_id, "go on")).state is TaskState.COMPLETED


async def test_what_has_waited_for_too_long_in_a_dead_process_is_not_run_any_more() -> None:
    gate = Gate()
    clock = ManualClock()
    store = MemoryStore(clock)
    dead, alive = (with_agent(store, gate.answer, clock=clock) for _ in range(2))
    session_id = await new_session(dead)
    await dead.turns.start(ALICE, session_id, said("first"))
    task = await dead.turns.start(ALICE, session_id, said("second"), asked=ENQUEUE)
    die(dead)
    clock.advance(seconds=400)
    await alive.sweep.run()
    await alive.turns.drain()
    ended = await alive.follow.task(ALICE, task.id)
    assert ended.error is not None
    assert ended.error.code == WAIT_TIMEOUT
    assert (await store.read_session(ALICE, session_id)).waiting == ()


async def test_an_erased_session_ends_those_that_wait_in_it(store: Store) -> None:
    gate = Gate()
    services = with_agent(store, gate.answer)
    session_id = await new_session(services)
    await services.turns.start(ALICE, session_id, said("first"))
    task = await services.turns.start(ALICE, session_id, said("second"), asked=ENQUEUE)
    following = asyncio.create_task(events_of(services, task))
    await asyncio.sleep(0.05)
    await services.store.delete_session(ALICE, session_id)
    (terminal,) = await asyncio.wait_for(following, 5)
    assert terminal.state is TaskState.CANCELED
    assert terminal.error is not None
    assert terminal.error.code == "session_ended"
    gate.open.set()
    await services.turns.drain()
    assert gate.calls == ["first"]


async def test_a_server_that_stops_leaves_what_waits_to_others(store: Store) -> None:
    gate = Gate()
    going, staying = with_agent(store, gate.answer), with_agent(store, gate.answer)
    session_id = await new_session(going)
    await going.turns.start(ALICE, session_id, said("first"))
    waiting = await going.turns.start(ALICE, session_id, said("second"), asked=ENQUEUE)
    await going.turns.stop()
    assert (await store.read_task(ALICE, waiting.id)).state is TaskState.SUBMITTED
    gate.open.set()
    await staying.sweep.run()
    assert (await staying.follow.ended(ALICE, waiting)).state is TaskState.COMPLETED


async def test_a_turn_whose_client_has_left_ends_if_its_agent_is_set_so(store: Store) -> None:
    gate = Gate()
    for cancels in (True, False):
        services = with_agent(store, gate.answer, cancels_on_disconnect=cancels)
        session_id = await new_session(services)
        task = await services.turns.start(ALICE, session_id, said("first"))
        services.turns.abandon(ALICE, task)
        await asyncio.sleep(1.0)
        state = (await store.read_task(ALICE, task.id)).state
        assert state is (TaskState.CANCELED if cancels else TaskState.WORKING)
    gate.open.set()
    await services.turns.drain()
