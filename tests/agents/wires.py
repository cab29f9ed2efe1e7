"""Model servers for tests: each speaks its vendor's protocol on a real socket, and says what the test wants."""

from __future__ import annotations

import asyncio
import binascii
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hector.agents.anthropic import AnthropicAgent
from hector.agents.base import Agent, Output, Turn
from hector.agents.bedrock import BedrockAgent
from hector.agents.openai import OpenAIAgent
from hector.agents.retries import Retries
from hector.model import Message, Principal, Role, Session
from tests.support import said, wait_until

Answer = Callable[[Request], Awaitable[Response]]
QUICK = Retries(attempts=3, first=0.01, longest=0.5)
TURN = Turn(
    "t", Session("s", "a", Principal("p"), 0, 0, 0, 0, 0), said("What is my name?"),
    (said("My name is Alice"), Message.of(Role.AGENT, "Hello Alice")), "Be brief.",
)  # fmt: skip


class Wire(Protocol):
    """One vendor's protocol. Stops are `end`, `max_tokens` and `filter`; errors are HTTP statuses."""

    path: str
    media_type: str
    overflow: str

    def agent(self, url: str, **settings: Any) -> Agent: ...
    def pieces(self, *texts: str) -> list[bytes]: ...
    def end(self, stop: str = "end", asked: int = 20, said: int = 3) -> list[bytes]: ...
    def error(self, status: int, message: str) -> bytes:
        """An error in the middle of a stream."""

    def refusal(self, status: int, message: str) -> Response: ...


class OpenAIWire:
    path = "/v1/chat/completions"
    media_type = "text/event-stream"
    overflow = "This model's maximum context length is 4096 tokens"
    _stops = {"end": "stop", "max_tokens": "length", "filter": "content_filter"}  # noqa: RUF012

    def agent(self, url: str, **settings: Any) -> Agent:
        return OpenAIAgent(**{"base_url": f"{url}/v1", "model": "m", "api_key": "key", "retries": QUICK, **settings})

    def pieces(self, *texts: str) -> list[bytes]:
        return [self._choice({"content": text}) for text in texts]

    def end(self, stop: str = "end", asked: int = 20, said: int = 3) -> list[bytes]:
        usage = {"choices": [], "usage": {"prompt_tokens": asked, "completion_tokens": said}}
        return [self._choice({}, self._stops[stop]), self._data(usage), b"data: [DONE]\n\n"]

    def error(self, status: int, message: str) -> bytes:
        return self._data({"error": {"message": message, "code": status}})

    def refusal(self, status: int, message: str) -> Response:
        return JSONResponse({"error": {"message": message, "code": "some_code"}}, status)

    def _choice(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return self._data({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def _data(self, data: Any) -> bytes:
        return f"data: {json.dumps(data)}\n\n".encode()


class AnthropicWire:
    """https://docs.anthropic.com/en/api/messages-streaming"""

    path = "/v1/messages"
    media_type = "text/event-stream"
    overflow = "prompt is too long: 213462 tokens > 200000 maximum"
    _stops = {"end": "end_turn", "max_tokens": "max_tokens", "filter": "refusal"}  # noqa: RUF012
    _types = {  # noqa: RUF012
        401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 504: "timeout_error",
        529: "overloaded_error",
    }  # fmt: skip

    def agent(self, url: str, **settings: Any) -> Agent:
        return AnthropicAgent(**{"base_url": url, "model": "m", "api_key": "key", "retries": QUICK, **settings})

    def pieces(self, *texts: str) -> list[bytes]:
        message: dict[str, Any] = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
            "stop_sequence": None, "usage": {"input_tokens": 20, "output_tokens": 1},
        }  # fmt: skip
        deltas = [
            self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": text}) for text in texts
        ]
        return [
            self._event("message_start", message=message),
            self._event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            self._event("ping"),
            *deltas,
        ]

    def end(self, stop: str = "end", asked: int = 20, said: int = 3) -> list[bytes]:
        delta = {"stop_reason": self._stops[stop], "stop_sequence": None}
        usage = {"input_tokens": asked, "output_tokens": said}
        return [
            self._event("content_block_stop", index=0),
            self._event("message_delta", delta=delta, usage=usage),
            self._event("message_stop"),
        ]

    def error(self, status: int, message: str) -> bytes:
        return self._event("error", error=self._error(status, message))

    def refusal(self, status: int, message: str) -> Response:
        return JSONResponse({"type": "error", "error": self._error(status, message)}, status)

    def _error(self, status: int, message: str) -> dict[str, str]:
        kind = self._types.get(status, "api_error" if status >= 500 else "invalid_request_error")
        return {"type": kind, "message": message}

    def _event(self, kind: str, **data: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


class BedrockWire:
    """ConverseStream, in frames of application/vnd.amazon.eventstream."""

    path = "/model/{model}/converse-stream"
    media_type = "application/vnd.amazon.eventstream"
    overflow = "The model returned the following errors: Input is too long for requested model."
    _stops = {"end": "end_turn", "max_tokens": "max_tokens", "filter": "content_filtered"}  # noqa: RUF012
    _codes = {  # noqa: RUF012
        400: "ValidationException", 401: "UnrecognizedClientException", 403: "AccessDeniedException",
        404: "ResourceNotFoundException", 408: "ModelTimeoutException", 429: "ThrottlingException",
        500: "InternalServerException", 503: "ServiceUnavailableException", 504: "ModelTimeoutException",
    }  # fmt: skip

    def agent(self, url: str, **settings: Any) -> Agent:
        return BedrockAgent(**{"endpoint_url": url, "model": "m", "region": "eu-west-1", "retries": QUICK, **settings})

    def pieces(self, *texts: str) -> list[bytes]:
        deltas = [
            self._event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}, "p": "abc"})
            for text in texts
        ]
        return [self._event("messageStart", {"role": "assistant"}), *deltas]

    def end(self, stop: str = "end", asked: int = 20, said: int = 3) -> list[bytes]:
        usage = {"inputTokens": asked, "outputTokens": said, "totalTokens": asked + said}
        return [
            self._event("contentBlockStop", {"contentBlockIndex": 0}),
            self._event("messageStop", {"stopReason": self._stops.get(stop, stop)}),
            self._event("metadata", {"usage": usage, "metrics": {"latencyMs": 5}}),
        ]

    def error(self, status: int, message: str) -> bytes:
        code = self._code(status)
        kind = code[0].lower() + code[1:]
        return self._frame({":exception-type": kind, ":message-type": "exception"}, {"message": message})

    def refusal(self, status: int, message: str) -> Response:
        return JSONResponse({"message": message}, status, {"x-amzn-errortype": self._code(status)})

    def _code(self, status: int) -> str:
        return self._codes[503 if status > 504 else status]

    def _event(self, kind: str, payload: dict[str, Any]) -> bytes:
        return self._frame({":event-type": kind, ":message-type": "event"}, payload)

    def _frame(self, headers: dict[str, str], payload: dict[str, Any]) -> bytes:
        """Lengths, their CRC, headers, payload, and the CRC of all: the vnd.amazon.eventstream encoding."""
        head = b"".join(
            struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
            for name, value in {**headers, ":content-type": "application/json"}.items()
        )
        body = json.dumps(payload).encode()
        prelude = struct.pack("!II", 16 + len(head) + len(body), len(head))
        frame = prelude + struct.pack("!I", binascii.crc32(prelude)) + head + body
        return frame + struct.pack("!I", binascii.crc32(frame))


WIRES: dict[str, Wire] = {"openai": OpenAIWire(), "anthropic": AnthropicWire(), "bedrock": BedrockWire()}


@asynccontextmanager
async def model_server(wire: Wire, answer: Answer, **more: Answer) -> AsyncIterator[str]:
    """A server that answers the wire's calls with `answer`, and `/name` with what else is given; yields its URL."""
    answers = {wire.path: answer, **{f"/{name.replace('__', '/')}": other for name, other in more.items()}}
    app = Starlette(routes=[Route(path, one, methods=["POST"]) for path, one in answers.items()])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", timeout_graceful_shutdown=0))
    running = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


def streaming(wire: Wire, *frames: Iterable[bytes]) -> Answer:
    """An answer that streams these frames."""

    async def answer(_: Request) -> Response:
        return StreamingResponse(iter([frame for group in frames for frame in group]), media_type=wire.media_type)

    return answer


async def outputs(agent: Agent, turn: Turn = TURN) -> list[Output]:
    """All that the agent says, after which it is closed."""
    try:
        return [output async for output in agent.answer(turn)]
    finally:
        await agent.aclose()
