"""An ASGI application as a Lambda handler."""

from __future__ import annotations

import logging
import os
from typing import Any

from mangum.handlers import HTTPGateway
from mangum.types import LambdaConfig, LambdaContext, Response

from response_streaming.exchange import AsgiApp, Exchange
from response_streaming.loop import process_loop
from response_streaming.rest import RestApi

logger = logging.getLogger("response_streaming")

# What mangum needs to know; the text types decide which buffered bodies are base64.
_CONFIG = LambdaConfig(
    api_gateway_base_path="/",
    text_mime_types=["text/", "application/json", "application/problem+json", "application/xml", "+json", "+xml"],
    exclude_headers=[],
)


class StreamingRuntime:
    """Whether this process runs under our runtime client; set once, by response_streaming.runtime.main."""

    active = False


class UnsupportedEvent(ValueError):
    """The event is no HTTP request that this handler understands."""


class AsgiHandler:
    """Takes API Gateway REST events (version 1) and Function URL or HTTP API events (version 2).

    Returns an Exchange, which the runtime client streams. Without streaming (the wrapper is not set, or ``sam local``,
    whose gateway answers 502 to a stream) it returns an ordinary proxy response with the same content.
    """

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    def __call__(self, event: dict[str, Any], context: LambdaContext) -> Exchange | dict[str, Any]:
        request = _http_request(event, context)
        scope = request.scope
        # Starlette watches for a disconnect only below 2.4, with a task of its own per response.
        scope["asgi"] = {"version": "3.0", "spec_version": "2.4"}
        exchange = Exchange(self._app, scope, request.body, multi_value=isinstance(request, RestApi))
        loop = process_loop()
        loop.run_until_complete(exchange.begin())
        if _streams():
            return exchange
        body = _Buffer()
        loop.run_until_complete(exchange.deliver(body))
        if body.error is not None:
            raise body.error
        headers = [[name, value] for name, value in exchange.headers]
        return request(Response(status=exchange.status, headers=headers, body=bytes(body.content)))


def asgi_handler(app: AsgiApp) -> AsgiHandler:
    """The Lambda handler for ``app``: ``handler = asgi_handler(app)`` in the function's module.

    The scope carries ``aws.event`` and ``aws.context``; ``scope["aws.context"].get_remaining_time_in_millis()`` is the
    time left. Of a REST API's events, ``aws.base_path`` is what the client's URL has before the scope's path. Lifespan
    events are not sent: build what the application needs when its module is imported.
    """
    return AsgiHandler(app)


class _Buffer:
    """A sink that keeps the body, for a proxy response."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.error: BaseException | None = None

    async def open(self, prelude: bytes, first: bytes) -> None:
        self.content += first

    async def write(self, data: bytes) -> None:
        self.content += data

    async def end(self) -> None:
        """Nothing is left to do: the handler returns the content."""

    async def fail(self, error: BaseException) -> None:
        self.error = error  # nothing has left yet, so the whole invocation can fail

    def close(self) -> None:
        """Nothing to close."""


def _http_request(event: dict[str, Any], context: LambdaContext) -> RestApi | HTTPGateway:
    if isinstance(event, dict):
        for kind in (HTTPGateway, RestApi):
            if kind.infer(event, context, _CONFIG):
                return kind(event, context, _CONFIG)
    keys = ", ".join(sorted(event)[:8]) if isinstance(event, dict) else type(event).__name__
    raise UnsupportedEvent(
        f"Expected an API Gateway REST (version 1) or Function URL (version 2) event, got: {keys or 'an empty object'}"
    )


def _streams() -> bool:
    if os.environ.get("AWS_SAM_LOCAL") == "true":
        return False
    if not StreamingRuntime.active:
        logger.warning("Buffering the answer: set AWS_LAMBDA_EXEC_WRAPPER=/opt/response-streaming to stream it.")
    return StreamingRuntime.active
