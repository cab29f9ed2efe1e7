"""The command `hector`: see `hector --help`."""

from hector.cli.main import main

__all__ = ["main"]
