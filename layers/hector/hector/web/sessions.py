"""The routes of sessions: create, list, read, change, end."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hector.dialects.native import session_json
from hector.model import Session
from hector.services import Services
from hector.web.context import absolute_url, principal_of
from hector.web.requests import CreateSession, UpdateSession, idempotency, page_limit, read_body
from hector.web.routes import ApiRoute, Parameter


async def create_session(services: Services, request: Request) -> Response:
    body = await read_body(request, CreateSession)
    session = await services.turns.create_session(
        principal_of(request),
        body.agentId,
        ttl=body.ttl,
        metadata=body.metadata,
        idempotency=idempotency(request, ["session", body.agentId, body.ttl, body.metadata]),
    )
    return created(services, request, session)


def created(services: Services, request: Request, session: Session) -> Response:
    location = absolute_url(request, f"/sessions/{session.id}", services.settings.public_url)
    return JSONResponse(session_json(session), 201, {"Location": location})


async def list_sessions(services: Services, request: Request) -> Response:
    query = request.query_params
    page = await services.store.list_sessions(
        principal_of(request), agent_id=query.get("agentId"), cursor=query.get("cursor"), limit=page_limit(request)
    )
    return JSONResponse({"items": [session_json(session) for session in page.items], "nextCursor": page.next_cursor})


async def read_session(services: Services, request: Request) -> Response:
    session = await services.store.read_session(principal_of(request), request.path_params["session_id"])
    return JSONResponse(session_json(session))


async def update_session(services: Services, request: Request) -> Response:
    body = await read_body(request, UpdateSession)
    session = await services.store.update_session(
        principal_of(request),
        request.path_params["session_id"],
        ttl=None if body.ttl is None else services.turns.checked_ttl(body.ttl),
        metadata=body.metadata,
    )
    return JSONResponse(session_json(session))


async def delete_session(services: Services, request: Request) -> Response:
    await services.store.delete_session(principal_of(request), request.path_params["session_id"])
    return Response(status_code=204)


KEY = Parameter(
    "Idempotency-Key",
    "The same key with the same body gives what it made the first time, for as long as the session lasts",
    place="header",
    schema={"type": "string", "minLength": 1, "maxLength": 255},
)
PAGING = (
    Parameter("cursor", "`nextCursor` of the page before"),
    Parameter(
        "limit",
        "1 to 100 items. A page may have fewer, or none, though there is a `nextCursor`",
        schema={"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
    ),
)
SESSION_ROUTES = (
    ApiRoute("POST", "/sessions", create_session, "Start a session with an agent", body=CreateSession,
             answer=(201, "application/json"), returns="Session", parameters=(KEY,),
             errors=("wrong_ttl", "no_agent", "body_too_large", "key_reused")),
    ApiRoute("GET", "/sessions", list_sessions, "List sessions, newest activity first", returns="SessionPage",
             errors=("wrong_limit",), parameters=(Parameter("agentId", "Only the sessions with this agent"), *PAGING)),
    ApiRoute("GET", "/sessions/{session_id}", read_session, "Read a session", returns="Session",
             errors=("no_session",)),
    ApiRoute("PATCH", "/sessions/{session_id}", update_session, "Change how long a session lives, or its metadata",
             body=UpdateSession, returns="Session", errors=("wrong_ttl", "no_session", "body_too_large")),
    ApiRoute("DELETE", "/sessions/{session_id}", delete_session, "End a session and erase all that belongs to it",
             answer=(204, ""), errors=("no_session",)),
)  # fmt: skip
