"""`python -m hector`: the same as the command `hector`."""

from hector.cli import main

main()
