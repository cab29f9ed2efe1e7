"""The FastAPI applications: the sessions' function on Lambda, and the whole API in one on a laptop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema
from starlette.responses import RedirectResponse

from hector import __version__
from hector.services import Services
from hector.web.api import API_ROUTES
from hector.web.apps import CORS
from hector.web.problems import EXCEPTION_HANDLERS
from hector.web.routes import ApiRoute, Parameter
from hector.web.sessions import SESSION_ROUTES

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_ERRORS = {
    400: "The request is malformed; `field` names where",
    404: "No such thing, or not yours",
    409: "The session is busy, or the task has ended",
    413: "Too large",
    422: "The idempotency key stands for another request",
}
_PROBLEM_SCHEMA = {
    "type": "object",
    "description": "Problem details (RFC 9457)",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable, for programs"},
        "detail": {"type": "string", "description": "For people: what is wrong, and what to do"},
        "field": {"type": "string", "description": "The field that is wrong"},
        "taskId": {"type": "string", "description": "The task that keeps the session busy"},
    },
}


def sessions_app(services: Services) -> FastAPI:
    """The routes of sessions alone."""
    return _app(SESSION_ROUTES, services)


def whole_app(services: Services) -> FastAPI:
    """Every route; closing the app ends what runs and closes every connection."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await services.aclose()

    app = _app(API_ROUTES, services, lifespan=lifespan)
    app.add_route("/", lambda _: RedirectResponse("/docs"), include_in_schema=False)
    return app


def _app(routes: Sequence[ApiRoute], services: Services, **settings: Any) -> FastAPI:
    app = FastAPI(
        title="Hector Serverless",
        version=__version__,
        description="Sessions that remember, answers that stream.",
        middleware=[CORS],
        exception_handlers=EXCEPTION_HANDLERS,  # type: ignore[arg-type]
        redoc_url=None,
        redirect_slashes=False,
        **settings,
    )
    for route in routes:
        app.add_api_route(
            route.path,
            route.bound(services),
            methods=[route.method],
            summary=route.summary,
            operation_id=route.endpoint.__name__,
            response_model=None,
            status_code=route.answer[0],
            responses={status: {"description": _ERRORS[status], "content": _PROBLEM} for status in route.errors},
            openapi_extra=_operation(route),
        )
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        bodies = [(route.body, "validation") for route in routes if route.body]
        _, definitions = models_json_schema(bodies, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas |= definitions.get("$defs", {}) | {"Problem": _PROBLEM_SCHEMA}
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _operation(route: ApiRoute) -> dict[str, Any]:
    operation: dict[str, Any] = {"parameters": [_parameter(parameter) for parameter in route.parameters]}
    operation["parameters"] += [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string"}}
        for part in route.path.split("/")
        if part.startswith("{")
    ]
    status, media_type = route.answer
    content = {media_type: {"schema": {"type": "string" if media_type == "text/event-stream" else "object"}}}
    operation["responses"] = {str(status): {"content": content if media_type else {}}}
    if route.body:
        body = {"schema": {"$ref": f"#/components/schemas/{route.body.__name__}"}}
        operation["requestBody"] = {"required": True, "content": {"application/json": body}}
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.description,
        "schema": {"type": "string"},
    }
