"""The applications for Lambda that stream: plain Starlette, so that their cold start carries no FastAPI."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from hector.services import Services
from hector.web.cors import CORS
from hector.web.observed import Observed
from hector.web.problems import EXCEPTION_HANDLERS
from hector.web.routes import ApiRoute, starlette_routes
from hector.web.streams import STREAM_ROUTES
from hector.web.tasks import TASK_ROUTES


def task_app(services: Services) -> ASGIApp:
    """Every route that answers one JSON body, sessions aside."""
    return Observed(_drained(starlette_app(TASK_ROUTES, services), services))


def stream_app(services: Services) -> ASGIApp:
    """Every route that streams."""
    return Observed(_drained(starlette_app(STREAM_ROUTES, services), services))


def starlette_app(routes: Sequence[ApiRoute], services: Services) -> Starlette:
    app = Starlette(routes=starlette_routes(routes, services), middleware=[CORS], exception_handlers=EXCEPTION_HANDLERS)
    app.router.redirect_slashes = False
    return app


def _drained(app: ASGIApp, services: Services) -> ASGIApp:
    """The app, with an invocation that ends only when the turns that it started have ended.

    A task left on the loop would run inside the next invocation, or never.
    """

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        finally:
            await services.turns.drain()

    return call
