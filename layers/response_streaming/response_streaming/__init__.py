"""Streamed answers from Python functions on AWS Lambda.

    from response_streaming import asgi_handler

    handler = asgi_handler(app)

Set ``AWS_LAMBDA_EXEC_WRAPPER=/opt/response-streaming`` on the function. See the layer's README.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from response_streaming.loop import async_handler

if TYPE_CHECKING:
    from response_streaming.asgi import asgi_handler

__all__ = ["asgi_handler", "async_handler"]


def __getattr__(name: str) -> Any:
    # Not at the top: a function that serves no ASGI application need not start with all that.
    if name == "asgi_handler":
        from response_streaming.asgi import asgi_handler

        return asgi_handler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
