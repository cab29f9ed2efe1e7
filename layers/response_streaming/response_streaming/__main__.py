"""``python -m response_streaming module.handler``: what the exec wrapper starts in place of Lambda's own bootstrap."""

import sys

# No classes here: a second copy of one under the name __main__ would fail isinstance.
from response_streaming.runtime import main

main(sys.argv)
