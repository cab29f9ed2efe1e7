"""A function that streams as many chunks as the request's path says, as fast as it can."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from response_streaming import asgi_handler

CHUNK = b'id: 12345\nevent: message\ndata: {"task_id":"7","message":{"parts":[{"text":" computing"}]}}\n\n'


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for _ in range(int(scope["path"].strip("/"))):
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


handler = asgi_handler(app)
