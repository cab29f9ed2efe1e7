"""How a route is described, once: for Starlette on Lambda, for FastAPI on a laptop, and for the OpenAPI document."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hector.errors import HectorError
from hector.services import Services
from hector.web.problems import bug

logger = logging.getLogger(__name__)

Endpoint = Callable[[Services, Request], Awaitable[Response]]
Bound = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query or header parameter, as OpenAPI describes it."""

    name: str
    description: str
    place: str = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """`body` is the request's model; `answer` is the status and media type of success; `errors` its other statuses."""

    method: str
    path: str
    endpoint: Endpoint
    summary: str
    body: type[BaseModel] | None = None
    answer: tuple[int, str] = (200, "application/json")
    errors: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()

    def bound(self, services: Services) -> Bound:
        async def endpoint(request: Request) -> Response:
            try:
                return await self.endpoint(services, request)
            except (HectorError, HTTPException):
                raise
            except Exception as error:
                # Answered here rather than by the outermost middleware, whose answers no other origin may read.
                logger.exception("%s %s failed", self.method, self.path)
                return bug(error)

        return endpoint


def starlette_routes(routes: Sequence[ApiRoute], services: Services) -> list[Route]:
    return [Route(route.path, route.bound(services), methods=[route.method]) for route in routes]
