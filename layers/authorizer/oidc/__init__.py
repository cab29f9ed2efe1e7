"""Tokens of OpenID Connect issuers, verified. For functions/authorize."""

from oidc.issuer import Issuer, IssuerUnavailable, verified

__all__ = ["Issuer", "IssuerUnavailable", "verified"]
