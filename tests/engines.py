"""What a test does when a tool or engine that it needs is not on the machine."""

from __future__ import annotations

import os

import pytest


def need(found: object, reason: str) -> None:
    """Skips the test with ``reason`` when ``found`` is falsy; with HECTOR_REQUIRE_ENGINES=1 it fails instead."""
    if found:
        return
    if os.environ.get("HECTOR_REQUIRE_ENGINES") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
