"""What is said where a command looks for hector.yaml and there is none: it works with the embedded defaults then."""

from __future__ import annotations

import os
from pathlib import Path

from hector.cli.screens import complain
from hector.config.load import source

_MISNAMED = "hector.yml"


def no_file() -> str:
    """That there is none, and what to do about it."""
    if Path(_MISNAMED).exists():
        return f"There is no hector.yaml here, and {_MISNAMED} is not read: the file is to be called hector.yaml."
    return "There is no hector.yaml here; `hector config init` writes one."


def who_answers() -> str:
    """What the agents of the embedded defaults are."""
    if os.environ.get("HECTOR_MODEL"):
        return "The model that HECTOR_MODEL names answers."
    return "The builtin stand-in answers."


def warn_of_misnamed(config: str | None) -> None:
    """Say so if the defaults are taken although there is a file that was meant."""
    if source(config) is None and Path(_MISNAMED).exists():
        complain(no_file())
