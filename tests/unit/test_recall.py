"""What the model is shown, for every strategy and whatever happened to earlier turns: valid, newest, within bounds.

Whole conversations run through `History` on the memory store, with a recording agent that knows which turns it has
been shown, and which ones a summary stands for: each message begins with `q`, the number of its turn, and a colon.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import chain

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hector.agents.base import Output, Progress, ServedAgent, Text, Turn
from hector.agents.builtin import Words
from hector.agents.tokens.estimate import IMAGE_TOKENS
from hector.errors import AgentError
from hector.history import History, conversation
from hector.history.counting import PER_MESSAGE
from hector.history.summarising import MOST_PIECES
from hector.model import (
    Message,
    Part,
    Principal,
    Role,
    Session,
    Task,
    TaskState,
    Usage,
    copied_task_id,
    new_session_id,
    new_task_id,
)
from hector.stores.base import Outcome, StagedTurn
from hector.stores.memory import MemoryStore
from tests.support import ManualClock

ALICE = Principal("alice")
PICTURE = Part(raw=b"...", media_type="image/png", filename="cat.png")
NOTE = Part(raw=b"one two three", media_type="text/plain", filename="note.txt")
LEASE = 15_000


@dataclass(frozen=True)
class Said:
    """A turn: how many words the user says, with which files, how it ends, and how many words the agent says (None: it
    never got to). `summary` is how many words a summary that is asked for in it has; None: the model fails."""

    words: int = 3
    files: tuple[Part, ...] = ()
    state: TaskState = TaskState.COMPLETED
    answer: int | None = 3
    summary: int | None = 10

    def question(self, number: int) -> Message:
        return Message(Role.USER, (Part(f"q{number}: " + "word " * self.words), *self.files))

    @property
    def output(self) -> Message | None:
        return None if self.answer is None else Message.of(Role.AGENT, "word " * self.answer)


ANY_TURN = st.builds(
    Said,
    words=st.one_of(st.integers(0, 10), st.integers(0, 600)),
    files=st.sampled_from([(), (), (), (NOTE,), (PICTURE,), (NOTE, PICTURE)]),
    state=st.sampled_from([TaskState.COMPLETED, TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED]),
    answer=st.one_of(st.none(), st.integers(0, 10), st.integers(0, 600)),
    summary=st.one_of(st.none(), st.integers(0, 20), st.integers(0, 600)),
)
ANY_CONVERSATION = st.lists(ANY_TURN, max_size=15)


@dataclass
class Recorder:
    """An agent whose summaries begin with the number of the last turn that they cover."""

    turns: list[Turn] = field(default_factory=list)
    requests: list[Turn] = field(default_factory=list)
    now: Said = Said()
    reported: int = 100
    skipped: int = 0

    async def answer(self, turn: Turn) -> AsyncGenerator[Output, None]:
        if not turn.summarises:
            self.turns.append(turn)
            yield Text("ok")
            yield Usage(self.reported, 10)
            return
        self.requests.append(turn)
        yield Usage(7 if self.reported else 0, 1)
        if self.now.summary is None:
            raise AgentError("model_overloaded", "Try again.")
        if self.now.summary:
            self.skipped += numbers(turn)[0] - 1 - covered(turn.summary)
            yield Text(f"s{numbers(turn)[-1]}: " + "word " * self.now.summary)

    async def aclose(self) -> None:
        pass


class Conversation:
    """One session, in which turns are taken one after another."""

    def __init__(self, served: ServedAgent, before: Sequence[Said] = ()) -> None:
        self.recorder = Recorder(reported=0 if served.tokens else 100)
        self.served = replace(served, agent=self.recorder)
        self.store = MemoryStore(ManualClock())
        self.ended: list[Task] = []
        self.notes: list[Progress] = []
        self.usage: Usage | None = None
        id_ = new_session_id()
        self.session = Session(id_, "a", ALICE, 0, 10**12, 10**12 * 2, 10**12 * 2, 0, turns=len(before))
        self._before = before
        self.restart()

    def restart(self) -> None:
        """As another process would go on."""
        self.history = History(self.store, [self.served])

    async def create(self) -> None:
        staged = [
            Task(
                copied_task_id(self.session.id, 0, number), self.session.id, "a", said.state, said.question(number),
                0, 0, output=said.output, turn=number,
            )
            for number, said in enumerate(self._before, 1)
        ]  # fmt: skip
        await self.store.stage_turns(self.session, [StagedTurn(task, []) for task in staged])
        await self.store.create_session(self.session)
        self.ended += staged

    async def take(self, said: Said) -> Turn:
        """One turn; gives back what the agent was shown."""
        number = len(self.ended) + 1
        now = 1_700_000_000_000
        task = Task(
            new_task_id(self.session.id, now + number), self.session.id, "a", TaskState.SUBMITTED,
            said.question(number), now, now,
        )  # fmt: skip
        self.recorder.now = said
        await self.store.submit(task, nonce=secrets.token_hex(8))
        lease = await self.store.claim(ALICE, self.session.id, task.id, lease=LEASE, nonce=secrets.token_hex(8))
        known = await self.history.read(ALICE, self.session.id)
        agent, turn = await self.history.recall(self.served, lease, task, known, seconds=60)
        async with aclosing(agent.answer(turn)) as outputs:
            async for output in outputs:
                if isinstance(output, Progress):
                    self.notes.append(output)
                elif isinstance(output, Usage):
                    self.usage = output
        self.ended.append(
            await self.store.commit(lease, Outcome(said.state, 0, said.output), nonce=secrets.token_hex(8))
        )
        await self.store.release(lease)
        return self.recorder.turns[-1]


async def taken(served: ServedAgent, turns: Sequence[Said], before: Sequence[Said] = ()) -> Conversation:
    conversation = Conversation(served, before)
    await conversation.create()
    for said in turns:
        await conversation.take(said)
    return conversation


def numbers(turn: Turn) -> list[int]:
    """The numbers of the turns that are shown word by word."""
    return [int(message.text[1:].split(":")[0]) for message in turn.history[::2]]


def covered(summary: str | None) -> int:
    found = re.search(r"s(\d+)(:|$)", summary or "")
    return int(found[1]) if found else 0


def size(system: str | None, messages: Sequence[Message]) -> int:
    """In tokens, as the builtin model counts them."""
    words = len((system or "").split()) + (PER_MESSAGE if system else 0)
    for part in chain.from_iterable(message.parts for message in messages):
        words += IMAGE_TOKENS if part == PICTURE else len((part.text or (part.raw or b"").decode()).split())
    return words + PER_MESSAGE * len(messages)


def check_validity(turn: Turn, ended: Sequence[Task]) -> None:
    assert [message.role for message in turn.history] == [Role.USER, Role.AGENT] * (len(turn.history) // 2)
    assert all(message.text.strip() or message.has_files for message in turn.history)
    shown = numbers(turn)
    assert shown == list(range(len(ended) - len(shown) + 1, len(ended) + 1)), "the newest, each once, without a gap"
    assert turn.history == conversation(ended[len(ended) - len(shown) :])


def check_summary(turn: Turn, ended: Sequence[Task]) -> None:
    """No overlap, and no gap that the model is not told of."""
    if turn.summary is None:
        assert turn.system == "Be brief."
        return
    shown = numbers(turn)
    through = covered(turn.summary)
    missing = re.search(r"\n\((\d+) messages after that are left out here", turn.system or "")
    assert through
    assert through + (int(missing[1]) // 2 if missing else 0) + len(shown) == len(ended)
    assert "\n\nWhat was said earlier in this conversation, in short:\n" in (turn.system or "")


def served(**memory: object) -> ServedAgent:
    return ServedAgent("a", Recorder(), "A", system="Be brief.", **memory)  # type: ignore[arg-type]


@settings(deadline=None)
@given(turns=ANY_CONVERSATION, window=st.integers(0, 30))
def test_a_window(turns: list[Said], window: int) -> None:
    done = asyncio.run(taken(served(window=window), turns))
    for number, turn in enumerate(done.recorder.turns):
        check_validity(turn, done.ended[:number])
        assert len(turn.history) == 2 * min(number, window // 2)


@settings(deadline=None)
@given(turns=ANY_CONVERSATION, before=ANY_CONVERSATION, budget=st.integers(100, 3000))
@example(turns=[Said()], before=[Said(words=10)] * 600, budget=3000)
def test_a_budget_of_tokens(turns: list[Said], before: list[Said], budget: int) -> None:
    done = asyncio.run(taken(served(tokens=budget, tokenizer=Words()), turns, before))
    for number, turn in enumerate(done.recorder.turns, len(before)):
        ended = done.ended[:number]
        check_validity(turn, ended)
        used = size(turn.system, [*turn.history, turn.message])
        assert used <= budget or not turn.history
        shown = len(turn.history) // 2
        if shown < number:
            one_more = conversation(ended[number - shown - 1 : number - shown])
            assert used + size(None, one_more) > budget, "as much as fits"
    assert done.recorder.requests == []


@settings(deadline=None)
@given(turns=ANY_CONVERSATION, before=ANY_CONVERSATION, memory=st.one_of(
    st.integers(4, 30).map(lambda window: {"window": window}), st.integers(1000, 3000).map(lambda n: {"tokens": n})
))  # fmt: skip
def test_a_summary(turns: list[Said], before: list[Said], memory: dict[str, int]) -> None:
    done = asyncio.run(taken(served(summarises=True, tokenizer=Words(), **memory), turns, before))
    for number, turn in enumerate(done.recorder.turns, len(before)):
        check_validity(turn, done.ended[:number])
        check_summary(turn, done.ended[:number])
        if "tokens" in memory:
            used = size(turn.system, [*turn.history, turn.message])
            assert used <= memory["tokens"] or not (turn.history or turn.summary)
            assert len((turn.summary or "").split()) <= memory["tokens"] // 4
        else:
            assert len(turn.history) <= memory["window"]
    reached = 0
    for request in done.recorder.requests:
        shown = numbers(request)
        assert shown == list(range(shown[0], shown[-1] + 1))
        assert covered(request.summary) <= reached
        assert not any(message.has_files for message in request.history)
        assert [message.role for message in request.history] == [Role.USER, Role.AGENT] * len(shown)
        if "tokens" in memory:
            assert size(request.system, [*request.history, request.message]) <= memory["tokens"] + 150
        reached = max(reached, shown[-1])
    stored = asyncio.run(done.store.read_summary(ALICE, done.session.id))
    left_out = re.match(r"\((\d+) messages are not part", stored.text if stored else "")
    assert (int(left_out[1]) if left_out else 0) == 2 * done.recorder.skipped


async def test_the_older_part_is_summarised_once_and_half_of_the_window_stays() -> None:
    done = await taken(served(window=8, summarises=True), [Said()] * 30)
    shown = [(covered(turn.summary), numbers(turn)) for turn in done.recorder.turns]
    assert shown[3:9] == [
        (0, [1, 2, 3]), (0, [1, 2, 3, 4]), (3, [4, 5]), (3, [4, 5, 6]), (3, [4, 5, 6, 7]), (6, [7, 8]),
    ]  # fmt: skip
    assert [numbers(request) for request in done.recorder.requests] == [[n, n + 1, n + 2] for n in range(1, 28, 3)]
    assert [note.note for note in done.notes] == ["Summarising the earlier conversation"] * 9
    stored = await done.store.read_summary(ALICE, done.session.id)
    assert stored is not None
    assert (stored.text.split(":")[0], stored.through) == ("s27", 27)


async def test_another_process_uses_the_summary_that_is_stored() -> None:
    done = await taken(served(window=8, summarises=True), [Said()] * 6)
    assert len(done.recorder.requests) == 1
    done.restart()
    turn = await done.take(Said())
    assert (covered(turn.summary), numbers(turn)) == (3, [4, 5, 6])
    assert len(done.recorder.requests) == 1


async def test_what_a_summary_costs_is_part_of_the_turn_that_needs_it() -> None:
    done = await taken(served(window=8, summarises=True), [Said()] * 5)
    assert done.usage == Usage(100, 10)
    await done.take(Said())
    assert done.usage == Usage(107, 11)
    await done.take(Said())
    assert done.usage == Usage(100, 10)


@pytest.mark.parametrize("summary", [None, 0])
async def test_a_summary_that_fails_or_is_empty_is_tried_again_some_turns_later(summary: int | None) -> None:
    done = await taken(served(window=8, summarises=True), [Said()] * 5)
    for _ in range(5):
        turn = await done.take(Said(summary=summary))
        assert turn.summary is None
        assert len(numbers(turn)) == 4, "the window alone"
    assert len(done.recorder.requests) == 1, "not with every turn"
    assert await done.store.read_summary(ALICE, done.session.id) is None
    turn = await done.take(Said())
    assert (covered(turn.summary), numbers(turn)) == (8, [9, 10])


async def test_an_imported_conversation_is_caught_up_with_piece_by_piece() -> None:
    done = await taken(served(window=8, summarises=True), [Said()], [Said()] * 18)
    (turn,) = done.recorder.turns
    assert [numbers(request) for request in done.recorder.requests] == [
        [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16],
    ]  # fmt: skip
    assert (covered(turn.summary), numbers(turn)) == (16, [17, 18])
    assert [note.fraction for note in done.notes] == [0, 0.25, 0.5, 0.75]
    assert done.usage == Usage(100 + 4 * 7, 10 + 4 * 1)


async def test_of_a_very_long_one_the_newest_part_is_summarised_and_the_model_is_told() -> None:
    done = await taken(served(window=8, summarises=True), [Said(), Said()], [Said()] * 1000)
    turn, later = done.recorder.turns
    assert len(done.recorder.requests) <= MOST_PIECES + 1
    first = numbers(done.recorder.requests[0])[0]
    assert f"({2 * (first - 1)} messages are not part of this summary.)" in (turn.system or "")
    assert numbers(turn) == [999, 1000]
    assert numbers(later) == [999, 1000, 1001]


async def test_short_turns_are_read_in_one_go_once_it_is_known_how_many_fit() -> None:
    class Counting(MemoryStore):
        limits: list[int] = []  # noqa: RUF012

        async def read_history(self, principal: Principal, session_id: str, *, limit: int) -> list[Task]:
            self.limits.append(limit)
            return await super().read_history(principal, session_id, limit=limit)

    done = Conversation(served(tokens=2000, tokenizer=Words()), [Said()] * 1000)
    store = done.store = Counting(ManualClock())
    done.restart()
    await done.create()
    await done.take(Said())
    assert store.limits == [10, 20, 40, 80, 160]
    store.limits.clear()
    turn = await done.take(Said())
    assert len(store.limits) == 1
    assert store.limits[0] <= len(turn.history) // 2 * 1.2


@pytest.mark.parametrize("factor", [0.7, 1.0, 2.5])
async def test_counts_are_set_right_by_what_the_model_reports(factor: float) -> None:
    class Reporting(Recorder):
        async def answer(self, turn: Turn) -> AsyncGenerator[Output, None]:
            self.turns.append(turn)
            yield Text("ok")
            yield Usage(int(factor * size(turn.system, [*turn.history, turn.message])), 1)

    done = Conversation(served(tokens=2000, tokenizer=Words()), [Said(words=40)] * 100)
    done.recorder = Reporting()
    done.served = replace(done.served, agent=done.recorder)
    await done.create()
    for _ in range(20):
        turn = await done.take(Said(words=40))
    used = factor * size(turn.system, [*turn.history, turn.message])
    assert 1700 < used < 2100
