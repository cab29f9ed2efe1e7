"""The routes that read a session as a whole, or make one of another: messages, fork, export, import."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from hector.copies import create_with, fork
from hector.dialects.checked import parse_object
from hector.dialects.native import message_json
from hector.dialects.portable import end_line, session_line, turn_line
from hector.errors import InputTooLarge, InvalidRequest
from hector.model import Principal, Session, Task
from hector.services import Services
from hector.transcript import messages
from hector.turn_order import ended_turns
from hector.web.context import principal_of
from hector.web.requests import (
    ForkSession,
    idempotency,
    idempotency_of,
    newest_first,
    numbered_lines,
    page_limit,
    read_body,
    refuse_encoded,
)
from hector.web.routes import ApiRoute, Parameter
from hector.web.sessions import KEY, PAGING, created

if TYPE_CHECKING:
    from hector.dialects.portable_reading import SessionLine

NDJSON = "application/x-ndjson"

Lines = AsyncIterator[tuple[int, bytes]]


async def list_messages(services: Services, request: Request) -> Response:
    page = await messages(
        services.store,
        principal_of(request),
        request.path_params["session_id"],
        newest_first=newest_first(request),
        cursor=request.query_params.get("cursor"),
        limit=page_limit(request),
    )
    return JSONResponse({"items": [message_json(said) for said in page.items], "nextCursor": page.next_cursor})


async def fork_session(services: Services, request: Request) -> Response:
    body = await read_body(request, ForkSession, optional=True)
    session_id = request.path_params["session_id"]
    session = await fork(
        services.store,
        services.turns,
        principal_of(request),
        session_id,
        through=body.taskId,
        ttl=body.ttl,
        metadata=body.metadata,
        idempotency=idempotency(request, ["fork", session_id, body.taskId, body.ttl, body.metadata]),
    )
    return created(services, request, session)


async def export_session(services: Services, request: Request) -> Response:
    principal = principal_of(request)
    session = await services.store.read_session(principal, request.path_params["session_id"])
    headers = {"Content-Disposition": f'attachment; filename="{session.id}.ndjson"'}
    return StreamingResponse(_exported(services, principal, session), headers=headers, media_type=NDJSON)


async def import_session(services: Services, request: Request) -> Response:
    """Reads the body line by line; a session that is not imported to its end is never seen."""
    digest = hashlib.sha256()
    agent_id, max_age = request.query_params.get("agentId"), services.settings.sessions.max_age
    refuse_encoded(request)
    idempotency_of(request, "")  # a bad key is refused before the body is read
    lines = numbered_lines(request, digest)
    number, header = await _header(lines)
    draft = services.turns.draft_session(
        principal_of(request), agent_id or header.agentId, ttl=min(header.ttl, max_age), metadata=header.metadata
    )
    session = await create_with(
        services.store,
        services.turns,
        draft,
        _turns(lines, number),
        lambda: idempotency_of(request, f"import {agent_id} {digest.hexdigest()}"),
    )
    return created(services, request, session)


async def _exported(services: Services, principal: Principal, session: Session) -> AsyncIterator[bytes]:
    yield session_line(session)
    count = 0
    async for task in ended_turns(services.store, principal, session.id):
        count += 1
        yield turn_line(task)
    yield end_line(count)


async def _header(lines: Lines) -> tuple[int, SessionLine]:
    from hector.dialects.portable_reading import read_session_line

    async for number, line in lines:
        try:
            return number, read_session_line(parse_object(line, "It"))
        except InvalidRequest as error:
            raise _in_line(error, number) from None
    raise InvalidRequest("The body is empty: send a session file, as GET /sessions/{id}/export gives it.")


async def _turns(lines: Lines, number: int) -> AsyncIterator[Task]:
    """The turns up to the end, which has to be there, and right, and the last line."""
    from hector.dialects.portable_reading import EndLine, read_line

    count, ended = 0, False
    async for number, line in lines:
        try:
            if ended:
                raise InvalidRequest("nothing may come after the end.")
            read = read_line(parse_object(line, "It"))
            if isinstance(read, EndLine):
                if read.turns != count:
                    raise InvalidRequest(f"{read.turns} turns are announced, but there are {count}.", field="turns")
                ended = True
                continue
            task = read.task()
        except InvalidRequest as error:
            raise _in_line(error, number) from None
        count += 1
        yield task
    if not ended:
        raise InvalidRequest(
            f'Line {number + 1} is missing: the file was cut off. It ends with {{"type": "end", "turns": {count}}}.',
            field=f"line {number + 1}",
        )


def _in_line(error: InvalidRequest, number: int) -> InvalidRequest:
    """The same error, with the line that it is about."""
    kind = InputTooLarge if isinstance(error, InputTooLarge) else InvalidRequest
    field = f"line {number}" + (f": {error.field}" if error.field else "")
    return kind(f"Line {number}: {error.message}", field=field)


COPY_ROUTES = (
    ApiRoute("GET", "/sessions/{session_id}/messages", list_messages, "Read a session as a conversation",
             returns="MessagePage", errors=("wrong_limit", "no_session"),
             parameters=(Parameter("order", "asc: oldest first; desc: newest first",
                                   schema={"type": "string", "enum": ["asc", "desc"], "default": "asc"}), *PAGING)),
    ApiRoute("POST", "/sessions/{session_id}/fork", fork_session, "Start a session with the history of another",
             body=ForkSession, body_required=False, answer=(201, "application/json"), returns="Session",
             errors=("wrong_ttl", "wrong_task_id", "no_session", "no_agent", "body_too_large", "key_reused"),
             parameters=(KEY,)),
    ApiRoute("POST", "/sessions/import", import_session, "Start a session with the history of an exported one",
             upload=(NDJSON, "SessionFile"), answer=(201, "application/json"), returns="Session",
             errors=("wrong_line", "no_agent", "line_too_large", "key_reused"),
             parameters=(Parameter("agentId", "The agent to go on with, in place of the file's"), KEY)),
)  # fmt: skip
