"""What answers. A Python agent imports from here what it may yield besides text."""

from hector.agents.base import Progress, Text, Truncated, Turn
from hector.model import Message, Part, Role, StopReason, Usage

__all__ = ["Message", "Part", "Progress", "Role", "StopReason", "Text", "Truncated", "Turn", "Usage"]
