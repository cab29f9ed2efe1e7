"""How a route is described, once: for Starlette on Lambda, for FastAPI on a laptop, and for the OpenAPI document."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hector.errors import HectorError
from hector.services import Services
from hector.web.problems import answer_to, bug

logger = logging.getLogger(__name__)

Endpoint = Callable[[Services, Request], Awaitable[Response]]
Bound = Callable[[Request], Awaitable[Response]]


TEXT: Mapping[str, Any] = {"type": "string"}


class Parameter(NamedTuple):
    """A query or header parameter, as OpenAPI describes it."""

    name: str
    description: str
    place: str = "query"
    required: bool = False
    schema: Mapping[str, Any] = TEXT


class ApiRoute(NamedTuple):
    """A route, and all that the OpenAPI document says of it.

    `body` is the request's model, `upload` the media type and schema of one that is no JSON object. `answer` is the
    status and media type of success, `returns` the name of its schema; `accepts` the schema of a 202, for work that
    goes on; `also` are other statuses that mean success, `errors` the names of what else it answers, in
    `hector.web.known_problems`. `stored`: it looks into the store, which may be away.
    """

    method: str
    path: str
    endpoint: Endpoint
    summary: str
    body: type[BaseModel] | None = None
    body_required: bool = True
    upload: tuple[str, str] | None = None
    answer: tuple[int, str] = (200, "application/json")
    returns: str | None = None
    accepts: str | None = None
    also: Mapping[int, str] = {}
    errors: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    stored: bool = True

    @property
    def methods(self) -> tuple[str, ...]:
        """With HEAD, where GET answers one JSON body (RFC 9110, section 9.3.2); a stream would be made for it."""
        return ("GET", "HEAD") if self.method == "GET" and self.answer[1] == "application/json" else (self.method,)

    def bound(self, services: Services) -> Bound:
        async def endpoint(request: Request) -> Response:
            try:
                answer = await self.endpoint(services, request)
                if request.method == "HEAD":
                    answer.body = b""
                return answer
            except (HectorError, HTTPException):
                raise
            except Exception as error:
                # Answered here rather than by the outermost middleware, whose answers no other origin may read.
                logger.exception("%s %s failed", self.method, self.path)
                return answer_to(bug(error))

        return endpoint


def starlette_routes(routes: Sequence[ApiRoute], services: Services) -> list[Route]:
    made = [Route(route.path, route.bound(services)) for route in routes]
    for route, described in zip(made, routes, strict=True):
        route.methods = set(described.methods)  # Starlette itself would give HEAD to every GET
    return made
