"""An agent on any server that speaks OpenAI's Chat Completions: OpenAI, vLLM, Ollama, llama.cpp, and many more.

Spoken with httpx rather than the vendor's SDK: one streaming call is all that is needed, and the SDK takes several
times as long to import, on every cold start.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
from httpx_sse import ServerSentEvent, SSEError, aconnect_sse

from hector.agents.base import Output, Text, Turn
from hector.errors import AgentError
from hector.model import Role, Usage

_ROLES = {Role.USER: "user", Role.AGENT: "assistant"}
_CONNECT_SECONDS = 10.0


class OpenAIAgent:
    """`idle_timeout` is the longest silence of the server that is waited for, in seconds."""

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key: str,
        temperature: float | None = None,
        max_tokens: int | None = None,
        idle_timeout: float = 120.0,
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._settings = {
            "model": model,
            "stream": True,
            "stream_options": {"include_usage": True},
            **({} if temperature is None else {"temperature": temperature}),
            **({} if max_tokens is None else {"max_tokens": max_tokens}),
        }
        timeout = httpx.Timeout(idle_timeout, connect=_CONNECT_SECONDS)
        # As many connections as there are turns: a limit here would be a silent queue.
        limits = httpx.Limits(max_connections=None)
        headers = {"Authorization": f"Bearer {api_key}"}
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout, limits=limits)

    async def answer(self, turn: Turn) -> AsyncGenerator[Output, None]:
        finished = False
        try:
            body = {**self._settings, "messages": _messages(turn)}
            async with aconnect_sse(self._client, "POST", self._url, json=body) as source:
                await _check(source.response)
                async for event in source.aiter_sse():
                    if event.data == "[DONE]":
                        finished = True
                        break
                    chunk = _chunk(event)
                    if usage := chunk.get("usage"):
                        yield Usage(usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))
                    for choice in chunk.get("choices") or ():
                        finished = finished or bool(choice.get("finish_reason"))
                        if text := (choice.get("delta") or {}).get("content"):
                            yield Text(text)
        except httpx.TimeoutException as error:
            raise AgentError("model_timeout", f"The model server at {self._url} did not answer in time.") from error
        except SSEError as error:
            raise AgentError("model_bad_answer", f"{self._url} did not answer with an event stream.") from error
        except httpx.ConnectError as error:
            raise AgentError("model_unreachable", f"The model server at {self._url} cannot be reached.") from error
        except httpx.HTTPError as error:
            raise AgentError(
                "model_disconnected", f"The connection to {self._url} broke ({type(error).__name__})."
            ) from error
        if not finished:
            raise AgentError("model_disconnected", f"{self._url} closed the stream before the answer was complete.")

    async def aclose(self) -> None:
        await self._client.aclose()


def _messages(turn: Turn) -> list[dict[str, str]]:
    system = [{"role": "system", "content": turn.system}] if turn.system else []
    return system + [{"role": _ROLES[m.role], "content": m.text} for m in (*turn.history, turn.message)]


_REFUSALS = {
    401: ("model_unauthorized", "The model server refused the API key: check api_key."),
    403: ("model_unauthorized", "The API key may not use this model: check api_key and model."),
    404: ("model_not_found", "The model server does not know this model or path: check base_url and model."),
    429: ("model_throttled", "The model server is taking no more requests right now: try again in a moment."),
}


async def _check(response: httpx.Response) -> None:
    if response.is_success:
        return
    await response.aread()
    code, advice = _REFUSALS.get(response.status_code, ("model_refused", "The model server refused the request."))
    raise AgentError(code, f"{advice} It said {response.status_code}: {_reason(response)}")


def _reason(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        text = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        text = response.text
    return str(text)[:300]


def _chunk(event: ServerSentEvent) -> dict[str, Any]:
    try:
        chunk = json.loads(event.data)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        raise AgentError("model_bad_answer", f"The model server sent a chunk that is not JSON: {event.data[:100]!r}")
    if error := chunk.get("error"):
        message = error.get("message", error) if isinstance(error, dict) else error
        raise AgentError("model_refused", f"The model server stopped with an error: {str(message)[:300]}")
    return chunk
