"""An agent on Anthropic's Messages API, through the vendor's SDK, which is imported with the first turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

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
    sdk_missing,
)
from hector.agents.outputs import usage_of
from hector.agents.retries import Retries
from hector.errors import ModelError
from hector.model import Part, StopReason

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

_IMAGES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
_TAKES = "PNG, JPEG, GIF and WebP images and PDF documents (as bytes, or by an https url), and text files (as bytes)"
_CONNECT_SECONDS = 10.0
_WHERE = "Anthropic's API"
_NO_CREDENTIALS = f"There are no credentials for {_WHERE}: set api_key in hector.yaml, or ANTHROPIC_API_KEY."
_STATUSES = {
    # In the middle of a stream there is no status, but a type: https://docs.anthropic.com/en/api/errors
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class AnthropicAgent:
    """`idle_timeout` is the longest silence of the server that is waited for, in seconds."""

    def __init__(
        self,
        *,
        model: str,
        api_key: str | None = None,
        base_url: str | None = None,
        temperature: float | None = None,
        max_tokens: int = 4096,
        idle_timeout: float = 120.0,
        retries: Retries | None = None,
    ) -> None:
        self._settings: dict[str, Any] = {
            "model": model,
            "max_tokens": max_tokens,
            # The SDK has had this as a parameter in some versions and not in others.
            **({} if temperature is None else {"extra_body": {"temperature": temperature}}),
        }
        self._api_key = api_key
        self._base_url = base_url
        self._idle_timeout = idle_timeout
        self._retries = retries or Retries()
        self._client: AsyncAnthropic | None = None
        self._opening = asyncio.Lock()

    def answer(self, turn: Turn) -> AsyncGenerator[Output, None]:
        request = {
            **self._settings,
            **({"system": turn.system} if turn.system else {}),
            "messages": _messages(turn),
        }
        return self._retries.answer(lambda: self._attempt(request))

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _attempt(self, request: dict[str, Any]) -> AsyncGenerator[Output, None]:
        stop: str | None = None
        ended = False
        asked = 0
        try:
            client = await self._open()
            async with await client.messages.create(**request, stream=True) as events:
                async for event in events:
                    match event.type:
                        case "message_start":
                            asked = event.message.usage.input_tokens
                        case "content_block_delta" if event.delta.type == "text_delta":
                            yield Text(event.delta.text)
                        case "message_delta":
                            stop = event.delta.stop_reason or stop
                            if usage := usage_of(event.usage.input_tokens or asked, event.usage.output_tokens):
                                yield usage
                        case "message_stop":
                            ended = True
        except ModelError:
            raise
        except Exception as error:
            if (known := _translated(error)) is None:
                raise
            raise known from error
        if not ended:
            raise incomplete(_WHERE)
        match stop:
            case "refusal":
                raise filtered()
            case "max_tokens":
                yield Truncated(StopReason.MAX_TOKENS)
            case "model_context_window_exceeded":
                yield Truncated(StopReason.CONTEXT_WINDOW)

    async def _open(self) -> AsyncAnthropic:
        """The import takes about a second: in a thread, so that other turns go on meanwhile."""
        async with self._opening:
            if self._client is None:
                self._client = await asyncio.to_thread(self._create)
            return self._client

    def _create(self) -> AsyncAnthropic:
        try:
            from anthropic import AsyncAnthropic, Timeout
        except ImportError as error:
            raise sdk_missing("anthropic", "anthropic") from error
        timeout = Timeout(self._idle_timeout, connect=_CONNECT_SECONDS)
        client = AsyncAnthropic(api_key=self._api_key, base_url=self._base_url, timeout=timeout, max_retries=0)
        if not _has_credentials(client):
            raise no_credentials(_NO_CREDENTIALS)
        return client


def _has_credentials(client: AsyncAnthropic) -> bool:
    """A key or token, a profile that fetches one, or a header that the SDK was told to send with each call."""
    headers = {name.lower(): value for name, value in client.default_headers.items()}
    return bool(client.custom_auth or headers.get("x-api-key") or headers.get("authorization"))


def _messages(turn: Turn) -> list[dict[str, Any]]:
    return [
        {"role": role, "content": blocks if message.has_files else message.text}
        for message, (role, blocks) in zip(turn.shown, with_blocks(turn, _text, _file, takes=_TAKES), strict=True)
    ]


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _file(part: Part) -> Block | None:
    """https://docs.anthropic.com/en/api/messages: image and document blocks."""
    source: Block = {"type": "url", "url": part.url}
    if part.raw is not None:
        source = {"type": "base64", "media_type": part.media_type, "data": base64_of(part)}
    elif not (part.url or "").startswith("https:"):
        return None
    title = {"title": part.filename} if part.filename else {}
    if part.media_type in _IMAGES:
        return {"type": "image", "source": source}
    if part.media_type == "application/pdf":
        return {"type": "document", "source": source, **title}
    if (text := decoded(part)) is not None:
        return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}, **title}
    return None


def _translated(error: Exception) -> ModelError | None:
    names = {cls.__name__ for cls in type(error).__mro__}
    if "APIStatusError" in names:
        return _refused(error)
    if "APIConnectionError" in names and isinstance(error.__cause__, Exception):
        error = error.__cause__  # the SDK's own class does not say whether there was a connection at all
    elif "CredentialsError" in names:  # of a profile, whose token is fetched with the first call
        return no_credentials(_NO_CREDENTIALS)
    elif isinstance(error, ValueError):
        return not_understood(_WHERE, str(error))
    return broken(error, _WHERE)


def _refused(error: Any) -> ModelError:
    body = error.body.get("error") if isinstance(error.body, dict) else None
    details = body if isinstance(body, dict) else {}
    status = error.status_code if error.status_code >= 400 else _STATUSES.get(str(details.get("type")), 500)
    reason = str(details.get("message") or error.message)
    return refused(status, reason, retry_after=retry_after(error.response.headers.get("retry-after")))
