"""What asyncio leaves to be said in more words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def side_by_side(one: Awaitable[A], other: Awaitable[B]) -> tuple[A, B]:
    """The results of both, waited for together; an error is raised when both are done."""
    first, second = await asyncio.gather(one, other, return_exceptions=True)
    if isinstance(first, BaseException):
        raise first
    if isinstance(second, BaseException):
        raise second
    return first, second
