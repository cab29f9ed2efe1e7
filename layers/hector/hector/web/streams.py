"""The routes that stream: Server-Sent Events, numbered, resumable and joinable; and the export of a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from hector import telemetry
from hector.model import Task
from hector.services import Services
from hector.web.context import absolute_url, answer_seconds, principal_of
from hector.web.copies import NDJSON, export_session
from hector.web.requests import PostTask, SendMessage, cursor_after, read_body
from hector.web.routes import ApiRoute, Parameter
from hector.web.sessions import KEY
from hector.web.sse import event_stream
from hector.web.tasks import TURN_ERRORS, open_turn, open_turn_with

_NUMBER = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
RESUME = Parameter(
    "Last-Event-ID", "The last event that was received; the stream goes on after it", place="header", schema=_NUMBER
)
AFTER = Parameter("after", "The same as Last-Event-ID, for clients that cannot set it", schema=_NUMBER)


async def stream_task(services: Services, request: Request) -> Response:
    return _begin(services, request, await open_turn(services, request, await read_body(request, PostTask)))


async def stream_message(services: Services, request: Request) -> Response:
    return _begin(services, request, await open_turn_with(services, request, await read_body(request, SendMessage)))


async def resume_task(services: Services, request: Request) -> Response:
    """Replays and goes on live. 204 once everything has been received: an EventSource then stops reconnecting.

    A task that a crash ended is told once more instead, since its last number may have been that of a lost event; so a
    browser closes its EventSource when it sees a final status.
    """
    after = cursor_after(request)
    task = await services.follow.task(principal_of(request), request.path_params["task_id"])
    if services.follow.seen_all(task, after):
        return Response(status_code=204)
    if after:
        telemetry.count(telemetry.Measure.RESUMES)
    return _follow(services, request, task, after)


def _begin(services: Services, request: Request, task: Task) -> Response:
    """The stream of whoever has asked for the turn."""
    return _follow(services, request, task, cut=partial(services.turns.abandon, principal_of(request), task))


def _follow(
    services: Services, request: Request, task: Task, after: int = 0, cut: Callable[[], None] = lambda: None
) -> Response:
    telemetry.TASK.set(task.id)
    batches = services.follow.events(principal_of(request), task, after=after)
    location = absolute_url(request, f"/tasks/{task.id}/stream", services.settings.public_url)
    seconds = answer_seconds(request)
    return event_stream(task.id, batches, services.heartbeat, location=location, cut=cut, seconds=seconds)


_SSE = (200, "text/event-stream")
STREAM_ROUTES = (
    ApiRoute("POST", "/sessions/{session_id}/tasks/stream", stream_task, "Say something in a session, and stream",
             body=PostTask, answer=_SSE, returns="EventStream", errors=("wrong_input", *TURN_ERRORS),
             parameters=(KEY,)),
    ApiRoute("POST", "/agents/{agent_id}/message/stream", stream_message, "Send a message, and stream the answer",
             body=SendMessage, answer=_SSE, returns="EventStream",
             errors=("wrong_message", "no_agent", *TURN_ERRORS),
             parameters=(KEY,)),
    ApiRoute("GET", "/tasks/{task_id}/stream", resume_task, "Follow a task's stream, from any event on",
             answer=_SSE, returns="EventStream", also={204: "Everything has been received"},
             errors=("wrong_number", "no_task"),
             parameters=(RESUME, AFTER)),
    ApiRoute("GET", "/sessions/{session_id}/export", export_session, "Export a session as a portable file",
             answer=(200, NDJSON), returns="SessionFile", errors=("no_session",)),
)  # fmt: skip
