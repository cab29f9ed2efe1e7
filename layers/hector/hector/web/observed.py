"""An application whose log lines name the gateway's request, and whose measures are handed on after the answer."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hector import telemetry


class Observed:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = (scope.get("aws.event") or {}).get("requestContext") or {}
        telemetry.REQUEST.set(str(context.get("requestId") or ""))
        if not telemetry.listening():
            await self._app(scope, receive, send)
            return
        complete = False

        async def sending(message: Message) -> None:
            nonlocal complete
            await send(message)
            complete = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            await self._app(scope, receive, sending)
        finally:
            # Not before the client has all of its answer: the first time takes a while.
            while complete and (await receive())["type"] != "http.disconnect":
                pass
            telemetry.flush()
