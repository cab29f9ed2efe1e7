"""Recursive loop detection: the trace header counts how often a chain of messages has invoked a function.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html: AWS's SDKs send the header on, Lambda counts.
"""

from __future__ import annotations

import time
import uuid
from zlib import crc32

from hector.emulator.model import Function


def invocations(trace: str | None, function: Function) -> int:
    """How often the function has been invoked before, in the chain that this header belongs to."""
    return _lineage(trace).get(_key(function), 0)


def next_trace(trace: str | None, function: Function) -> str:
    """The header for the chain's next invocation, or a new chain's first."""
    root = _parts(trace).get("Root") or f"1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}"
    lineage, key = _lineage(trace), _key(function)
    lineage[key] = lineage.get(key, 0) + 1
    return f"Root={root};Sampled=0;Lineage=1:" + "|".join(f"{key}:{count}" for key, count in lineage.items())


def _key(function: Function) -> str:
    return f"{crc32(function.arn.encode()):08x}"


def _parts(trace: str | None) -> dict[str, str]:
    return dict(part.split("=", 1) for part in (trace or "").split(";") if "=" in part)


def _lineage(trace: str | None) -> dict[str, int]:
    items = _parts(trace).get("Lineage", "").partition(":")[2]
    return {key: int(count) for key, _, count in (item.partition(":") for item in items.split("|")) if count.isdigit()}
