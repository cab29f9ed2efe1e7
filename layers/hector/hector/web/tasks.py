"""The routes that answer one JSON body: turns, tasks, agents, health."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from hector import __version__, telemetry
from hector.dialects.native import agent_json, task_json
from hector.errors import HectorError, InvalidRequest
from hector.model import Principal, Task, TaskState
from hector.services import Services
from hector.web.context import absolute_url, answer_seconds, principal_of
from hector.web.copies import COPY_ROUTES
from hector.web.problems import bug, document
from hector.web.requests import PostTask, SendMessage, asked, page_limit, read_body, responds_async, task_state
from hector.web.routes import ApiRoute, Parameter
from hector.web.sessions import KEY, PAGING

logger = logging.getLogger(__name__)

CANCEL_WAIT_SECONDS = 2.0
TURN_ERRORS = (
    "no_session", "session_busy", "too_many_waiting", "body_too_large", "key_reused", "queue_unavailable", "stopping",
)  # fmt: skip
"""What every route can answer that takes a message."""
PREFER = Parameter(
    "Prefer",
    "`respond-async`: do not wait for the answer; 202, and the task by its Location",
    place="header",
    schema={"type": "string", "examples": ["respond-async"]},
)


async def open_turn(services: Services, request: Request, body: PostTask, *, background: bool = False) -> Task:
    """A turn in the session of the path, for the one who asks."""
    message = body.message()
    return await services.turns.start(
        principal_of(request),
        request.path_params["session_id"],
        message,
        asked=asked(request, message, body.turnPolicy, background=background),
    )


async def open_turn_with(services: Services, request: Request, body: SendMessage, *, background: bool = False) -> Task:
    """A turn with the agent of the path: in the session that the body names, else in a new one."""
    agent_id = services.turns.agent(request.path_params["agent_id"]).id
    principal, message = principal_of(request), body.to_message()
    how = asked(request, message, body.turnPolicy, background=background)
    if body.session_id is None:
        return await services.turns.start_new(principal, agent_id, message, asked=how)
    return await services.turns.start(principal, body.session_id, message, agent_id=agent_id, asked=how)


async def post_task(services: Services, request: Request) -> Response:
    background = responds_async(request)
    task = await open_turn(services, request, await read_body(request, PostTask), background=background)
    return _accepted(services, request, task) if background else await _answer(services, request, task)


async def send_message(services: Services, request: Request) -> Response:
    background = responds_async(request)
    task = await open_turn_with(services, request, await read_body(request, SendMessage), background=background)
    return _accepted(services, request, task) if background else await _answer(services, request, task)


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
    task, note = await services.follow.task_and_note(principal_of(request), request.path_params["task_id"])
    return JSONResponse(task_json(task, note))


async def cancel_task(services: Services, request: Request) -> Response:
    """Waits for the worker to stop, which takes it a second at most; a worker that is gone takes longer."""
    principal = principal_of(request)
    task = await services.turns.cancel(principal, request.path_params["task_id"])
    if not task.state.terminal:
        with suppress(TimeoutError):
            task = await asyncio.wait_for(services.follow.ended(principal, task), CANCEL_WAIT_SECONDS)
    return JSONResponse(task_json(task))


async def list_agents(services: Services, _: Request) -> Response:
    return JSONResponse({"items": [agent_json(agent) for agent in services.agents.values()], "nextCursor": None})


async def read_agent(services: Services, request: Request) -> Response:
    return JSONResponse(agent_json(services.turns.agent(request.path_params["agent_id"])))


async def health(services: Services, _: Request) -> Response:
    return JSONResponse(
        {"status": "ok", "version": __version__, "sessionStore": services.settings.session_store.backend}
    )


def _accepted(services: Services, request: Request, task: Task) -> Response:
    """The task will be run (RFC 9110, section 15.3.3): to know how it went, read it, or follow its stream."""
    location = absolute_url(request, f"/tasks/{task.id}", services.settings.public_url)
    return JSONResponse(task_json(task), 202, {"Location": location, "Preference-Applied": "respond-async"})


async def _answer(services: Services, request: Request, task: Task) -> Response:
    """The ended task; a long wait sends white space, which JSON allows, so that no proxy closes a silent connection.

    A function whose time is over before the task has ended answers with the task as it is.
    """
    principal = principal_of(request)
    telemetry.TASK.set(task.id)
    waiting = asyncio.ensure_future(_ended(services, principal, task, answer_seconds(request)))
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({waiting, leaving}, timeout=services.heartbeat, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return JSONResponse(task_json(waiting.result()))
        if leaving.done():
            services.turns.abandon(principal, task)
            waiting.cancel()
            return Response(status_code=499)  # nobody is there to read it; nginx's "client closed request"
        return StreamingResponse(
            _spaced(waiting, services.heartbeat, partial(services.turns.abandon, principal, task)),
            media_type="application/json",
        )
    except asyncio.CancelledError:
        waiting.cancel()
        raise
    finally:
        leaving.cancel()


async def _ended(services: Services, principal: Principal, task: Task, seconds: float | None) -> Task:
    try:
        return await asyncio.wait_for(services.follow.ended(principal, task), seconds)
    except TimeoutError:
        return await services.follow.task(principal, task.id)


async def _left(request: Request) -> None:
    """Wait until the client closes its connection; the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _spaced(waiting: asyncio.Future[Task], interval: float, abandon: Callable[[], None]) -> AsyncIterator[bytes]:
    """White space, then the task; or the problem that keeps it from being told, since the status line has left."""
    try:
        while not waiting.done():
            yield b" "
            await asyncio.wait({waiting}, timeout=interval)
        yield json.dumps(_task_or_problem(waiting), ensure_ascii=False).encode()
    finally:
        if not waiting.done():
            abandon()
            waiting.cancel()


def _task_or_problem(waiting: asyncio.Future[Task]) -> dict[str, Any]:
    try:
        return task_json(waiting.result())
    except HectorError as error:
        logger.error("an answer ends with %s: %s", error.code, error.message)
        return document(error)
    except Exception as error:
        logger.exception("an answer could not be told to its end")
        return document(bug(error))


TASK_ROUTES = (
    ApiRoute("POST", "/sessions/{session_id}/tasks", post_task, "Say something in a session, and wait for the answer",
             body=PostTask, returns="Task", accepts="Task",
             errors=("wrong_input", *TURN_ERRORS), parameters=(KEY, PREFER)),
    ApiRoute("GET", "/tasks", list_tasks, "List the tasks of a session, newest first", returns="TaskPage",
             errors=("no_session_id", "wrong_limit", "no_session"),
             parameters=(Parameter("sessionId", "The session", required=True),
                         Parameter("state", "Only the tasks in this state",
                                   schema={"type": "string", "enum": list(TaskState)}), *PAGING)),
    ApiRoute("GET", "/tasks/{task_id}", read_task, "Read a task", returns="Task", errors=("no_task",)),
    ApiRoute("POST", "/tasks/{task_id}/cancel", cancel_task, "Cancel a running task", returns="Task",
             errors=("no_task", "task_not_cancelable")),
    ApiRoute("GET", "/agents", list_agents, "List the agents", returns="AgentPage", stored=False),
    ApiRoute("GET", "/agents/{agent_id}", read_agent, "Read an agent", returns="Agent",
             errors=("no_agent",), stored=False),
    ApiRoute("POST", "/agents/{agent_id}/message/send", send_message, "Send a message, and wait for the answer",
             body=SendMessage, returns="Task", accepts="Task",
             errors=("wrong_message", "no_agent", *TURN_ERRORS),
             parameters=(KEY, PREFER)),
    ApiRoute("GET", "/health", health, "Whether the server is up", returns="Health", stored=False),
    *COPY_ROUTES,
)  # fmt: skip
