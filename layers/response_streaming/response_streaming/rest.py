"""Events of REST APIs, behind the API's own address and behind a custom domain.

Where a custom domain maps /v1 to the API, `path` is /v1/health, and so is `requestContext.path`. At the API's own
address `path` is /health, and the stage is part of `requestContext.path` alone: /prod/health. `resource` is /health in
both. (Amazon API Gateway Developer Guide, "Input format of a Lambda function for proxy integration".)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from mangum.handlers import APIGateway
from mangum.types import Scope


class RestApi(APIGateway):
    """The scope's path is what follows the mapping; `aws.base_path` is what precedes it in the client's URLs."""

    @property
    def scope(self) -> Scope:
        path = routed_path(self.event)
        return {**super().scope, "path": unquote(path), "aws.base_path": _base_path(self.event, path)}


def routed_path(event: Mapping[str, Any]) -> str:
    """As much of the event's path, from its end, as its resource stands for; all of it if the two do not agree."""
    path: str = event["path"] or "/"
    found = path.rstrip("/").split("/")
    resource = [part for part in event["resource"].split("/") if part]
    length = len(resource)
    if resource and resource[-1].endswith("+}"):
        rest = (event.get("pathParameters") or {}).get(resource[-1][1:-2]) or ""
        length += _length_of(rest.strip("/"), found) - 1
    routed = found[len(found) - length :]
    if not len(resource) <= length < len(found) or not all(map(_stands_for, resource, routed)):
        return path
    return "/" + "/".join(routed) + ("/" if routed and path.endswith("/") else "")


def _length_of(rest: str, found: list[str]) -> int:
    """How many segments at the end of the path a greedy parameter took, whose value may have been decoded."""
    tails = ((length, "/".join(found[-length:])) for length in range(1, len(found)))
    return next((length for length, tail in tails if rest in (tail, unquote(tail))), 0)


def _stands_for(part: str, segment: str) -> bool:
    return part.startswith("{") or part in (segment, unquote(segment))


def _base_path(event: Mapping[str, Any], routed: str) -> str:
    """The mapping, or the stage: what the client's URL has before the routed path."""
    outer = (event["requestContext"].get("path") or event["path"]).rstrip("/")
    inner = routed.rstrip("/")
    return outer.removesuffix(inner).rstrip("/") if outer.endswith(inner) else ""
