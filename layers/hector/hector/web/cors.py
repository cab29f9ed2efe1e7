"""Which other origins may call, with what, and read which headers: all, as for any public API."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from hector.web.problems import problem

_REFUSED = (
    "A page of another origin may not send a request with this method, or with one of these headers: "
    "Access-Control-Allow-Methods and Access-Control-Allow-Headers name those that it may."
)


class _Cors(CORSMiddleware):
    """What is refused is told as every other error is."""

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        headers = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        return problem(answer.status_code, "invalid_request", _REFUSED, headers=headers)


CORS = Middleware(
    _Cors,
    allow_origins=["*"],
    allow_methods=["GET", "POST", "PATCH", "DELETE"],
    allow_headers=["Authorization", "Content-Type", "Last-Event-ID", "Idempotency-Key", "Prefer", "A2A-Version"],
    expose_headers=["Location", "Content-Location", "Retry-After", "Preference-Applied"],
)
