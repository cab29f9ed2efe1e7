"""Images and documents in messages: they reach the agent, come back as they were, and are refused by name."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from hector.agents.base import Turn
from hector.dialects.parts import MAX_MESSAGE_BYTES
from hector.model import Message, Part, Role
from hector.stores.base import Store
from tests.support import frames, services_with, serving

PNG = bytes(range(256))
BASE64 = b64encode(PNG).decode()
PARTS = [
    {"type": "text", "text": "What is this?"},
    {"type": "file", "raw": BASE64, "mediaType": "image/png", "filename": "cat.png"},
    {"type": "file", "url": "https://example.com/a.pdf", "mediaType": "application/pdf"},
]


async def test_files_reach_the_agent_and_come_back_as_they_were() -> None:
    seen: list[Turn] = []

    def answer(turn: Turn) -> str:
        seen.append(turn)
        return "A cat."

    async with serving(services_with(agent=answer)) as client:
        response = await client.post("/agents/my_agent/message/send", json={"message": {"parts": PARTS}})
        task = response.json()
        assert (await client.get(f"/tasks/{task['taskId']}")).json() == task
        again = {"contextId": task["sessionId"], "message": {"parts": [{"text": "And now?"}]}}
        await client.post("/agents/my_agent/message/send", json=again)
    assert task["input"] == {"type": "text/plain", "content": "What is this?", "parts": PARTS}
    parts = (
        Part("What is this?"),
        Part(raw=PNG, media_type="image/png", filename="cat.png"),
        Part(url="https://example.com/a.pdf", media_type="application/pdf"),
    )
    assert seen[0].message == Message(Role.USER, parts)
    assert seen[0].text == "What is this?"
    assert seen[1].history[0].parts == parts, "the conversation keeps them"


async def test_an_input_may_be_a_file() -> None:
    async with serving(services_with(agent=lambda turn: repr(turn.message.parts[0].raw == PNG))) as client:
        session = (await client.post("/sessions", json={"agentId": "my_agent"})).json()["sessionId"]
        given = {"type": "image/png", "content": BASE64}
        task = (await client.post(f"/sessions/{session}/tasks", json={"input": given})).json()
        assert (task["input"], task["output"]["content"]) == (given, "True")
        given = {"type": "text/csv", "content": "a,b"}
        task = (await client.post(f"/sessions/{session}/tasks", json={"input": given})).json()
        assert (task["input"], task["output"]["content"]) == (given, "False")


@pytest.mark.parametrize("raw", [BASE64.rstrip("="), BASE64.replace("+", "-").replace("/", "_"), BASE64])
async def test_base64_is_read_in_either_alphabet_padded_or_not(raw: str) -> None:
    async with serving(services_with(agent=lambda turn: repr(turn.message.parts[0].raw == PNG))) as client:
        parts = [{"raw": raw, "mediaType": "IMAGE/PNG"}]
        task = (await client.post("/agents/my_agent/message/send", json={"message": {"parts": parts}})).json()
    assert task["output"]["content"] == "True"
    assert task["input"] == {"type": "image/png", "content": BASE64}


@pytest.mark.parametrize(
    ("part", "field", "says"),
    [
        ({}, "text", "is missing"),
        ({"type": "file"}, "raw", "is missing"),
        ({"raw": BASE64, "url": "https://a.b/c", "mediaType": "image/png"}, "url", "raw and url: send one"),
        ({"type": "text", "raw": BASE64, "mediaType": "image/png"}, "type", "is text, but the part has raw"),
        ({"raw": BASE64}, "mediaType", "say what the file is"),
        ({"raw": BASE64, "mediaType": "png"}, "mediaType", "must be a media type"),
        ({"raw": BASE64, "mediaType": "image/p\u017fg"}, "mediaType", "must be a media type"),
        ({"raw": "§", "mediaType": "image/png"}, "raw", "is not base64"),
        ({"raw": "a", "mediaType": "image/png"}, "raw", "is not base64"),
        ({"raw": "===", "mediaType": "image/png"}, "raw", "is empty"),
        ({"raw": 7, "mediaType": "image/png"}, "raw", "should be a valid string"),
        ({"url": "file:///etc/passwd", "mediaType": "image/png"}, "url", "begins with https://"),
        ({"url": "https://", "mediaType": "image/png"}, "url", "begins with https://"),
        ({"url": "https://[", "mediaType": "image/png"}, "url", "begins with https://"),
        ({"url": f"https://a.b/{'c' * 2048}", "mediaType": "image/png"}, "url", "longer than 2,048"),
        ({"raw": BASE64, "mediaType": "image/png", "filename": "a\nb"}, "filename", "control characters"),
        ({"raw": BASE64, "mediaType": "image/png", "filename": ""}, "filename", "1 to 255"),
        ({"raw": b64encode(b"x" * 786_433).decode(), "mediaType": "image/png"}, None, "send a large file by its url"),
    ],
)  # fmt: skip
async def test_a_bad_part_is_refused_by_its_field(part: dict[str, Any], field: str | None, says: str) -> None:
    async with serving(services_with()) as client:
        body = {"message": {"parts": [{"text": "hello"}, part]}}
        response = await client.post("/agents/my_agent/message/send", json=body)
    problem = response.json()
    assert response.status_code == (413 if field is None else 400), problem
    assert problem["field"] == ("message.parts.1" if field is None else f"message.parts.1.{field}")
    assert says in problem["detail"]


LARGEST = {
    "ascii": {"text": "x" * MAX_MESSAGE_BYTES},
    "two bytes each": {"text": "ö" * (MAX_MESSAGE_BYTES // 2)},
    "escapes": {"text": '"\n' * (MAX_MESSAGE_BYTES // 2)},
    "a file": {"raw": b64encode(bytes(range(256)) * 3072).decode(), "mediaType": "image/png"},
}


@pytest.mark.parametrize("part", LARGEST.values(), ids=LARGEST)
async def test_a_message_of_a_megabyte_is_answered_and_comes_back(any_store: Store, part: dict[str, str]) -> None:
    """However its characters are escaped; and so does an answer of that size."""
    async with serving(services_with(any_store, agent=lambda turn: turn.text or "a file")) as client:
        body = json.dumps({"message": {"parts": [part]}}).encode()
        response = await client.post("/agents/my_agent/message/send", content=body)
        task = response.json()
        assert response.status_code == 200, task
        assert task["output"]["content"] == part.get("text", "a file")
        [given] = [{"type": "text" if "text" in part else "file", **part}]
        assert task["input"] == {
            "type": part.get("mediaType", "text/plain"),
            "content": part.get("text") or part["raw"],
        }
        assert (await client.get(f"/tasks/{task['taskId']}")).json() == task
        stream = (await client.get(f"/tasks/{task['taskId']}/stream")).text
        assert "".join(text_of(frame.data) for frame in frames(stream)) == task["output"]["content"]
        again = {"contextId": task["sessionId"], "message": {"parts": [{"text": "And now?"}, given]}}
        refused = await client.post("/agents/my_agent/message/send", json=again)
        assert (refused.status_code, refused.json()["code"]) == (413, "input_too_large")
        again["message"] = {"parts": [{"text": "And now?"}]}
        assert (await client.post("/agents/my_agent/message/send", json=again)).json()["output"][
            "content"
        ] == "And now?"


def text_of(data: dict[str, Any]) -> str:
    return "".join(part["text"] for part in data.get("message", {}).get("parts", ()))


async def test_another_file_is_another_request() -> None:
    async with serving(services_with()) as client:
        session = (await client.post("/sessions", json={"agentId": "my_agent"})).json()["sessionId"]
        codes = [
            (
                await client.post(
                    f"/sessions/{session}/tasks",
                    json={"input": {"type": "image/png", "content": content}},
                    headers={"Idempotency-Key": "one"},
                )
            ).status_code
            for content in (BASE64, BASE64, BASE64[4:])
        ]
    assert codes == [200, 200, 422]
