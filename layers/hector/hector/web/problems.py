"""Errors as problem details (RFC 9457): one shape for every error of every route."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ExceptionHandler

from hector.errors import EncodedBody, HectorError, SessionBusy

logger = logging.getLogger(__name__)


def problem_document(status: int, code: str, detail: str, **members: Any) -> dict[str, Any]:
    """`code` is stable and for programs; `detail` says what to do. `type` is about:blank, so `title` is HTTP's own."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "code": code, "detail": detail}
    return body | {name: value for name, value in members.items() if value is not None}


def problem(status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> Response:
    content = json.dumps(problem_document(status, code, detail))
    return Response(content, status, headers=headers, media_type="application/problem+json")


def document(error: HectorError) -> dict[str, Any]:
    """The error as a problem document."""
    task_id = error.task_id if isinstance(error, SessionBusy) else None
    return problem_document(error.status, error.code, error.message, field=error.field, taskId=task_id)


def answer_to(error: HectorError) -> Response:
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, SessionBusy) else None
    if isinstance(error, EncodedBody):
        headers = {"Accept-Encoding": "identity"}  # RFC 9110, section 15.5.16
    return Response(json.dumps(document(error)), error.status, headers, "application/problem+json")


def _hector_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HectorError)
    if error.status >= 500:
        logger.error("%s: %s", error.code, error.message)
    return answer_to(error)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).name.lower()
    detail = {
        404: f"There is no route {request.url.path!r}. GET /docs lists the routes.",
        405: f"{request.method} is not possible on {request.url.path!r}.",
    }.get(error.status_code, error.detail)
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
    return problem(error.status_code, code, detail, headers=headers)


def _allowed(request: Request) -> str:
    """The methods of all routes that have the request's path; Starlette itself names those of the first one."""
    routes = [
        route
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(dict(request.scope))[0] != Match.NONE
    ]
    exact = [route for route in routes if route.path == request.url.path]
    return ", ".join(sorted({method for route in exact or routes for method in route.methods or ()}))


def bug(error: Exception) -> HectorError:
    """What nobody thought of, as what is answered; the caller has logged it."""
    return HectorError(f"The server failed with {type(error).__name__}; its log says more.")


EXCEPTION_HANDLERS: dict[Any, ExceptionHandler] = {
    HectorError: _hector_error,
    HTTPException: _http_error,
    Exception: lambda _, error: answer_to(bug(error)),
}
