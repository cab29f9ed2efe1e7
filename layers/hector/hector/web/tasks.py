"""The routes that answer one JSON body: turns, tasks, agents, health."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from hector import __version__
from hector.dialects.native import agent_json, task_json
from hector.errors import InvalidRequest
from hector.model import Message, Principal, Task, TaskState
from hector.services import Services
from hector.web.context import principal_of, seconds_left
from hector.web.copies import COPY_ROUTES
from hector.web.requests import PostTask, SendMessage, fingerprint_of, idempotency, page_limit, read_body, task_state
from hector.web.routes import ApiRoute, Parameter
from hector.web.sessions import KEY, PAGING

CANCEL_WAIT_SECONDS = 2.0


async def open_turn(services: Services, request: Request, message: Message, session_id: str) -> Task:
    """A turn in a session, for the one who asks."""
    return await services.turns.start(
        principal_of(request),
        session_id,
        message,
        idempotency=idempotency(request, fingerprint_of(message)),
        seconds_left=seconds_left(request),
    )


async def open_turn_with(services: Services, request: Request, body: SendMessage) -> Task:
    """A turn with the agent of the path: in the session that the body names, else in a new one."""
    agent_id = services.turns.agent(request.path_params["agent_id"]).id
    message = body.to_message()
    if body.session_id is not None:
        session = await services.store.read_session(principal_of(request), body.session_id)
        if session.agent_id != agent_id:
            raise InvalidRequest(f"That session is with agent {session.agent_id!r}.", field="contextId")
        return await open_turn(services, request, message, session.id)
    return await services.turns.start_new(
        principal_of(request),
        agent_id,
        message,
        idempotency=idempotency(request, fingerprint_of(message)),
        seconds_left=seconds_left(request),
    )


async def post_task(services: Services, request: Request) -> Response:
    message = (await read_body(request, PostTask)).message()
    task = await open_turn(services, request, message, request.path_params["session_id"])
    return await _answer(services, principal_of(request), task)


async def send_message(services: Services, request: Request) -> Response:
    task = await open_turn_with(services, request, await read_body(request, SendMessage))
    return await _answer(services, principal_of(request), task)


async def list_tasks(services: Services, request: Request) -> Response:
    session_id = request.query_params.get("sessionId")
    if not session_id:
        raise InvalidRequest("sessionId is missing: tasks are listed by session.", field="sessionId")
    page = await services.store.list_tasks(
        principal_of(request),
        session_id,
        state=task_state(request),
        cursor=request.query_params.get("cursor"),
        limit=page_limit(request),
    )
    return JSONResponse({"items": [task_json(task) for task in page.items], "nextCursor": page.next_cursor})


async def read_task(services: Services, request: Request) -> Response:
    return JSONResponse(
        task_json(await services.store.read_task(principal_of(request), request.path_params["task_id"]))
    )


async def cancel_task(services: Services, request: Request) -> Response:
    """Waits for the worker to stop, which takes it a second at most; a worker that is gone takes longer."""
    principal = principal_of(request)
    task = await services.turns.cancel(principal, request.path_params["task_id"])
    if not task.state.terminal:
        waiting = asyncio.ensure_future(services.follow.ended(principal, task))
        await asyncio.wait({waiting}, timeout=CANCEL_WAIT_SECONDS)
        if waiting.done():
            task = waiting.result()
        waiting.cancel()
    return JSONResponse(task_json(task))


async def list_agents(services: Services, _: Request) -> Response:
    return JSONResponse({"items": [agent_json(agent) for agent in services.agents.values()], "nextCursor": None})


async def read_agent(services: Services, request: Request) -> Response:
    return JSONResponse(agent_json(services.turns.agent(request.path_params["agent_id"])))


async def health(services: Services, _: Request) -> Response:
    return JSONResponse(
        {"status": "ok", "version": __version__, "sessionStore": services.settings.session_store.backend}
    )


async def _answer(services: Services, principal: Principal, task: Task) -> Response:
    """The ended task; a long wait sends white space, which JSON allows, so that no proxy closes a silent connection."""
    waiting = asyncio.ensure_future(services.follow.ended(principal, task))
    try:
        await asyncio.wait({waiting}, timeout=services.heartbeat)
        if waiting.done():
            return JSONResponse(task_json(waiting.result()))
        return StreamingResponse(_spaced(waiting, services.heartbeat), media_type="application/json")
    except asyncio.CancelledError:
        waiting.cancel()
        raise


async def _spaced(waiting: asyncio.Future[Task], interval: float) -> AsyncIterator[bytes]:
    try:
        while not waiting.done():
            yield b" "
            await asyncio.wait({waiting}, timeout=interval)
        yield json.dumps(task_json(waiting.result()), ensure_ascii=False).encode()
    finally:
        waiting.cancel()


TASK_ROUTES = (
    ApiRoute("POST", "/sessions/{session_id}/tasks", post_task, "Say something in a session, and wait for the answer",
             body=PostTask, returns="Task", errors=(400, 404, 409, 413, 422), parameters=(KEY,)),
    ApiRoute("GET", "/tasks", list_tasks, "List the tasks of a session, newest first", returns="TaskPage",
             errors=(400, 404),
             parameters=(Parameter("sessionId", "The session", required=True),
                         Parameter("state", "Only the tasks in this state",
                                   schema={"type": "string", "enum": list(TaskState)}), *PAGING)),
    ApiRoute("GET", "/tasks/{task_id}", read_task, "Read a task", returns="Task", errors=(404,)),
    ApiRoute("POST", "/tasks/{task_id}/cancel", cancel_task, "Cancel a running task", returns="Task",
             errors=(404, 409)),
    ApiRoute("GET", "/agents", list_agents, "List the agents", returns="AgentPage"),
    ApiRoute("GET", "/agents/{agent_id}", read_agent, "Read an agent", returns="Agent", errors=(404,)),
    ApiRoute("POST", "/agents/{agent_id}/message/send", send_message, "Send a message, and wait for the answer",
             body=SendMessage, returns="Task", errors=(400, 404, 409, 413, 422), parameters=(KEY,)),
    ApiRoute("GET", "/health", health, "Whether the server is up", returns="Health"),
    *COPY_ROUTES,
)  # fmt: skip
