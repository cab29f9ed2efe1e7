"""What a test does when a tool or engine that it needs is not on the machine."""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

T = TypeVar("T")


def need(found: T | None, reason: str, required_by: str = "HECTOR_REQUIRE_ENGINES") -> T:
    """``found``; when it is falsy, skips the test with ``reason``, or fails it if the variable ``required_by`` is 1."""
    if found:
        return found
    if os.environ.get(required_by) == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
