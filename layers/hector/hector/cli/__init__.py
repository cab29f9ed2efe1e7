"""The command line: `hector serve | chat | call`."""

from hector.cli.main import main

__all__ = ["main"]
