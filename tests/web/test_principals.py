"""Who a caller is, as each of the deployed API's authorizers tells it."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request

from hector.model import Principal
from hector.web.context import ANONYMOUS, principal_of

ARN = "arn:aws:iam::123456789012:user/alice"


@pytest.mark.parametrize(
    ("context", "principal"),
    [
        ({}, ANONYMOUS),
        ({"authorizer": None, "identity": {"userArn": None}}, ANONYMOUS),
        ({"authorizer": {"claims": {"sub": "alice"}}}, Principal("alice")),
        ({"authorizer": {"claims": {"sub": "alice", "custom:tenant": "acme"}}}, Principal("alice", "acme")),
        ({"authorizer": {"principalId": "alice", "tenant": ""}}, Principal("alice")),
        ({"authorizer": {"principalId": "alice", "tenant": "acme"}}, Principal("alice", "acme")),
        ({"identity": {"userArn": ARN}}, Principal(ARN)),
        ({"authorizer": {"iam": {"userArn": ARN, "accountId": "123456789012"}}}, Principal(ARN)),
    ],
    ids=["none", "nulls", "cognito", "cognito, tenant", "lambda", "lambda, tenant", "iam", "iam at a function url"],
)
def test_principals(context: dict[str, Any], principal: Principal) -> None:
    assert principal_of(Request({"type": "http", "aws.event": {"requestContext": context}})) == principal


def test_outside_of_lambda_everybody_is_the_same_caller() -> None:
    assert principal_of(Request({"type": "http"})) == ANONYMOUS
