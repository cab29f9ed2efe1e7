"""``python -m response_streaming module.handler``: what the exec wrapper starts in place of Lambda's own bootstrap."""

import gc
import sys

# What is loaded at start-up is no garbage: looking for some takes a tenth of the time. On again before the first event.
gc.disable()

# No classes here: a second copy of one under the name __main__ would fail isinstance.
from response_streaming.runtime import main  # noqa: E402

main(sys.argv)
