"""What a test does when a tool or engine that it needs is not on the machine."""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

T = TypeVar("T")


def need(found: T | None, reason: str) -> T:
    """``found``; when it is falsy, skips the test with ``reason``, or fails it with HECTOR_REQUIRE_ENGINES=1."""
    if found:
        return found
    if os.environ.get("HECTOR_REQUIRE_ENGINES") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
