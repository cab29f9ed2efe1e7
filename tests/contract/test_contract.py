"""The published suite on every backend of `conftest.py`."""

from hector.testing.contract import *  # noqa: F403
