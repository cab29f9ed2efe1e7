"""A server made with a2a-sdk as its samples have it: an agent that streams artifact updates, tasks in memory.

It runs in an environment of its own, so it imports nothing of ours.
"""

# mypy: disable-error-code="import-not-found, misc"

from __future__ import annotations

from a2a.helpers import new_task_from_user_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from starlette.applications import Starlette


class Flood(AgentExecutor):
    """As many artifact updates as the user's message says, without ever waiting."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        await event_queue.enqueue_event(new_task_from_user_message(context.message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        for number in range(int(context.get_user_input())):
            await updater.add_artifact([new_text_part(" tok")], artifact_id="answer", append=number > 0)
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        raise NotImplementedError


CARD = AgentCard(
    name="Flood",
    description="Streams",
    version="1.0.0",
    capabilities=AgentCapabilities(streaming=True),
    supported_interfaces=[
        AgentInterface(url="http://127.0.0.1/", protocol_binding="HTTP+JSON", protocol_version="1.0")
    ],
    skills=[AgentSkill(id="flood", name="Flood", description="Streams", tags=["stream"])],
    default_input_modes=["text/plain"],
    default_output_modes=["text/plain"],
)
app = Starlette(routes=create_rest_routes(DefaultRequestHandler(Flood(), InMemoryTaskStore(), CARD)))
