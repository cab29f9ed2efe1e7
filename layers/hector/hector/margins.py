"""The last seconds of a Lambda invocation, and what they are for.

A turn is cut MARGIN_SECONDS before the end. Then its agent is given a moment, its end is stored and told, and the agent
closes what it opened; LAST_SECONDS before the end all of that is over. What is left is for measures and log lines, and
for ending the process if something in it will not end: whoever is cut off by Lambda itself says nothing more.
"""

from __future__ import annotations

from typing import Protocol

MARGIN_SECONDS = 3.0
ANSWER_MARGIN_SECONDS = 1.5
"""An answer goes on for longer than the turn that it tells: it has its end to tell, too."""
LAST_SECONDS = 1.0
ABORT_SECONDS = 0.3
"""How long the end of a stopped turn waits for its agent."""
CLEAN_UP_SECONDS = 5.0
"""How long a stopped agent may take to close what it opened, if there is so much time."""
ENDING_SECONDS = MARGIN_SECONDS - LAST_SECONDS
"""How long all of a turn's end may take that was cut by its invocation's."""


class Context(Protocol):
    """Lambda's, as far as it is used here."""

    def get_remaining_time_in_millis(self) -> int: ...


def seconds_left(context: Context, margin: float = MARGIN_SECONDS) -> float:
    """How long a turn may take before this invocation ends."""
    return max(0.0, context.get_remaining_time_in_millis() / 1000 - margin)
