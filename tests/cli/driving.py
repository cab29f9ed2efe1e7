"""The command `hector` as tests run it: with pipes, or on a pseudo-terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pexpect

from tests.processes import ENVIRONMENT

HECTOR = [sys.executable, "-m", "hector"]
XTERM = {"TERM": "xterm"}
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:[349]\d|10\d)[;m]")
"""What makes a terminal write, or paint, in a colour."""
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[=>78]|\r")


def hector(*arguments: str, text: str | bytes | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """With standard input closed, or `text` in it."""
    given = text.encode() if isinstance(text, str) else text
    done = subprocess.run(
        [*HECTOR, *arguments],
        input=given or b"",
        capture_output=True,
        timeout=30,
        env=ENVIRONMENT | {"COLUMNS": "120"} | environment,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def spawn(
    *arguments: str, columns: int = 120, lines: int = 40, environment: dict[str, str] | None = None
) -> pexpect.spawn[str]:
    """On a terminal that can only print, unless the environment says XTERM; its history is in the current folder."""
    # What is said of another terminal's size, as by the readline of whoever runs the tests, would count for more.
    inherited = {name: value for name, value in ENVIRONMENT.items() if name not in ("COLUMNS", "LINES")}
    settings = {"TERM": "dumb", "HOME": os.getcwd(), "PROMPT_TOOLKIT_NO_CPR": "1", **(environment or {})}
    return pexpect.spawn(
        HECTOR[0],
        [*HECTOR[1:], *arguments],
        env=inherited | settings,
        encoding="utf-8",
        timeout=15,
        dimensions=(lines, columns),
    )


def ended(child: pexpect.spawn[str]) -> int | None:
    """The exit code, once it has ended."""
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


def shown(text: str | None) -> str:
    """What a terminal was sent, without the sequences that steer it."""
    return _ESCAPES.sub("", text or "")
