"""A field that is misspelt is refused with the right name, where what is unknown is ignored: no session is lost."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support import frames
from tests.web.test_api import assert_problem


def body(text: str, inside: dict[str, Any] | None = None, **beside: Any) -> dict[str, Any]:
    return {"message": {"role": "user", "parts": [{"type": "text", "text": text}], **(inside or {})}, **beside}


async def test_what_the_stream_says_is_taken_back_as_it_is(client: httpx.AsyncClient) -> None:
    stream = await client.post("/agents/my_agent/message/stream", json=body("My name is Alice"))
    (said,) = [{key: value} for key, value in frames(stream.text)[0].data.items() if key.startswith("context")]
    context_id = said["context_id"]
    for asked in (
        body("What is my name?", **said),
        body("What is my name?", inside=said),
        body("What is my name?", inside=said, contextId=context_id),
        body("What is my name?", context_id=None, contextId=context_id),
    ):
        answered = (await client.post("/agents/my_agent/message/send", json=asked)).json()
        assert (answered["sessionId"], answered["output"]["content"]) == (context_id, "Your name is Alice.")


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        (body("hi", contextId="a", context_id="b"), "contextId and context_id"),
        (body("hi", {"context_id": "b"}, contextId="a"), "contextId and message.context_id"),
        (body("hi", {"contextId": "b"}, context_id="a"), "context_id and message.contextId"),
        (body("hi", {"contextId": "b", "context_id": "a"}), "message.contextId and message.context_id"),
    ],
)
async def test_two_sessions_are_one_too_many(client: httpx.AsyncClient, asked: dict[str, Any], fields: str) -> None:
    refused = await client.post("/agents/my_agent/message/send", json=asked)
    assert_problem(refused, 400, "invalid_request", fields.split()[0], says=f"{fields} name two sessions")
    assert (await client.get("/sessions")).json()["items"] == []


@pytest.mark.parametrize(
    ("asked", "field", "right"),
    [
        (body("hi", sessionId="x"), "sessionId", "contextId"),
        (body("hi", session_id="x"), "session_id", "contextId"),
        (body("hi", session="x"), "session", "contextId"),
        (body("hi", contextID="x"), "contextID", "contextId"),
        (body("hi", turn_policy="enqueue"), "turn_policy", "turnPolicy"),
        (body("hi", {"sessionId": "x"}), "message.sessionId", "contextId"),
        (body("hi", {"context-id": "x"}), "message.context-id", "contextId"),
        (body("hi", {"turnPolicy": "enqueue"}), "message.turnPolicy", "turnPolicy beside message"),
        ({"message": {"parts": [{"text": "hi"}, {"raw": "aGk=", "media_type": "image/png"}]}},
         "message.parts.1.media_type", "mediaType"),
        ({"message": {"Parts": [{"text": "hi"}]}}, "message.Parts", "parts"),
    ],
)  # fmt: skip
async def test_a_near_miss_is_refused_with_the_right_name(
    client: httpx.AsyncClient, asked: dict[str, Any], field: str, right: str
) -> None:
    for path in ("send", "stream"):
        refused = await client.post(f"/agents/my_agent/message/{path}", json=asked)
        assert_problem(refused, 400, "invalid_request", field, says=f"{field} is not known here: write {right}.")
    assert (await client.get("/sessions")).json()["items"] == []


async def test_what_a2a_has_besides_is_ignored(client: httpx.AsyncClient) -> None:
    a2a = {"configuration": {"acceptedOutputModes": ["text/plain"], "historyLength": 3}, "metadata": {}, "tenant": "t"}
    message = {
        "messageId": "1",
        "taskId": "2",
        "metadata": {},
        "extensions": [],
        "referenceTaskIds": [],
        "kind": "message",
    }
    asked = body("hi", message, **a2a)
    asked["message"]["parts"] = [{"kind": "text", "text": "hi", "metadata": {}}]
    assert (await client.post("/agents/my_agent/message/send", json=asked)).status_code == 200
