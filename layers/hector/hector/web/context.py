"""What a request brings with it: who asks, how long this process may go on, and under which address it was reached."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from hector import margins
from hector.model import Principal

ANONYMOUS = Principal("anonymous")


def principal_of(request: Request) -> Principal:
    """The caller, as API Gateway's authorizer knows it; without an authorizer everybody is the same caller.

    From the event's `requestContext`: Cognito's `authorizer.claims.sub`, else a Lambda authorizer's
    `authorizer.principalId` (with an optional `tenant`), else the IAM user, `identity.userArn`, or
    `authorizer.iam.userArn` of a Function URL. (Amazon API Gateway Developer Guide, "Input format of a Lambda function
    for proxy integration"; AWS Lambda Developer Guide, "Invoking Lambda function URLs".)
    """
    context = _request_context(request)
    authorizer = context.get("authorizer") or {}
    identity = context.get("identity") or {}
    claims = authorizer.get("claims") or {}
    user = identity.get("userArn") or (authorizer.get("iam") or {}).get("userArn")
    subject = claims.get("sub") or authorizer.get("principalId") or user
    if not subject:
        return ANONYMOUS
    return Principal(str(subject), str(claims.get("custom:tenant") or authorizer.get("tenant") or ""))


def seconds_left(request: Request, margin: float = margins.MARGIN_SECONDS) -> float | None:
    """How long a turn may take before this Lambda invocation ends; None outside of Lambda."""
    context = request.scope.get("aws.context")
    return None if context is None else margins.seconds_left(context, margin)


def answer_seconds(request: Request) -> float | None:
    """How long an answer may go on: a little longer than a turn, whose end it tells; None outside of Lambda."""
    return seconds_left(request, margins.ANSWER_MARGIN_SECONDS)


def absolute_url(request: Request, path: str, public_url: str | None) -> str:
    """The address of a path for the outside: under `public_url`, else under the request's domain, and its stage there.

    Behind a custom domain, what the domain maps to the API takes the place of the stage.
    """
    if public_url:
        return public_url.rstrip("/") + path
    return f"{request.url.scheme}://{request.url.netloc}{request.scope.get('aws.base_path', '')}{path}"


def _request_context(request: Request) -> dict[str, Any]:
    event = request.scope.get("aws.event") or {}
    return event.get("requestContext") or {}
