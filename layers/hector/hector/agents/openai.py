"""An agent on any server that speaks OpenAI's Chat Completions: OpenAI, vLLM, Ollama, llama.cpp, and many more.

Spoken with httpx rather than the vendor's SDK: one streaming call is all that is needed, and the SDK takes several
times as long to import, on every cold start.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import httpx
from httpx_sse import ServerSentEvent, SSEError, aconnect_sse

from hector.agents.base import Output, Text, Truncated, Turn
from hector.agents.contents import Block, base64_of, decoded, with_blocks
from hector.agents.failures import (
    broken,
    filtered,
    incomplete,
    no_credentials,
    not_understood,
    refused,
    retry_after,
)
from hector.agents.outputs import usage_of
from hector.agents.retries import Retries
from hector.errors import ModelError
from hector.model import Part, StopReason, Usage

if TYPE_CHECKING:
    from hector.agents.tokens.base import Tokenizer

NO_KEY = "none"
_OPENAI = "api.openai.com"
_TAKES = "images (as bytes, or by an http or https url), PDF documents and text files (as bytes)"
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
        retries: Retries | None = None,
    ) -> None:
        self._base_url = base_url
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._where = f"The model's server at {self._url}"
        self._has_key = api_key != NO_KEY
        self._settings: dict[str, Any] = {
            "model": model,
            "stream": True,
            "stream_options": {"include_usage": True},
            **({} if temperature is None else {"temperature": temperature}),
            **({} if max_tokens is None else {"max_tokens": max_tokens}),
        }
        self._retries = retries or Retries()
        timeout = httpx.Timeout(idle_timeout, connect=_CONNECT_SECONDS)
        # As many connections as there are turns: a limit here would be a silent queue.
        limits = httpx.Limits(max_connections=None)
        headers = {"Authorization": f"Bearer {api_key}"}
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout, limits=limits)

    def tokenizer(self) -> Tokenizer:
        """What counts as this model does."""
        from hector.agents.tokens.base import FirstThatCan
        from hector.agents.tokens.estimate import Estimate
        from hector.agents.tokens.openai import TiktokenTokenizer
        from hector.agents.tokens.server import ServerTokenizer

        model = self._settings["model"]
        tiktoken = TiktokenTokenizer(model)
        if httpx.URL(self._base_url).host == _OPENAI:
            return FirstThatCan(tiktoken, Estimate())
        return FirstThatCan(ServerTokenizer(self._client, base_url=self._base_url, model=model), tiktoken, Estimate())

    def answer(self, turn: Turn) -> AsyncGenerator[Output, None]:
        body = {**self._settings, "messages": _messages(turn)}
        return self._retries.answer(lambda: self._attempt(body))

    async def _attempt(self, body: dict[str, Any]) -> AsyncGenerator[Output, None]:
        finish: str | None = None
        done = False
        try:
            async with aconnect_sse(self._client, "POST", self._url, json=body) as source:
                await self._check(source.response)
                async for event in source.aiter_sse():
                    if event.data == "[DONE]":
                        done = True
                        break
                    chunk = self._chunk(event)
                    for text, reason in self._choices(chunk):
                        finish = reason or finish
                        if text:
                            yield Text(text)
                    if usage := _usage(chunk.get("usage")):
                        yield usage
        except SSEError as error:
            raise not_understood(self._where, "this is no event stream") from error
        except httpx.HTTPError as error:
            raise broken(error, self._where) or error from error
        match finish:
            case "content_filter":
                raise filtered()
            case "length":
                yield Truncated(StopReason.MAX_TOKENS)
            case None if not done:
                raise incomplete(self._where)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        await response.aread()
        if response.status_code == 401 and not self._has_key:
            raise no_credentials(f"{self._where} wants a key, and none is set: set api_key in hector.yaml.")
        raise refused(
            response.status_code, _reason(response), retry_after=retry_after(response.headers.get("retry-after"))
        )

    def _chunk(self, event: ServerSentEvent) -> dict[str, Any]:
        try:
            chunk = json.loads(event.data)
        except ValueError:
            chunk = None
        if not isinstance(chunk, dict):
            raise not_understood(self._where, f"a chunk that is not a JSON object: {event.data[:100]!r}")
        if error := chunk.get("error"):
            raise _stopped(error)
        return chunk

    def _choices(self, chunk: dict[str, Any]) -> list[tuple[str | None, str | None]]:
        """Of each choice the next piece of its text, and why it ended."""
        match chunk.get("choices"):
            case None:
                return []
            case list() as choices:
                return [self._choice(choice) for choice in choices]
        raise not_understood(self._where, "choices that are no list")

    def _choice(self, choice: Any) -> tuple[str | None, str | None]:
        if isinstance(choice, dict):
            reason, delta = choice.get("finish_reason"), choice.get("delta") or {}
            text = delta.get("content") if isinstance(delta, dict) else delta
            if isinstance(delta, dict) and isinstance(text, str | None) and isinstance(reason, str | None):
                return text, reason
        raise not_understood(self._where, f"a choice that is none: {json.dumps(choice)[:100]}")


def _messages(turn: Turn) -> list[dict[str, Any]]:
    """Plain texts wherever there are no files: not every server takes blocks."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": turn.system}] if turn.system else []
    for message, (role, blocks) in zip(turn.shown, with_blocks(turn, _text, _file, takes=_TAKES), strict=True):
        messages.append({"role": role, "content": blocks if message.has_files else message.text})
    return messages


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _file(part: Part) -> Block | None:
    data = f"data:{part.media_type};base64,{base64_of(part)}"
    if part.media_type.startswith("image/") and not (part.url or "").startswith("s3:"):
        return {"type": "image_url", "image_url": {"url": part.url or data}}
    if part.media_type == "application/pdf" and part.raw is not None:
        return {"type": "file", "file": {"filename": part.filename or "document.pdf", "file_data": data}}
    return None if (text := decoded(part)) is None else _text(text)


def _usage(usage: Any) -> Usage | None:
    """Some servers count but the one or the other. What is no report at all is left out: the answer is as good."""
    if not isinstance(usage, dict) or not usage.keys() & {"prompt_tokens", "completion_tokens"}:
        return None
    return usage_of(usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))


def _reason(response: httpx.Response) -> str:
    """What the server said, with its error code, which tells some failures apart."""
    try:
        return _said(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text


def _said(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    code = error.get("code")
    return f"{error.get('message', error)}" + (f" ({code})" if isinstance(code, str) else "")


def _stopped(error: Any) -> ModelError:
    """An error in the middle of the stream. Some servers put the status into it."""
    status = error.get("code") if isinstance(error, dict) else None
    return refused(status if isinstance(status, int) and status >= 400 else 500, _said(error))
