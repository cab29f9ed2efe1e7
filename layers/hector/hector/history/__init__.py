"""What the model is shown of a session: a window of messages, a budget of tokens, or a summary and what follows it."""

from hector.history.messages import conversation
from hector.history.recall import History, Known

__all__ = ["History", "Known", "conversation"]
