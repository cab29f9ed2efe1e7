"""An OpenID Connect issuer: its keys, and what its tokens say."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

import jwt
from jwt import InvalidTokenError, PyJWK

# Only what a public key verifies: with a symmetric algorithm, whoever can verify could sign.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
KEYS_LIVE_SECONDS = 3600.0
PAUSE_SECONDS = 10.0
"""Between two looks for an unknown key, so that made-up key ids do not become requests to the issuer."""
TIMEOUT_SECONDS = 3.0
_MOST_BYTES = 1_000_000


class IssuerUnavailable(Exception):
    """The issuer's documents cannot be read, or are not what they should be."""


class Issuer:
    """`url` is the issuer as its tokens name it.

    Keys are read when they are first needed, again after an hour, and when a token names one that is not known: that is
    how an issuer changes its keys.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._keys: list[PyJWK] = []
        self._read_at = self._tried_at = -KEYS_LIVE_SECONDS

    def key(self, key_id: str | None) -> PyJWK:
        """Raises InvalidTokenError if the issuer has no such key, IssuerUnavailable if it cannot be asked."""
        now = time.monotonic()
        found = self._find(key_id)
        stale = now - self._read_at >= KEYS_LIVE_SECONDS
        if (found is None or stale) and (not self._keys or now - self._tried_at >= PAUSE_SECONDS):
            self._tried_at = now
            try:
                self._keys = self._read_keys()
                self._read_at = now
            except IssuerUnavailable:
                if found is None:
                    raise
            found = self._find(key_id)
        if found is None:
            raise InvalidTokenError(f"{self.url} has no key {key_id!r}")
        return found

    def _find(self, key_id: str | None) -> PyJWK | None:
        if key_id is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.key_id == key_id), None)

    def _read_keys(self) -> list[PyJWK]:
        document = _read(self.url.rstrip("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != self.url:
            raise IssuerUnavailable(f"the issuer calls itself {document.get('issuer')!r}, not {self.url!r}")
        keys = []
        for entry in _read(str(document.get("jwks_uri"))).get("keys", []):
            if entry.get("kty") == "oct" or entry.get("use", "sig") != "sig":
                continue
            try:
                keys.append(PyJWK.from_dict(entry))
            except jwt.PyJWTError:
                continue  # a kind of key that is not known here
        return keys


def verified(issuer: Issuer, token: str, audience: str, leeway: float) -> dict[str, Any]:
    """The claims of a token that the issuer has signed for this audience, and that counts now.

    Raises InvalidTokenError, which says what is wrong, and IssuerUnavailable.
    """
    header = jwt.get_unverified_header(token)
    if header.get("alg") not in ALGORITHMS:
        raise InvalidTokenError(f"the algorithm {header.get('alg')!r} is not accepted")
    claims: dict[str, Any] = jwt.decode(
        token,
        issuer.key(header.get("kid")),
        algorithms=ALGORITHMS,
        audience=audience,
        issuer=issuer.url,
        leeway=leeway,
        options={"require": ["exp", "iss", "aud", "sub"]},
    )
    if not claims["sub"]:
        raise InvalidTokenError("the claim sub is empty")
    return claims


def _read(url: str) -> dict[str, Any]:
    if not url.startswith(("https://", "http://127.0.0.1:")):
        raise IssuerUnavailable(f"{url!r} is not an https address")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            document = json.loads(answer.read(_MOST_BYTES))
    except (OSError, ValueError) as error:
        raise IssuerUnavailable(f"cannot read {url}: {error}") from error
    if not isinstance(document, dict):
        raise IssuerUnavailable(f"{url} holds no JSON object")
    return document
