"""Who calls, by a token of one OpenID Connect issuer: a Lambda authoriser (TOKEN or REQUEST) for API Gateway.

OIDC_ISSUER and OIDC_AUDIENCE are what the token's `iss` and `aud` have to say. OIDC_TENANT_CLAIM, if it is set, names
the claim that becomes the caller's tenant; a token without it is refused. OIDC_LEEWAY is by how many seconds clocks may
differ (30).
"""

from __future__ import annotations

import logging
import os
from typing import Any

from jwt import InvalidTokenError

from oidc import Issuer, verified

logger = logging.getLogger(__name__)

ISSUER = Issuer(os.environ["OIDC_ISSUER"])
AUDIENCE = os.environ["OIDC_AUDIENCE"]
TENANT_CLAIM = os.environ.get("OIDC_TENANT_CLAIM", "")
LEEWAY = float(os.environ.get("OIDC_LEEWAY", "30"))


class Unauthorized(Exception):
    """API Gateway answers 401 to an error with this very text, and 500 to any other."""

    def __init__(self) -> None:
        super().__init__("Unauthorized")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """A policy for the whole API, so that it can be cached: 401 without a valid token, 403 without a tenant."""
    try:
        claims = verified(ISSUER, _token(event), AUDIENCE, LEEWAY)
    except InvalidTokenError as error:
        logger.info("refused a token: %s", error)
        raise Unauthorized from None
    tenant = claims.get(TENANT_CLAIM, "") if TENANT_CLAIM else ""
    admitted = not TENANT_CLAIM or (isinstance(tenant, str | int) and str(tenant) != "")
    if not admitted:
        logger.info("refused a token: its claim %r names no tenant", TENANT_CLAIM)
    return {
        "principalId": claims["sub"],
        "context": {"tenant": str(tenant)} if admitted else {},
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow" if admitted else "Deny",
                    "Action": "execute-api:Invoke",
                    "Resource": "/".join([*event["methodArn"].split("/")[:2], "*"]),
                }
            ],
        },
    }


def _token(event: dict[str, Any]) -> str:
    """What stands after `Bearer`. Raises InvalidTokenError."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    scheme, _, token = (event.get("authorizationToken") or headers.get("authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidTokenError("the header Authorization is missing, or is not of the form: Bearer TOKEN")
    return token.strip()
