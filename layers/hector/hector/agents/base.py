"""What an agent is: something that answers a turn, piece by piece.

A new kind of agent implements `Agent`, gets its settings in `hector.config` and a line in `hector.wiring`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from hector.model import Message, Role, Session, StopReason, TurnPolicy, Usage

_GO_ON = Message.of(
    Role.USER, "Your answer was cut off. Go on exactly where it stopped: repeat nothing, and say nothing about this."
)

if TYPE_CHECKING:
    from hector.agents.tokens.base import Tokenizer


@dataclass(frozen=True, slots=True)
class Turn:
    """What an agent is given: the user's message, the conversation before it, and the session that it belongs to.

        `history` alternates between user and agent, starts with the user and ends with the agent (or is empty). Where
    there is a `summary` of what was said before that, it is part of `system`, too. `so_far` is what another process has
    said of this answer: the agent goes on from there. A turn that `summarises` is no message of the user: its answer is
    to be a summary of `summary` and `history`, which replaces them.
    """

    task_id: str
    session: Session
    message: Message
    history: tuple[Message, ...] = ()
    system: str | None = None
    so_far: str = ""
    summary: str | None = None
    summarises: bool = False

    @property
    def text(self) -> str:
        """The user's message as text."""
        return self.message.text

    @property
    def shown(self) -> tuple[Message, ...]:
        """What a model is shown: the conversation and the message, or what it has said of its answer, to go on with."""
        if not self.so_far:
            return (*self.history, self.message)
        return (*self.history, self.message, Message.of(Role.AGENT, self.so_far), _GO_ON)


class Text(NamedTuple):
    """The next piece of the answer."""

    text: str


class Progress(NamedTuple):
    """A note about what is going on, and the fraction (0 to 1) that is done, if that is known."""

    note: str
    fraction: float | None = None


class Truncated(NamedTuple):
    """The answer ends here, though it is not complete; `reason` says why, and becomes the task's `stop_reason`."""

    reason: StopReason


Output = Text | Progress | Usage | Truncated


class Agent(Protocol):
    def answer(self, turn: Turn) -> AsyncGenerator[Output, None]:
        """Yield the answer as it is made. Cancelling must close what was opened. Raises AgentError."""

    async def aclose(self) -> None:
        """Close connections."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ServedAgent:
    """An agent with the settings that its turns run under; times are in seconds.

    Of a session it is shown the newest `window` messages; with `tokens`, as many as fit into these, together with the
    system prompt and the new message. With `summarises`, what does not fit is shown as a summary. `tokenizer` counts as
    its model does, whose reports (Usage) set that right; without one, tokens are estimated.
    `max_waiting` messages wait in a busy session, each for `max_wait`; `cancels_on_disconnect`: a turn ends with the
    connection that asked for it. `hands_over`: a turn whose process has to go is gone on with by another one.
    """

    id: str
    agent: Agent
    name: str
    description: str = ""
    system: str | None = None
    window: int = 40
    tokens: int | None = None
    summarises: bool = False
    tokenizer: Tokenizer | None = None
    timeout: float = 600.0
    streams: bool = True
    policy: TurnPolicy = TurnPolicy.REJECT
    max_waiting: int = 10
    max_wait: float = 300.0
    cancels_on_disconnect: bool = False
    hands_over: bool = False
