"""The exit codes of every command, and the one place that turns an error into one."""

from __future__ import annotations

from hector.errors import ConfigError, HectorError

COMPLETED = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130

EXPLAINED = (
    "Exit codes: 0 done; 1 the task failed or was canceled, or the server refused; 2 wrong usage or configuration; "
    "3 the server cannot be reached; 130 stopped by Ctrl-C."
)


class Refused(HectorError):
    """The server answered with an error."""

    code = "refused"


class Unreachable(HectorError):
    """The server gave no answer."""

    code = "unreachable"


def exit_code(error: HectorError) -> int:
    match error:
        case ConfigError():
            return USAGE
        case Unreachable():
            return UNREACHABLE
        case _:
            return FAILED
