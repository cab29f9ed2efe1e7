"""Fork, export and import: a session as a copy, whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from hector.errors import InvalidRequest
from hector.stores.base import Store
from hector.stores.memory import MemoryStore
from hector.web.requests import MAX_LINE_BYTES, numbered_lines
from tests.backends import PAIRS, FreshPlace
from tests.support import ManualClock, frames, services_with, serving, wait_until
from tests.web.test_api import HELLO, assert_problem, session_of
from tests.web.test_sessions import all_messages, text

if TYPE_CHECKING:
    from starlette.requests import Request

HEADER = {"type": "session", "format": "hector-session", "version": 1, "agentId": "my_agent", "ttl": 60}
TURN = {
    "type": "turn",
    "state": "completed",
    "input": {"role": "user", "parts": [{"type": "text", "text": "My name is Alice"}]},
    "output": {"role": "assistant", "parts": [{"type": "text", "text": "Hello Alice"}]},
    "createdAt": "2026-01-31T12:00:00.000Z",
    "endedAt": "2026-01-31T12:00:01Z",
}


def file(*lines: Any) -> bytes:
    return b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)


async def conversation(client: httpx.AsyncClient) -> str:
    """A session with turns of every kind of end behind it."""
    session_id = await session_of(client, ttl="2h", metadata={"plan": "gold"})
    for said in ("My name is Alice", "Grüße\n\u2028 😀", "fail please"):
        await client.post(f"/sessions/{session_id}/tasks", json=text(said))
    return session_id


def content(messages: list[Any]) -> list[Any]:
    return [(message["role"], message["parts"], message["createdAt"]) for message in messages]


async def tasks_of(client: httpx.AsyncClient, session_id: str) -> list[Any]:
    """What does not depend on where the session is, of each task."""
    items = (await client.get("/tasks", params={"sessionId": session_id})).json()["items"]
    return [{**item, "taskId": None, "sessionId": None, "lastEventId": None} for item in items]


async def test_a_fork_has_the_history_and_goes_its_own_way(on_any: httpx.AsyncClient) -> None:
    source = await conversation(on_any)
    made = await on_any.post(f"/sessions/{source}/fork")
    assert made.status_code == 201
    fork = made.json()
    assert made.headers["location"].endswith(f"/sessions/{fork['sessionId']}")
    before = (await on_any.get(f"/sessions/{source}")).json()
    assert fork["sessionId"] != source
    for field in ("agentId", "ttl", "metadata", "turns"):
        assert fork[field] == before[field]
    assert content(await all_messages(on_any, fork["sessionId"], 4)) == content(await all_messages(on_any, source, 4))
    assert await tasks_of(on_any, fork["sessionId"]) == await tasks_of(on_any, source)
    name = text("What is my name?")
    answer = (await on_any.post(f"/sessions/{fork['sessionId']}/tasks", json=name)).json()
    assert answer["output"]["content"] == "Your name is Alice."
    assert (await on_any.get(f"/sessions/{source}")).json()["turns"] == 3, "the source does not see it"
    await on_any.delete(f"/sessions/{source}")
    assert len(await all_messages(on_any, fork["sessionId"], 100)) == 7


async def test_copied_turns_can_be_read_and_followed(on_any: httpx.AsyncClient) -> None:
    fork = (await on_any.post(f"/sessions/{await conversation(on_any)}/fork")).json()["sessionId"]
    items = (await on_any.get("/tasks", params={"sessionId": fork})).json()["items"]
    for task in items:
        assert (await on_any.get(f"/tasks/{task['taskId']}")).json() == task
        stream = frames((await on_any.get(f"/tasks/{task['taskId']}/stream")).text)
        assert [frame.id for frame in stream] == list(range(1, task["lastEventId"] + 1))
        assert stream[-1].data["status"]["state"] == task["status"]["state"]
        said = "".join(frame.data["message"]["parts"][0]["text"] for frame in stream[:-1])
        assert said == (task["output"] or {"content": ""})["content"]


async def test_a_fork_may_begin_earlier_and_differ(client: httpx.AsyncClient) -> None:
    source = await conversation(client)
    first = (await client.get(f"/sessions/{source}/messages")).json()["items"][0]["taskId"]
    path = f"/sessions/{source}/fork"
    fork = (await client.post(path, json={"taskId": first, "ttl": "1m", "metadata": {"b": 1}})).json()
    assert (fork["turns"], fork["ttl"], fork["metadata"]) == (1, 60, {"b": 1})
    for body, field in (({"taskId": fork["sessionId"]}, "taskId"), ({"ttl": "9999d"}, "ttl"), ({"x": 1}, "x")):
        assert_problem(await client.post(path, json=body), 400, "invalid_request", field)
    assert_problem(await client.post(path, json={"taskId": f"{source}-{'0' * 19}"}), 404, "not_found", "taskId")
    assert_problem(await client.post("/sessions/unknown/fork"), 404, "not_found", "sessionId")
    assert len((await client.get("/sessions")).json()["items"]) == 2


async def test_a_fork_leaves_out_the_turn_that_is_running(on_any: httpx.AsyncClient) -> None:
    source = await session_of(on_any)
    await on_any.post(f"/sessions/{source}/tasks", json=HELLO)
    running = asyncio.create_task(on_any.post(f"/sessions/{source}/tasks", json=text("count to 20 every 50 ms")))
    while (await on_any.get(f"/sessions/{source}")).json()["status"] != "busy":
        await asyncio.sleep(0.01)
    fork = (await on_any.post(f"/sessions/{source}/fork")).json()
    assert (fork["turns"], fork["status"]) == (1, "active")
    assert (await on_any.post(f"/sessions/{fork['sessionId']}/tasks", json=HELLO)).status_code == 200
    assert (await running).json()["status"]["state"] == "completed"


async def test_one_key_is_one_copy(on_any: httpx.AsyncClient) -> None:
    source = await conversation(on_any)
    whole = (await on_any.get(f"/sessions/{source}/export")).content
    calls: dict[str, Any] = {
        "fork": lambda key: on_any.post(f"/sessions/{source}/fork", headers=key),
        "import": lambda key: on_any.post("/sessions/import", content=whole, headers=key),
    }
    for name, call in calls.items():
        made = await asyncio.gather(*(call({"Idempotency-Key": name}) for _ in range(5)))
        assert {answer.status_code for answer in made} == {201}
        assert len({answer.text for answer in made}) == 1
        assert len(await all_messages(on_any, made[0].json()["sessionId"], 100)) == 5
    refused = await on_any.post("/sessions/import", content=file(HEADER, {"type": "end", "turns": 0}),
                                headers={"Idempotency-Key": "import"})  # fmt: skip
    assert_problem(refused, 422, "idempotency_key_reused", "Idempotency-Key")
    assert len((await on_any.get("/sessions")).json()["items"]) == 3


@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
async def test_what_is_exported_is_imported_elsewhere_and_equal(pair: tuple[str, str], fresh_place: FreshPlace) -> None:
    one, other = [fresh_place(backend).store() for backend in pair]
    for store in (one, other):
        await store.set_up()
    async with serving(services_with(one)) as here, serving(services_with(other)) as elsewhere:
        await _exported_is_equal(here, elsewhere)
    for store in (one, other):
        await store.aclose()


async def _exported_is_equal(here: httpx.AsyncClient, elsewhere: httpx.AsyncClient) -> None:
    source = await conversation(here)
    exported = await here.get(f"/sessions/{source}/export")
    assert exported.headers["content-type"] == "application/x-ndjson"
    assert f'filename="{source}.ndjson"' in exported.headers["content-disposition"]
    lines = [json.loads(line) for line in exported.content.splitlines()]
    assert [line["type"] for line in lines] == ["session", "turn", "turn", "turn", "end"]
    made = await elsewhere.post("/sessions/import", content=exported.content)
    assert made.status_code == 201
    session = made.json()
    before = (await here.get(f"/sessions/{source}")).json()
    for field in ("agentId", "ttl", "metadata", "turns", "status"):
        assert session[field] == before[field]
    copy = session["sessionId"]
    assert content(await all_messages(elsewhere, copy, 100)) == content(await all_messages(here, source, 100))
    assert await tasks_of(elsewhere, copy) == await tasks_of(here, source)
    again = [json.loads(line) for line in (await elsewhere.get(f"/sessions/{copy}/export")).content.splitlines()]
    for line in (*lines, *again):
        for own in ("sessionId", "taskId"):
            line.pop(own, None)
        if line["type"] == "session":
            line.pop("createdAt")
    assert again == lines
    answer = await elsewhere.post(f"/sessions/{copy}/tasks", json=text("What is my name?"))
    assert answer.json()["output"]["content"] == "Your name is Alice."


async def test_a_long_session_goes_through_whole(any_store: Store) -> None:
    services = services_with(any_store, agent=lambda turn: "å" * 20_000)
    async with serving(services) as client:
        session_id = await session_of(client)
        for number in range(50):
            await client.post(f"/sessions/{session_id}/tasks", json=text(f"{number} " + "x" * 1000))
        whole = (await client.get(f"/sessions/{session_id}/export")).content
        assert len(whole) > 2_000_000

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(whole), 10_007):
                yield whole[start : start + 10_007]

        made = (await client.post("/sessions/import", content=chunks())).json()
        assert made["turns"] == 50
        assert content(await all_messages(client, made["sessionId"], 100)) == content(
            await all_messages(client, session_id, 100)
        )


async def test_no_more_than_a_page_of_turns_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    services = services_with(store := MemoryStore())
    staged: list[int] = []
    real = store.stage_turns

    async def counting(session: Any, turns: Any) -> None:
        staged.append(len(turns))
        await real(session, turns)

    monkeypatch.setattr(store, "stage_turns", counting)
    async with serving(services) as client:
        made = await client.post("/sessions/import", content=file(HEADER, *[TURN] * 95, {"type": "end", "turns": 95}))
        assert made.json()["turns"] == 95
    assert sum(staged) == 95
    assert max(staged) <= 20


@pytest.mark.parametrize("missing_newline", [False, True])
async def test_a_file_may_be_written_by_hand(client: httpx.AsyncClient, missing_newline: bool) -> None:
    whole = b"\n" + file(HEADER, b"", TURN, {**TURN, "output": None, "state": "canceled"}, {"type": "end", "turns": 2})
    whole = whole.replace(b"\n", b"\r\n")
    made = await client.post("/sessions/import?agentId=assistant", content=whole.strip() if missing_newline else whole)
    session = made.json()
    assert (session["agentId"], session["turns"], session["ttl"]) == ("assistant", 2, 60)
    assert [message["role"] for message in await all_messages(client, session["sessionId"], 9)] == [
        "user", "assistant", "user",
    ]  # fmt: skip


async def test_a_byte_order_mark_before_a_file_is_left_out(client: httpx.AsyncClient) -> None:
    made = await client.post("/sessions/import", content=b"\xef\xbb\xbf" + file(HEADER, TURN, END))
    assert (made.status_code, made.json()["turns"]) == (201, 1)


class Body:
    """A request's body in small chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks

    async def stream(self) -> AsyncIterator[bytes]:
        for number, chunk in enumerate(self._chunks):
            if number % 1000 == 0:
                await asyncio.sleep(0)
            yield chunk


async def lines_of(chunks: Iterable[bytes]) -> list[tuple[int, bytes]]:
    return [line async for line in numbered_lines(cast("Request", Body(chunks)), hashlib.sha256())]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_lines_are_the_same_however_the_body_is_cut(size: int) -> None:
    body = b"first\n\nthird\r\n  \nfifth"
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    assert await lines_of(chunks) == [(1, b"first"), (3, b"third\r"), (5, b"fifth")]


async def test_a_long_line_in_small_chunks_is_not_copied_with_each() -> None:
    """Copied each time, it would be four terabytes, and many minutes."""
    async with asyncio.timeout(60):
        ((_, line),) = await lines_of(b"x" * 32 for _ in range(MAX_LINE_BYTES // 32))
    assert len(line) == MAX_LINE_BYTES


async def test_empty_lines_without_end_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="more than 1,000 empty lines"):
        await lines_of(b"\r\n \n" for _ in itertools.count())


END = {"type": "end", "turns": 1}
BAD_FILES: dict[str, tuple[bytes, int, str | None, str]] = {
    "empty": (b"", 400, None, "The body is empty"),
    "white space": (b" \n\n ", 400, None, "The body is empty"),
    "no header": (file(TURN, END), 400, "line 1: format", "hector-session"),
    "another format": (file({**HEADER, "format": "x"}, END), 400, "line 1: format", "hector-session"),
    "another version": (file({**HEADER, "version": 2}, END), 400, "line 1: version", "Version 2 is not known here"),
    "no agent": (file({**HEADER, "agentId": "nobody"}, END), 404, "agentId", "no agent 'nobody'"),
    "bad ttl": (file({**HEADER, "ttl": -1}, END), 400, "line 1: ttl", "not a duration"),
    "large metadata": (file({**HEADER, "metadata": {"x": "x" * 20_000}}, END), 413, "line 1: metadata", "larger"),
    "not JSON": (file(HEADER, TURN, b"{", END), 400, "line 3", "Line 3: It is not JSON"),
    "not UTF-8": (file(HEADER, TURN, b"\xff", END), 400, "line 3", "not UTF-8"),
    "a surrogate": (file(HEADER, TURN, b'{"type": "\\ud800"}', END), 400, "line 3", "surrogate"),
    "nested": (file(HEADER, TURN, b"[" * 100_000, END), 400, "line 3", "nested too deeply"),
    "no object": (file(HEADER, TURN, b"[]", END), 400, "line 3", "an array"),
    "no input": (file(HEADER, TURN, {**TURN, "input": None}, END), 400, "line 3: input", "input"),
    "an unknown field": (file(HEADER, {**TURN, "x": 1}, END), 400, "line 2: x", "not known here"),
    "no end state": (file(HEADER, {**TURN, "state": "working"}, END), 400, "line 2: state", "state is wrong"),
    "a bad time": (file(HEADER, {**TURN, "createdAt": "soon"}, END), 400, "line 2: createdAt", "createdAt"),
    "a number as time": (file(HEADER, {**TURN, "endedAt": 7}, END), 400, "line 2: endedAt", "2026-01-31"),
    "wrong roles": (file(HEADER, {**TURN, "input": TURN["output"]}, END), 400, "line 2: input.role", "role"),
    "a NUL": (
        file(HEADER, {**TURN, "input": {"role": "user", "parts": [{"type": "text", "text": "\0"}]}}, END),
        400, "line 2: input.parts.0.text", "NUL",
    ),
    "long text": (
        file(HEADER, {**TURN, "output": {"role": "assistant", "parts": [{"type": "text", "text": "x" * 1_048_577}]}}),
        413, "line 2: output.parts.0", "larger than",
    ),
    "a long line": (file(HEADER, b'"' + b"x" * 17_000_000 + b'"'), 413, "line 2", "longer than"),
    "30 MB": (b"x" * 30_000_000, 413, "line 1", "longer than"),
    "cut off": (file(HEADER, TURN, TURN), 400, "line 4", "cut off"),
    "a wrong count": (file(HEADER, TURN, TURN, END), 400, "line 4: turns", "1 turns are announced, but there are 2"),
    "more after the end": (file(HEADER, TURN, END, TURN), 400, "line 4", "nothing may come after the end"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_FILES.values(), ids=BAD_FILES)
async def test_a_bad_line_is_named_and_nothing_of_the_file_is_seen(
    client: httpx.AsyncClient, bad: tuple[bytes, int, str | None, str]
) -> None:
    body, status, field, says = bad
    refused = await client.post("/sessions/import", content=body)
    assert_problem(refused, status, {400: "invalid_request", 404: "not_found", 413: "input_too_large"}[status],
                   field, says)  # fmt: skip
    assert (await client.get("/sessions")).json()["items"] == []


async def test_nothing_is_left_of_an_import_whose_client_goes_away(client: httpx.AsyncClient, services: Any) -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield file(HEADER, *[TURN] * 50)
        await wait_until(lambda: bool(services.store.staged))
        raise httpx.WriteError("cut")

    with pytest.raises(httpx.WriteError):
        await client.post("/sessions/import", content=cut())
    await wait_until(lambda: not services.store.staged)
    assert (await client.get("/sessions")).json()["items"] == []


async def test_times_to_come_do_not_disturb_the_order(client: httpx.AsyncClient) -> None:
    late = {**TURN, "createdAt": "9999-12-31T00:00:00Z", "endedAt": "0001-01-01T00:00:00Z"}
    made = await client.post("/sessions/import", content=file(HEADER, late, TURN, {"type": "end", "turns": 2}))
    session_id = made.json()["sessionId"]
    await client.post(f"/sessions/{session_id}/tasks", json=text("What is my name?"))
    said = [message["parts"][0]["text"] for message in await all_messages(client, session_id, 3)]
    assert said[-2:] == ["What is my name?", "Your name is Alice."]


async def test_a_copy_lives_from_when_it_is_made_and_never_longer_than_allowed_here() -> None:
    clock = ManualClock()
    services = services_with(MemoryStore(clock), clock=clock, sessions={"ttl": "1h", "max_age": "2h"})
    async with serving(services) as client:
        session_id = await session_of(client)
        await client.post(f"/sessions/{session_id}/tasks", json=HELLO)
        clock.advance(seconds=1800)
        fork = (await client.post(f"/sessions/{session_id}/fork")).json()["sessionId"]
        whole = file({**HEADER, "ttl": 10_000_000}, TURN, {"type": "end", "turns": 1})
        imported = (await client.post("/sessions/import", content=whole)).json()
        assert imported["ttl"] == 7200
        clock.advance(seconds=1800)
        assert (await client.get(f"/sessions/{session_id}/export")).status_code == 404
        assert (await client.get(f"/sessions/{fork}/export")).status_code == 200


async def test_files_and_stop_reasons_are_carried_along(client: httpx.AsyncClient) -> None:
    parts = [{"type": "text", "text": "What is this?"},
             {"type": "file", "raw": "iVBORw0KGgo=", "mediaType": "image/png", "filename": "dot.png"}]  # fmt: skip
    turn = {**TURN, "input": {"role": "user", "parts": parts}, "stopReason": "max_tokens"}
    imported = await client.post("/sessions/import", content=file(HEADER, turn, END))
    assert imported.status_code == 201, imported.text
    session_id = imported.json()["sessionId"]
    assert (await client.get(f"/sessions/{session_id}/messages")).json()["items"][0]["parts"] == parts
    (task,) = (await client.get("/tasks", params={"sessionId": session_id})).json()["items"]
    assert task["stopReason"] == "max_tokens"
    exported = (await client.get(f"/sessions/{session_id}/export")).text.splitlines()
    assert json.loads(exported[1])["input"]["parts"] == parts
    assert json.loads(exported[1])["stopReason"] == "max_tokens"
