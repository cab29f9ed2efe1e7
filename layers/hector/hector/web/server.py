"""The FastAPI applications: the sessions' function on Lambda, and the whole API in one on a laptop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.responses import RedirectResponse, Response

from hector import __version__
from hector.services import Services
from hector.web.cors import CORS
from hector.web.observed import Observed
from hector.web.problems import EXCEPTION_HANDLERS
from hector.web.routes import ApiRoute
from hector.web.sessions import SESSION_ROUTES


def sessions_app(services: Services) -> Observed:
    """The routes of sessions alone; the OpenAPI document is served where all routes are."""
    return Observed(_app(SESSION_ROUTES, services, lambda _: {}, openapi_url=None))


def whole_app(services: Services) -> FastAPI:
    """Every route; closing the app ends what runs and closes every connection."""
    # Not at the top: the sessions' function need not start with all that.
    from hector.web.api import API_ROUTES
    from hector.web.openapi import ABOUT, complete, operation

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(services.sweep.for_ever(), name="sweep")
        yield
        sweeping.cancel()
        await asyncio.wait({sweeping})
        await services.aclose()

    app = _app(API_ROUTES, services, operation, lifespan=lifespan, description=ABOUT)
    app.add_route("/", lambda _: RedirectResponse("/docs"), include_in_schema=False)
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        document = describe()
        complete(document, API_ROUTES)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _app(
    routes: Sequence[ApiRoute], services: Services, described: Callable[[ApiRoute], dict[str, Any]], **settings: Any
) -> FastAPI:
    app = FastAPI(
        title="Hector Serverless",
        version=__version__,
        middleware=[CORS],
        exception_handlers=EXCEPTION_HANDLERS,  # type: ignore[arg-type]
        redoc_url=None,
        redirect_slashes=False,
        **settings,
    )
    for route in routes:
        endpoint = route.bound(services)
        if "HEAD" in route.methods:
            app.add_route(route.path, endpoint, methods=["HEAD"], include_in_schema=False)
        app.add_api_route(
            route.path,
            endpoint,
            methods=[route.method],
            summary=route.summary,
            operation_id=route.endpoint.__name__,
            response_model=None,
            response_class=Response,
            status_code=route.answer[0],
            openapi_extra=described(route),
        )
    return app
