"""What schemathesis has to be told: how newline-delimited JSON is written, and how to meet more than refusals.

An id that is made up is of no session, and most texts are no media type. So every second request that is meant to be
right is settled: it gets ids of what is there, and a body that makes sense; the others go as they were generated.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import requests
import schemathesis
from schemathesis.generation.meta import TestPhase

NDJSON = "application/x-ndjson"
MET = "HECTOR_TESTS_MET"
"""The file in which each answer is noted: [operation, status, code], a line each."""

AGENT = "my_agent"
PROBLEM = "application/problem+json"


@schemathesis.hook
def before_load_schema(ctx: Any, raw_schema: dict[str, Any]) -> None:
    """What schemathesis takes the schema of a stream for is that of each of its events."""
    for operation in (operation for item in raw_schema["paths"].values() for operation in item.values()):
        for answer in operation["responses"].values():
            if stream := answer.get("content", {}).get("text/event-stream"):
                stream["schema"] = {"$ref": "#/components/schemas/StreamEvent"}


@schemathesis.serializer(NDJSON)
def write(ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    return str(value).encode("utf-8", "replace")


@schemathesis.deserializer(NDJSON)
def read(ctx: Any, response: schemathesis.Response) -> str:
    return response.content.decode()


class Server:
    """Makes what a request needs to be about."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._busy = ""

    def session(self) -> str:
        return str(self._post("/sessions", {"agentId": AGENT})["sessionId"])

    def busy_session(self) -> str:
        if not self._busy:
            self._busy = self.session()
            self._ask(self._busy, "be silent for 600 seconds", {"Prefer": "respond-async"})
        return self._busy

    def task(self, *, running: bool = False) -> dict[str, Any]:
        if running:
            return self._ask(self.session(), "be silent for 600 seconds", {"Prefer": "respond-async"})
        return self._ask(self.session(), "hello", {})

    def _ask(self, session_id: str, text: str, headers: dict[str, str]) -> dict[str, Any]:
        return self._post(f"/sessions/{session_id}/tasks", {"input": {"content": text}}, headers)

    def _post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
        answer = requests.post(self._url + path, json=body, headers=headers, timeout=20)
        answer.raise_for_status()
        made: dict[str, Any] = answer.json()
        return made


_counts: defaultdict[str, itertools.count[int]] = defaultdict(itertools.count)


@schemathesis.hook
def before_call(ctx: Any, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    meta = case.meta
    # In the stateful phase, ids come from the answers before.
    if meta is None or not meta.generation.mode.is_positive or meta.phase.name is TestPhase.STATEFUL:
        return
    number = next(_counts[case.operation.label])
    if number % 2 == 0:
        _settle(Server(_url(case)), case, number // 2)


def _url(case: schemathesis.Case[Any]) -> str:
    return str(case.operation.base_url)


def _settle(server: Server, case: schemathesis.Case[Any], number: int) -> None:
    """`number` counts the operation's settled requests: so each kind of thing to be about has its turn."""
    name = case.operation.definition.raw["operationId"]
    says = case.operation.label.startswith("POST") and name in ("post_task", "stream_task")
    if "agent_id" in case.path_parameters:
        case.path_parameters["agent_id"] = AGENT
    if "session_id" in case.path_parameters:
        busy = says and number % 4 == 3
        case.path_parameters["session_id"] = server.busy_session() if busy else server.session()
    if "task_id" in case.path_parameters:
        task = server.task(running=name == "cancel_task" and number % 2 == 0)
        case.path_parameters["task_id"] = task["taskId"]
        if name == "resume_task" and number % 2:
            case.headers["Last-Event-ID"] = str(task["lastEventId"])
    if name == "list_tasks":
        case.query["sessionId"] = server.session()
    case.query.pop("cursor", None)
    if isinstance(case.body, dict):
        _make_sense_of(case.body, name, server, number)


def _make_sense_of(body: dict[str, Any], name: str, server: Server, number: int) -> None:
    for key in ("ttl", "taskId", "metadata"):
        body.pop(key, None)
    # One that waits in a busy session would wait for minutes.
    body.pop("turnPolicy", None)
    if name == "create_session":
        body["agentId"] = AGENT
    if "input" in body:
        body["input"] = {"type": "text/plain", "content": f"hello {number}"}
    if "message" in body:
        for key in ("contextId", "context_id"):
            body.pop(key, None)
        body["message"] = {"parts": [{"text": f"hello {number}"}]}
        if number % 3 == 1:
            body["contextId"] = server.session()
        if number % 3 == 2:
            body["contextId"] = server.busy_session()


@schemathesis.hook
def after_call(ctx: Any, case: schemathesis.Case[Any], response: schemathesis.Response) -> None:
    code = _problem(response).get("code")
    with Path(os.environ[MET]).open("a") as met:
        met.write(json.dumps([case.operation.label, response.status_code, code]) + "\n")


@schemathesis.check
def documented_code(ctx: Any, response: schemathesis.Response, case: schemathesis.Case[Any]) -> None:
    """An error's code is one of those that the document shows for this route and status."""
    document: dict[str, Any] = case.operation.schema.raw_schema
    answers = case.operation.definition.raw["responses"]
    if case.method.upper() != case.operation.method.upper() or str(response.status_code) not in answers:
        return
    problem = _problem(response)
    if not problem:
        return
    examples = answers[str(response.status_code)]["content"][PROBLEM]["examples"].values()
    names = [example["$ref"].rpartition("/")[2] for example in examples]
    codes = {document["components"]["examples"][name]["value"]["code"] for name in names}
    if problem["code"] not in codes:
        raise AssertionError(f"{problem['code']} is not among {sorted(codes)}")


def _problem(response: schemathesis.Response) -> dict[str, Any]:
    media_type = "".join(response.headers.get("content-type") or [])
    found: dict[str, Any] = json.loads(response.content) if media_type == PROBLEM else {}
    return found
