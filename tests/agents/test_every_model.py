"""What every agent with a model behind it does, well and badly: streaming, stop reasons, failures, retries, cancel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from hector.agents.base import Text, Truncated
from hector.agents.retries import Retries
from hector.errors import AgentError
from hector.model import Message, Role, StopReason, TaskState, Usage
from tests.agents.wires import TURN, WIRES, Answer, Wire, model_server, outputs, streaming
from tests.support import ask, new_session, services_with, wait_until


def in_turn(*answers: Answer | Response) -> tuple[Answer, list[float]]:
    """Answers one after another (the last one again and again), and when each call came."""
    calls: list[float] = []

    async def answer(request: Request) -> Response:
        calls.append(time.monotonic())
        chosen = answers[min(len(calls), len(answers)) - 1]
        return chosen if isinstance(chosen, Response) else await chosen(request)

    return answer, calls


async def failure(wire: Wire, answer: Answer, **settings: object) -> AgentError:
    async with model_server(wire, answer) as url:
        with pytest.raises(AgentError) as raised:
            await outputs(wire.agent(url, **settings))
    assert ": " in raised.value.message or "Send it again." in raised.value.message, "it says what to do"
    return raised.value


async def test_the_answer_streams_with_its_usage(wire: Wire) -> None:
    async with model_server(wire, streaming(wire, wire.pieces("Al", "ice 🦊"), wire.end())) as url:
        assert await outputs(wire.agent(url)) == [Text("Al"), Text("ice 🦊"), Usage(20, 3)]


async def test_a_piece_is_handed_on_before_the_next_one_is_made(wire: Wire) -> None:
    more = asyncio.Event()

    async def answer(_: Request) -> Response:
        async def frames() -> AsyncIterator[bytes]:
            for frame in wire.pieces("first"):
                yield frame
            await more.wait()
            for frame in wire.end():
                yield frame

        return StreamingResponse(frames(), media_type=wire.media_type)

    async with model_server(wire, answer) as url:
        agent = wire.agent(url)
        answering = agent.answer(TURN)
        assert await asyncio.wait_for(anext(answering), 5) == Text("first")
        more.set()
        assert [output async for output in answering] == [Usage(20, 3)]
        await agent.aclose()


async def test_an_answer_cut_by_max_tokens_completes_and_tells_so(wire: Wire) -> None:
    async with model_server(wire, streaming(wire, wire.pieces("half"), wire.end("max_tokens"))) as url:
        services = services_with(agent=wire.agent(url))
        task = await ask(services, await new_session(services), "tell me all")
        assert (task.state, task.stop_reason) == (TaskState.COMPLETED, StopReason.MAX_TOKENS)
        assert task.output == Message.of(Role.AGENT, "half")
        await services.aclose()


async def test_a_filtered_answer_fails_with_its_usage(wire: Wire) -> None:
    async with model_server(wire, streaming(wire, wire.pieces("half"), wire.end("filter"))) as url:
        services = services_with(agent=wire.agent(url))
        task = await ask(services, await new_session(services), "say something bad")
        assert task.error is not None
        assert (task.error.code, task.usage, task.stop_reason) == ("content_filtered", Usage(20, 3), None)
        await services.aclose()


@pytest.mark.parametrize(
    ("status", "code", "calls"),
    [
        (400, "model_refused", 1), (401, "model_unauthorized", 1), (403, "model_unauthorized", 1),
        (404, "model_not_found", 1), (408, "model_timeout", 1), (429, "model_throttled", 3),
        (500, "model_overloaded", 3), (503, "model_overloaded", 3), (504, "model_timeout", 1),
    ],
)  # fmt: skip
async def test_a_refusal_is_explained_and_repeated_only_where_it_helps(
    wire: Wire, status: int, code: str, calls: int
) -> None:
    answer, came = in_turn(wire.refusal(status, "because of this"))
    error = await failure(wire, answer)
    assert error.code == code
    assert "because of this" in error.message
    assert len(came) == calls, "there is one mechanism that repeats calls, and it is not the SDK's"


@pytest.mark.parametrize("status", [429, 503])
async def test_what_passes_is_not_noticed(wire: Wire, status: int) -> None:
    answer, calls = in_turn(
        wire.refusal(status, "busy"), wire.refusal(status, "busy"), streaming(wire, wire.pieces("Hi"), wire.end())
    )
    async with model_server(wire, answer) as url:
        assert await outputs(wire.agent(url)) == [Text("Hi"), Usage(20, 3)]
    assert len(calls) == 3


async def test_a_pause_that_the_server_asks_for_is_kept(wire: Wire) -> None:
    busy = wire.refusal(429, "busy")
    busy.headers["Retry-After"] = "0.3"
    answer, calls = in_turn(busy, streaming(wire, wire.pieces("Hi"), wire.end()))
    async with model_server(wire, answer) as url:
        assert Text("Hi") in await outputs(wire.agent(url))
    assert calls[1] - calls[0] >= 0.3


async def test_a_pause_that_is_too_long_ends_the_turn_at_once(wire: Wire) -> None:
    busy = wire.refusal(429, "busy")
    busy.headers["Retry-After"] = "60"
    answer, calls = in_turn(busy)
    assert (await failure(wire, answer)).code == "model_throttled"
    assert len(calls) == 1


async def test_an_error_before_the_first_piece_is_repeated(wire: Wire) -> None:
    early = streaming(wire, wire.pieces(), [wire.error(529, "overloaded")])
    answer, calls = in_turn(early, streaming(wire, wire.pieces("Hi"), wire.end()))
    async with model_server(wire, answer) as url:
        assert await outputs(wire.agent(url)) == [Text("Hi"), Usage(20, 3)]
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["anthropic", "openai"])  # Bedrock has no such event
async def test_a_timeout_before_the_first_piece_is_not_repeated(name: str) -> None:
    wire = WIRES[name]
    answer, calls = in_turn(streaming(wire, wire.pieces(), [wire.error(504, "too slow")]))
    assert (await failure(wire, answer)).code == "model_timeout"
    assert len(calls) == 1, "it may have been paid for"


@pytest.mark.parametrize(("status", "code"), [(529, "model_overloaded"), (429, "model_throttled")])
async def test_nothing_is_repeated_after_the_first_piece(wire: Wire, status: int, code: str) -> None:
    answer, calls = in_turn(streaming(wire, wire.pieces("half"), [wire.error(status, "overloaded")]))
    assert (await failure(wire, answer)).code == code
    assert len(calls) == 1


async def test_a_conversation_that_is_too_long_is_told_as_such(wire: Wire) -> None:
    answer, _ = in_turn(wire.refusal(400, wire.overflow))
    error = await failure(wire, answer)
    assert error.code == "context_overflow"
    assert "start a new session" in error.message


async def test_a_request_that_the_filter_stops_is_told_as_such(wire: Wire) -> None:
    answer, _ = in_turn(wire.refusal(400, "Output blocked by content filtering policy"))
    assert (await failure(wire, answer)).code == "content_filtered"


async def test_a_stream_that_ends_too_early_is_a_failure_and_not_repeated(wire: Wire) -> None:
    for frames in ([], wire.pieces("half")):
        answer, calls = in_turn(streaming(wire, frames))
        assert (await failure(wire, answer)).code == "model_disconnected"
        assert len(calls) == 1


async def test_a_connection_that_is_cut_is_a_failure(wire: Wire) -> None:
    async def answer(_: Request) -> Response:
        async def frames() -> AsyncIterator[bytes]:
            for frame in wire.pieces("half"):
                yield frame
            raise ConnectionResetError

        return StreamingResponse(frames(), media_type=wire.media_type)

    assert (await failure(wire, answer)).code == "model_disconnected"


async def test_a_server_that_is_not_there_is_asked_again_and_then_told(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[int] = []
    pause = Retries.pause

    def look(self: Retries, error: object, attempt: int) -> float | None:
        pauses.append(attempt)
        return pause(self, error, attempt)  # type: ignore[arg-type]

    monkeypatch.setattr(Retries, "pause", look)
    with pytest.raises(AgentError) as raised:
        await outputs(wire.agent("http://127.0.0.1:9"))
    assert raised.value.code == "model_unreachable"
    assert pauses == [1, 2, 3]


@pytest.mark.parametrize("spoken", [False, True])
async def test_a_silent_server_is_a_timeout_and_not_asked_again(wire: Wire, spoken: bool) -> None:
    async def silent(_: Request) -> Response:
        async def frames() -> AsyncIterator[bytes]:
            for frame in wire.pieces("half"):
                yield frame
            await asyncio.sleep(2)

        if not spoken:
            await asyncio.sleep(2)
        return StreamingResponse(frames(), media_type=wire.media_type)

    answer, calls = in_turn(silent)
    assert (await failure(wire, answer, idle_timeout=0.3)).code == "model_timeout"
    assert len(calls) == 1


async def test_an_answer_that_is_no_stream_is_a_failure(wire: Wire) -> None:
    answer, _ = in_turn(JSONResponse({"hello": "there"}))
    error = await failure(wire, answer)
    assert error.code == ("model_disconnected" if wire is WIRES["anthropic"] else "model_bad_answer")


@pytest.mark.parametrize("speaking", [False, True])
async def test_cancelling_closes_the_connection_to_the_model(wire: Wire, speaking: bool) -> None:
    closed = asyncio.Event()

    async def answer(_: Request) -> Response:
        async def frames() -> AsyncIterator[bytes]:
            try:
                for frame in wire.pieces("word"):
                    yield frame
                while True:
                    await asyncio.sleep(0.01 if speaking else 60)
                    yield wire.pieces("word")[-1]
            finally:
                closed.set()

        return StreamingResponse(frames(), media_type=wire.media_type)

    async with model_server(wire, answer) as url:
        agent = wire.agent(url)
        answering = agent.answer(TURN)
        assert await anext(answering) == Text("word")
        await answering.aclose()
        await asyncio.wait_for(closed.wait(), 5)
        await agent.aclose()


async def test_a_cancel_while_waiting_for_the_next_try_is_heard(wire: Wire) -> None:
    answer, calls = in_turn(wire.refusal(503, "busy"))
    async with model_server(wire, answer) as url:
        agent = wire.agent(url, retries=Retries(first=1000, longest=1000))
        waiting = asyncio.ensure_future(anext(agent.answer(TURN)))
        await wait_until(lambda: len(calls) == 1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await agent.aclose()


async def test_a_truncated_answer_is_one_output(wire: Wire) -> None:
    async with model_server(wire, streaming(wire, wire.pieces("half"), wire.end("max_tokens"))) as url:
        assert (await outputs(wire.agent(url)))[-1] == Truncated(StopReason.MAX_TOKENS)
