"""The exit codes of every command, and the one place that turns an error into one."""

from __future__ import annotations

from hector.errors import ConfigError, HectorError, NotFound

COMPLETED = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130

EXPLAINED = (
    "Exit codes: 0 done; 1 the task failed or was canceled, the server refused (or is another API), or standard output "
    "cannot be written; 2 wrong usage or configuration; 3 the server cannot be reached; 130 stopped by Ctrl-C."
)


class Refused(HectorError):
    """The server answered with an error, or what answered is no such server."""

    code = "refused"


class Conflict(Refused):
    """The server is as it should be, and what is asked for does not go now: a session is busy, a task has ended."""

    code = "conflict"


class SessionGone(NotFound):
    """The server has no such session, or no longer."""


class Unreachable(HectorError):
    """The server gave no answer."""

    code = "unreachable"


class NotCanceled(HectorError):
    """Ctrl-C was to cancel an answer, which may go on all the same."""

    code = "not_canceled"


def exit_code(error: HectorError) -> int:
    match error:
        case ConfigError():
            return USAGE
        case Unreachable():
            return UNREACHABLE
        case NotCanceled():
            return INTERRUPTED
        case _:
            return FAILED
