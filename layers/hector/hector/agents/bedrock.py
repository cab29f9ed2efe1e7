"""An agent on Amazon Bedrock: any of its chat models, through the ConverseStream operation and AWS's own botocore.

botocore blocks, so each call has a thread of its own, off the event loop. It is imported with the first turn.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from hector.agents.base import Output, Text, Truncated, Turn
from hector.agents.bedrock_messages import messages_of
from hector.agents.failures import (
    broken,
    filtered,
    incomplete,
    misconfigured,
    no_credentials,
    not_understood,
    refused,
    retry_after,
    sdk_missing,
)
from hector.agents.retries import Retries
from hector.agents.threads import in_thread
from hector.errors import ModelError
from hector.model import StopReason, Usage

_CONNECT_SECONDS = 10
_CONNECTIONS = 100
_WHERE = "Amazon Bedrock"
_KEYS = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the function a role"
_NO_CREDENTIALS = {
    "CredentialRetrievalError",
    "NoAuthTokenError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "SSOTokenLoadError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
}
_STATUSES = {
    # The model's own failures are answered 424, and are as temporary as a server's (5xx).
    "ModelErrorException": 500,
    "ModelStreamErrorException": 500,
    "InternalServerException": 500,
    "ModelNotReadyException": 503,
    "ServiceUnavailableException": 503,
    "ModelTimeoutException": 408,
    "ThrottlingException": 429,
    "ValidationException": 400,
    "AccessDeniedException": 403,
    "ExpiredTokenException": 401,
    "UnrecognizedClientException": 401,
    "InvalidSignatureException": 401,
    "ResourceNotFoundException": 404,
}


class BedrockAgent:
    """`idle_timeout` is the longest silence of Bedrock that is waited for, in seconds."""

    def __init__(
        self,
        *,
        model: str,
        region: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        endpoint_url: str | None = None,
        idle_timeout: float = 120.0,
        retries: Retries | None = None,
    ) -> None:
        self._model = model
        self._region = region
        self._endpoint_url = endpoint_url
        self._idle_timeout = idle_timeout
        self._retries = retries or Retries()
        self._inference = {
            **({} if temperature is None else {"temperature": temperature}),
            **({} if max_tokens is None else {"maxTokens": max_tokens}),
        }
        self._opening = threading.Lock()
        self._client: Any = None

    def answer(self, turn: Turn) -> AsyncGenerator[Output, None]:
        request = {
            "modelId": self._model,
            "messages": messages_of(turn),
            **({"system": [{"text": turn.system}]} if turn.system else {}),
            **({"inferenceConfig": self._inference} if self._inference else {}),
        }
        return self._retries.answer(lambda: self._attempt(request))

    async def aclose(self) -> None:
        if self._client is not None:
            await asyncio.to_thread(self._client.close)

    async def _attempt(self, request: dict[str, Any]) -> AsyncGenerator[Output, None]:
        call = _Call()
        stop: str | None = None
        try:
            async with aclosing(in_thread(lambda: call.events(self._open(), request))) as events:
                async for event in events:
                    if text := event.get("contentBlockDelta", {}).get("delta", {}).get("text"):
                        yield Text(text)
                    elif "messageStop" in event:
                        stop = event["messageStop"]["stopReason"]
                    elif usage := event.get("metadata", {}).get("usage"):
                        yield Usage(usage["inputTokens"], usage["outputTokens"])
        except ModelError:
            raise
        except Exception as error:
            if (known := _translated(error)) is None:
                raise
            raise known from error
        finally:
            call.stop()
        match stop:
            case None:
                raise incomplete(_WHERE)
            case "content_filtered":
                raise filtered()
            case "guardrail_intervened":
                raise filtered("a guardrail of this account intervened")
            case "max_tokens":
                yield Truncated(StopReason.MAX_TOKENS)
            case "model_context_window_exceeded":
                yield Truncated(StopReason.CONTEXT_WINDOW)

    def _open(self) -> Any:
        with self._opening:
            if self._client is None:
                self._client = self._create()
            return self._client

    def _create(self) -> Any:
        try:
            from botocore.config import Config
            from botocore.session import Session
        except ImportError as error:
            raise sdk_missing("botocore", "bedrock") from error
        session = Session()
        region = self._region or session.get_config_variable("region") or os.environ.get("AWS_REGION")
        if not region:
            raise misconfigured("Bedrock needs a region: set region in hector.yaml, or AWS_REGION.")
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=self._idle_timeout,
            max_pool_connections=_CONNECTIONS,
            tcp_keepalive=True,
        )
        try:
            return session.create_client(
                "bedrock-runtime", region_name=region, endpoint_url=self._endpoint_url, config=config
            )
        except ValueError as error:
            raise misconfigured(f"{error}: correct region and endpoint_url in hector.yaml.") from error


class _Call:
    """One call, in its thread; `stop` is called from outside, and ends it where it waits for the next event."""

    def __init__(self) -> None:
        self._body: Any = None
        self._stopped = False

    def events(self, client: Any, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        stream = client.converse_stream(**request)["stream"]
        try:
            self._body = stream._raw_stream
            if not self._stopped:
                yield from stream
        finally:
            self._body = None
            stream.close()

    def stop(self) -> None:
        """The thread, which reads from the socket, sees its end, and closes the connection."""
        self._stopped = True
        body = self._body
        if body is not None:
            try:
                body.shutdown()
            except (OSError, ValueError):  # it has ended, or has been closed, in this moment
                return


def _translated(error: Exception) -> ModelError | None:
    name = type(error).__name__
    if name in _NO_CREDENTIALS:
        return no_credentials(f"Bedrock needs AWS credentials ({error}): {_KEYS}.")
    if name == "UnknownServiceError":  # a botocore that was trimmed, or is too old
        return sdk_missing("botocore with the service bedrock-runtime", "bedrock")
    if name == "ParamValidationError":
        return misconfigured(f"The request is not one that Bedrock takes: {error}")
    if {cls.__name__ for cls in type(error).__mro__} & {"ParserError", "ResponseParserError"}:
        return not_understood(_WHERE, str(error))
    response = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        return _refused(response)
    return broken(error, _WHERE)


def _refused(response: dict[str, Any]) -> ModelError:
    """The error for what Bedrock answered, or sent in the middle of the stream (there, names begin in lower case)."""
    code, message = response["Error"].get("Code", ""), response["Error"].get("Message", "")
    meta = response.get("ResponseMetadata", {})
    status = _STATUSES.get(code[:1].upper() + code[1:]) or meta.get("HTTPStatusCode", 500)
    if status == 400 and "model identifier is invalid" in message:
        status = 404
    if status == 403:
        message += " (the credentials need bedrock:InvokeModelWithResponseStream, the account access to the model)"
    header = meta.get("HTTPHeaders", {}).get("retry-after")
    return refused(status, f"{code}: {message}", retry_after=retry_after(header))
