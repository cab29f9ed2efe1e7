"""What the model is shown of a session: a window of messages, a budget of tokens, or a summary and what follows it."""

from hector.history.messages import conversation
from hector.history.recall import NOTHING_KNOWN, History, Known

__all__ = ["NOTHING_KNOWN", "History", "Known", "conversation"]
