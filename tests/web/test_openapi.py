"""The OpenAPI document: it knows every route, every answer and every error, and what it says of them is true."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import jsonschema
import pytest

from hector import errors
from hector.agents.base import Progress, Truncated, Turn
from hector.model import StopReason
from hector.web.api import API_ROUTES
from hector.web.examples import BODIES
from hector.web.known_problems import PROBLEMS, ROUTELESS, SESSION_ID, TASK_ID
from tests.support import frames, services_with, serving
from tests.web.test_api import HELLO, MESSAGE, session_of

INTERNAL = {"LeaseLost", "TaskClosed", "LostTurn", "ConfigError", "AgentError", "ModelError", "HectorError"}
"""None of these is answered to a request: they are handled before, or become a failed task."""


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    described: dict[str, Any] = (await client.get("/openapi.json")).json()
    return described


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{verb.upper()} {path}": one for path, item in document["paths"].items() for verb, one in item.items()}


def contents(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Where, which status (or that it is a body), and what is said of it."""
    found = []
    for name, operation in operations(document).items():
        answers = {**operation["responses"], "body": operation.get("requestBody", {})}
        found += [(name, key, one) for key, said in answers.items() for one in said.get("content", {}).values()]
    return found


def values(document: dict[str, Any], content: dict[str, Any]) -> list[Any]:
    """The examples of a body or an answer."""
    names = [example["$ref"].rpartition("/")[2] for example in content["examples"].values()]
    return [document["components"]["examples"][name]["value"] for name in names]


def codes(document: dict[str, Any], operation: str, status: int) -> set[str]:
    answer = operations(document)[operation]["responses"][str(status)]
    return {example["code"] for example in values(document, answer["content"]["application/problem+json"])}


def test_every_route_is_there(document: dict[str, Any]) -> None:
    assert set(operations(document)) == {
        "POST /sessions", "GET /sessions", "GET /sessions/{session_id}", "DELETE /sessions/{session_id}",
        "POST /sessions/{session_id}/tasks", "POST /sessions/{session_id}/tasks/stream",
        "GET /tasks", "GET /tasks/{task_id}", "POST /tasks/{task_id}/cancel", "GET /tasks/{task_id}/stream",
        "PATCH /sessions/{session_id}", "GET /sessions/{session_id}/messages", "POST /sessions/{session_id}/fork",
        "GET /sessions/{session_id}/export", "POST /sessions/import",
        "GET /agents", "GET /agents/{agent_id}", "POST /agents/{agent_id}/message/send",
        "POST /agents/{agent_id}/message/stream", "GET /health",
    }  # fmt: skip
    stream = operations(document)["POST /agents/{agent_id}/message/stream"]
    assert "text/event-stream" in stream["responses"]["200"]["content"]
    assert stream["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/SendMessage")
    assert "HTTPValidationError" not in json.dumps(document), "bodies are checked by us, not by FastAPI"


def test_every_body_answer_and_error_has_a_schema_and_examples_that_fit_it(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        for status, answer in operation["responses"].items():
            assert answer["description"]
            assert bool(answer.get("content")) == (status != "204"), (name, status)
    for name, key, content in contents(document):
        schema = content["schema"]["$ref"].rpartition("/")[2]
        assert (schema == "Problem") == (key.isdigit() and int(key) >= 400), (name, key)
        validator = jsonschema.Draft202012Validator({**content["schema"], "components": document["components"]})
        assert content["examples"], (name, key)
        for example in values(document, content):
            validator.validate(example)
            assert schema != "Problem" or str(example["status"]) == key
    for schema, described in document["components"]["schemas"].items():
        if schema.endswith("Page"):
            assert described["example"]["items"], schema


def test_every_operation_is_of_one_group(document: dict[str, Any]) -> None:
    groups: dict[str, list[str]] = {}
    for name, operation in operations(document).items():
        (tag,) = operation["tags"]
        groups.setdefault(tag, []).append(name)
    assert {tag: len(names) for tag, names in groups.items()} == {"Sessions": 9, "Tasks": 8, "Agents": 2, "Service": 1}
    assert "POST /sessions/{session_id}/tasks" in groups["Tasks"]
    assert {tag["name"] for tag in document["tags"]} == set(groups)


def test_every_object_has_a_name(document: dict[str, Any]) -> None:
    """A generator would make one up, and it may be another's."""

    def nameless(node: Any, *, named: bool) -> Iterator[Any]:
        if isinstance(node, dict):
            if "properties" in node and not named:
                yield node
            for inner in node.values():
                yield from nameless(inner, named=False)
        elif isinstance(node, list):
            for inner in node:
                yield from nameless(inner, named=False)

    schemas = document["components"]["schemas"]
    assert [found for schema in schemas.values() for found in nameless(schema, named=True)] == []
    assert list(nameless(document["paths"], named=False)) == []
    for node in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert node in schemas


async def test_a_stream_is_what_its_components_say(document: dict[str, Any]) -> None:
    async def answer(turn: Turn) -> AsyncIterator[Any]:
        yield "a"
        yield Progress("half", 0.5)
        yield Truncated(StopReason.MAX_TOKENS)

    def of(name: str) -> jsonschema.Draft202012Validator:
        return jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", **document})

    async with serving(services_with(agent=answer)) as client:
        cut = (await client.post("/agents/my_agent/message/stream", json=MESSAGE)).text
    async with serving(services_with()) as client:
        fail = {"message": {"parts": [{"text": "fail please"}]}}
        failed = (await client.post("/agents/my_agent/message/stream", json=fail)).text
    seen = frames(cut) + frames(failed)
    for frame in seen:
        of("StreamEvent").validate({"id": str(frame.id), "event": frame.event, "data": json.dumps(frame.data)})
        of("EventData").validate(frame.data)
    assert {key for frame in seen for key in frame.data.get("status", ())} == {
        "state", "message", "fraction", "stop_reason", "error",
    }  # fmt: skip
    stream = operations(document)["GET /tasks/{task_id}/stream"]["responses"]["200"]
    assert "`StreamEvent`" in stream["description"]
    assert document["components"]["schemas"]["EventStream"]["type"] == "string"
    assert frames(document["components"]["schemas"]["EventStream"]["example"])[1].event == "status"


def test_examples_of_bodies_are_taken(document: dict[str, Any]) -> None:
    models = {route.body.__name__: route.body for route in API_ROUTES if route.body}
    assert set(BODIES) == {*models, "SessionFile"}
    for name, model in models.items():
        for example in BODIES[name].values():
            model.model_validate(example)


def test_every_error_that_a_route_answers_is_known() -> None:
    def below(error: type[errors.HectorError]) -> set[type[errors.HectorError]]:
        return {error}.union(*map(below, error.__subclasses__()))

    ours = {error for error in below(errors.HectorError) if error.__module__ == errors.__name__}
    known = {(problem.status, problem.example["code"]) for problem in PROBLEMS.values()}
    assert known == {(one.status, one.code) for one in ours if one.__name__ not in INTERNAL} | {(500, "internal")}


def test_a_conflict_is_told_as_it_is(document: dict[str, Any]) -> None:
    cancel = "POST /tasks/{task_id}/cancel"
    assert codes(document, cancel, 409) == {"task_not_cancelable"}
    assert "headers" not in operations(document)[cancel]["responses"]["409"]
    for turn in ("POST /sessions/{session_id}/tasks", "POST /agents/{agent_id}/message/stream"):
        assert codes(document, turn, 409) == {"session_busy", "too_many_waiting"}
        assert "Retry-After" in operations(document)[turn]["responses"]["409"]["headers"]
        assert codes(document, turn, 503) == {"store_unavailable", "queue_unavailable", "stopping"}
    assert "503" not in operations(document)["GET /agents"]["responses"], "they are not in the store"


async def test_examples_of_errors_are_what_is_answered(client: httpx.AsyncClient) -> None:
    session_id = await session_of(client)
    tasks = f"/sessions/{session_id}/tasks"
    ended = (await client.post(tasks, json=HELLO)).json()["taskId"]
    key = {"Idempotency-Key": "order-7"}
    await client.post(tasks, json=HELLO, headers=key)
    line = b'{"type":"session","format":"hector-session","version":1,"agentId":"my_agent","ttl":60}\n{"type":"turn"}'
    answered = {
        "wrong_ttl": await client.post("/sessions", json={"agentId": "my_agent", "ttl": 0}),
        "wrong_task_id": await client.post(f"/sessions/{session_id}/fork", json={"taskId": "x"}),
        "wrong_limit": await client.get("/sessions?limit=0"),
        "wrong_input": await client.post(tasks, json={"input": {}}),
        "wrong_message": await client.post("/agents/my_agent/message/send", json={"message": {}}),
        "wrong_line": await client.post("/sessions/import", content=line),
        "wrong_number": await client.get(f"/tasks/{ended}/stream?after=-1"),
        "no_session_id": await client.get("/tasks"),
        "no_session": await client.get(f"/sessions/{SESSION_ID}"),
        "no_task": await client.get(f"/tasks/{TASK_ID}"),
        "task_not_cancelable": await client.post(f"/tasks/{ended}/cancel"),
        "body_too_large": await client.post(tasks, content=b"x" * 5_000_000),
        "encoded_body": await client.post(tasks, json=HELLO, headers={"Content-Encoding": "gzip"}),
        "key_reused": await client.post(tasks, json={"input": {"content": "else"}}, headers=key),
    }
    for name, answer in answered.items():
        said = json.loads(answer.text.replace(ended, TASK_ID))
        assert said == PROBLEMS[name].example, name
    assert (await client.put("/sessions")).json() == ROUTELESS["MethodNotAllowed"][1]
    assert (await client.get("/session")).json() == ROUTELESS["NoRoute"][1]


async def test_where_there_is_no_route_is_described(document: dict[str, Any]) -> None:
    for name, described in document["components"]["responses"].items():
        assert name in document["info"]["description"]
        assert values(document, described["content"]["application/problem+json"]) == [ROUTELESS[name][1]]
    assert "Allow" in document["components"]["responses"]["MethodNotAllowed"]["headers"]


async def test_the_busy_session_of_the_example_is_told_so() -> None:
    async with serving(services_with()) as client:
        session_id = await session_of(client)
        slow = {"input": {"content": "be silent for 60 seconds"}}
        running = await client.post(f"/sessions/{session_id}/tasks", json=slow, headers={"Prefer": "respond-async"})
        busy = await client.post(f"/sessions/{session_id}/tasks", json=HELLO)
        assert re.sub(running.json()["taskId"], TASK_ID, busy.text) == json.dumps(PROBLEMS["session_busy"].example)
        await client.post(f"/tasks/{running.json()['taskId']}/cancel")
