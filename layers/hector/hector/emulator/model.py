"""What the emulator runs: functions and the routes that lead to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Function:
    """One Lambda function. ``code`` and ``layers`` are folders; ``timeout`` is in seconds, ``memory`` in MB."""

    name: str
    code: Path
    handler: str
    environment: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[Path, ...] = ()
    timeout: float = 900.0
    memory: int = 512
    runtime: str | None = None


@dataclass(frozen=True)
class Route:
    """One method of a REST API. ``resource`` is its path with ``{parameters}``; ``timeout`` is in seconds.

    ``binary`` are the API's binary media types. Without them API Gateway takes every body for text, both ways: a base64
    body of a buffered answer then reaches the client as base64.
    """

    method: str
    resource: str
    function: str
    streams: bool = False
    timeout: float = 29.0
    binary: tuple[str, ...] = ()

    def is_binary(self, media_type: str | None) -> bool:
        """Whether a body of this type (or an answer to this Accept header) is binary to the API."""
        wanted = (media_type or "").split(",")[0].split(";")[0].strip()
        return "*/*" in self.binary or wanted in self.binary

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """The path parameters if this route takes the request, else None. ``ANY`` takes every method."""
        if self.method not in {"ANY", method}:
            return None
        found = self._pattern.fullmatch(path)
        if found is None:
            return None
        return {name.removesuffix("_greedy"): value for name, value in found.groupdict().items()}

    @property
    def _pattern(self) -> re.Pattern[str]:
        parts = re.split(r"(\{\w+\+?\})", self.resource)
        return re.compile("".join(_part_pattern(part) for part in parts))


def _part_pattern(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    name = part.strip("{}+")
    return f"(?P<{name}_greedy>.+)" if part.endswith("+}") else f"(?P<{name}>[^/]+)"
