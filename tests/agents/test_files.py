"""Images and documents, as each model's API is sent them, and what happens to those that it does not take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from hector.agents.base import Turn
from hector.errors import AgentError
from hector.model import Message, Part, Role, TaskState
from hector.services import Services
from tests.agents.wires import TURN, WIRES, Wire, model_server, outputs, streaming
from tests.support import ALICE, ask, new_session, said, services_with

IMAGE = Part(raw=b"png", media_type="image/png")
PDF = Part(raw=b"pdf", media_type="application/pdf", filename="../My file (1).pdf")
NOTES = Part(raw="Zürich".encode(), media_type="text/plain", filename="notes.txt")
LINK = Part(url="https://example.com/a.png", media_type="image/png")
BUCKET = Part(url="s3://bucket/a.png", media_type="image/png")
SOUND = Part(raw=b"mp3", media_type="audio/mpeg")


def asking(*parts: Part) -> Turn:
    return replace(TURN, message=Message(Role.USER, (Part("Look:"), *parts)), history=())


async def sent(wire: Wire, turn: Turn) -> list[Any]:
    """The blocks of the last message that the model's server gets."""
    received: list[Any] = []

    async def answer(request: Request) -> Response:
        received.append(await request.json())
        return await streaming(wire, wire.pieces("ok"), wire.end())(request)

    async with model_server(wire, answer) as url:
        await outputs(wire.agent(url), turn)
    blocks: list[Any] = received[0]["messages"][-1]["content"]
    return blocks


async def test_openai() -> None:
    assert await sent(WIRES["openai"], asking(IMAGE, PDF, NOTES, LINK)) == [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
        {"type": "file", "file": {"filename": PDF.filename, "file_data": "data:application/pdf;base64,cGRm"}},
        {"type": "text", "text": "Zürich"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]


async def test_anthropic() -> None:
    assert await sent(WIRES["anthropic"], asking(IMAGE, PDF, NOTES, LINK)) == [
        {"type": "text", "text": "Look:"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}},
        {"type": "document", "title": PDF.filename,
         "source": {"type": "base64", "media_type": "application/pdf", "data": "cGRm"}},
        {"type": "document", "title": "notes.txt",
         "source": {"type": "text", "media_type": "text/plain", "data": "Zürich"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
    ]  # fmt: skip


async def test_bedrock() -> None:
    assert await sent(WIRES["bedrock"], asking(IMAGE, PDF, NOTES, BUCKET)) == [
        {"text": "Look:"},
        {"image": {"format": "png", "source": {"bytes": "cG5n"}}},
        {"document": {"format": "pdf", "name": "document-1", "source": {"bytes": "cGRm"}}},
        {"document": {"format": "txt", "name": "document-2", "source": {"bytes": "WsO8cmljaA=="}}},
        {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://bucket/a.png"}}}},
    ]


async def test_a_document_alone_comes_with_a_text_as_bedrock_wants() -> None:
    turn = replace(TURN, message=Message(Role.USER, (PDF,)), history=())
    assert (await sent(WIRES["bedrock"], turn))[-1] == {"text": "See the document."}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("openai", SOUND), ("openai", BUCKET), ("openai", replace(NOTES, raw=b"\xff")),
        ("anthropic", SOUND), ("anthropic", BUCKET), ("anthropic", replace(IMAGE, media_type="image/tiff")),
        ("bedrock", SOUND), ("bedrock", LINK), ("bedrock", replace(IMAGE, media_type="image/tiff")),
    ],
)  # fmt: skip
async def test_what_the_model_does_not_take_fails_before_it_is_called(name: str, part: Part) -> None:
    agent = WIRES[name].agent("http://127.0.0.1:9")
    with pytest.raises(AgentError) as raised:
        await outputs(agent, asking(IMAGE, part))
    assert raised.value.code == "unsupported_input"
    assert f"{part.media_type} {'by url' if part.url else 'as bytes'} (part 2 of the message)" in raised.value.message


async def test_an_earlier_file_that_the_model_does_not_take_is_a_note(wire: Wire) -> None:
    """It was sent when another model was configured."""
    earlier = (Message(Role.USER, (SOUND, IMAGE)), Message.of(Role.AGENT, "A song."))
    seen: list[Any] = []

    async def answer(request: Request) -> Response:
        seen.append(await request.json())
        return await streaming(wire, wire.pieces("ok"), wire.end())(request)

    async with model_server(wire, answer) as url:
        await outputs(wire.agent(url), replace(TURN, history=earlier))
    first, second = seen[0]["messages"][-3]["content"]
    assert first["text"] == "[A file: unnamed, audio/mpeg]"
    assert "text" not in second


async def _turn(services: Services, session_id: str, message: Message) -> TaskState:
    task = await services.turns.start(ALICE, session_id, message)
    return (await services.follow.ended(ALICE, task)).state


async def test_a_picture_that_the_model_refuses_does_not_spoil_the_session(wire: Wire) -> None:
    async def answer(request: Request) -> Response:
        if b"cG5n" in await request.body():
            return wire.refusal(400, "Could not process image")
        return await streaming(wire, wire.pieces("ok"), wire.end())(request)

    async with model_server(wire, answer) as url:
        services = services_with(agent=wire.agent(url))
        session_id = await new_session(services)
        for part in (IMAGE, SOUND):
            assert await _turn(services, session_id, Message(Role.USER, (part,))) is TaskState.FAILED
            assert await _turn(services, session_id, said("Never mind.")) is TaskState.COMPLETED
        assert (await ask(services, session_id, "Well?")).state is TaskState.COMPLETED
        await services.aclose()
