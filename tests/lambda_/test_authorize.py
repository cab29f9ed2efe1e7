"""functions/authorize, with real keys against a real issuer on the loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.lambda_ import built

ARN = "arn:aws:execute-api:eu-central-1:123456789012:a1b2c3d4e5/prod/POST/sessions/one/tasks"
AUDIENCE = "hector"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def public(algorithm: Any, key: Any, key_id: str, **members: str) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(algorithm.to_jwk(key.public_key()))
    return {**described, "kid": key_id, "use": "sig", **members}


class LocalIssuer:
    """Serves a discovery document and keys; counts how often it is asked."""

    def __init__(self) -> None:
        self.keys = [public(RSAAlgorithm, RSA_KEY, "rsa", alg="RS256")]
        self.asked: list[str] = []
        self.calls_itself: str | None = None
        self.down = False
        outer = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                documents = {
                    "/.well-known/openid-configuration": {
                        "issuer": outer.calls_itself or outer.url,
                        "jwks_uri": f"{outer.url}/keys",
                    },
                    "/keys": {"keys": outer.keys},
                }
                body = json.dumps(documents[self.path]).encode()
                self.send_response(503 if outer.down else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def token(self, key: Any = RSA_KEY, key_id: str | None = "rsa", algorithm: str = "RS256", **claims: Any) -> str:
        now = int(time.time())
        content = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "exp": now + 60, "iat": now, **claims}
        content = {name: value for name, value in content.items() if value is not None}
        return jwt.encode(content, key, algorithm=algorithm, headers={"kid": key_id} if key_id else None)


@pytest.fixture
def issuer() -> Iterator[LocalIssuer]:
    issuer = LocalIssuer()
    yield issuer
    issuer.close()


Start = Callable[..., ModuleType]


@pytest.fixture
def start(issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch) -> Start:
    """The function's module, as a fresh environment imports it."""

    def start(**environment: str) -> ModuleType:
        settings = {"OIDC_ISSUER": issuer.url, "OIDC_AUDIENCE": AUDIENCE, **environment}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.syspath_prepend(str(built.ROOT / "functions" / "authorize"))
        sys.modules.pop("app", None)
        try:
            return importlib.import_module("app")
        finally:
            sys.modules.pop("app", None)

    return start


def ask(module: ModuleType, token: str) -> dict[str, Any]:
    event = {"type": "TOKEN", "authorizationToken": f"Bearer {token}", "methodArn": ARN}
    answer: dict[str, Any] = module.handler(event, None)
    return answer


def refused(module: ModuleType, token: str, caplog: pytest.LogCaptureFixture) -> str:
    """Refused with API Gateway's 401; the reason that the log gives."""
    caplog.clear()
    with caplog.at_level("INFO"), pytest.raises(Exception, match=r"^Unauthorized$"):
        ask(module, token)
    (record,) = caplog.records
    if token:
        assert token not in record.getMessage(), "tokens are secrets"
    return record.getMessage()


def test_a_valid_token_opens_the_whole_api_to_its_subject(issuer: LocalIssuer, start: Start) -> None:
    answer = ask(start(), issuer.token())
    assert answer["principalId"] == "alice"
    assert answer["context"] == {"tenant": ""}
    (statement,) = answer["policyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Allow", "execute-api:Invoke")
    assert statement["Resource"] == "arn:aws:execute-api:eu-central-1:123456789012:a1b2c3d4e5/prod/*"


def test_the_product_reads_caller_and_tenant_from_it(issuer: LocalIssuer, start: Start) -> None:
    from starlette.requests import Request

    from hector.web.context import principal_of

    answer = ask(start(OIDC_TENANT_CLAIM="org"), issuer.token(org="acme"))
    authorizer = {"principalId": answer["principalId"], **answer["context"]}
    event = {"requestContext": {"authorizer": authorizer}}
    principal = principal_of(Request({"type": "http", "aws.event": event}))
    assert (principal.subject, principal.tenant) == ("alice", "acme")


def test_a_request_authoriser_reads_the_header_in_any_case(issuer: LocalIssuer, start: Start) -> None:
    event = {"type": "REQUEST", "headers": {"authorization": f"bearer {issuer.token()}"}, "methodArn": ARN}
    assert start().handler(event, None)["principalId"] == "alice"


@pytest.mark.parametrize(
    ("algorithm", "key", "name"), [(ECAlgorithm, EC_KEY, "ES256"), (OKPAlgorithm, ED_KEY, "EdDSA")]
)
def test_other_asymmetric_keys(issuer: LocalIssuer, start: Start, algorithm: Any, key: Any, name: str) -> None:
    issuer.keys = [public(algorithm, key, "k", alg=name)]
    assert ask(start(), issuer.token(key, "k", name))["principalId"] == "alice"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": -100}, "expired"),
        ({"exp": None}, "exp"),
        ({"nbf": 100}, "not yet valid"),
        ({"iss": "https://elsewhere.example"}, "issuer"),
        ({"aud": "another"}, "[Aa]udience"),
        ({"aud": None}, "aud"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
    ],
)
def test_claims_that_do_not_count(
    issuer: LocalIssuer, start: Start, caplog: pytest.LogCaptureFixture, claims: dict[str, Any], reason: str
) -> None:
    """Numbers are seconds from now."""
    now = int(time.time())
    claims = {name: now + value if isinstance(value, int) else value for name, value in claims.items()}
    assert re.search(reason, refused(start(), issuer.token(**claims), caplog))


def test_clocks_may_differ_a_little(issuer: LocalIssuer, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    late = issuer.token(exp=int(time.time()) - 10)
    assert ask(start(), late)["principalId"] == "alice"
    assert "expired" in refused(start(OIDC_LEEWAY="0"), late, caplog)


def test_another_key_under_a_known_id(issuer: LocalIssuer, start: Start, caplog: pytest.LogCaptureFixture) -> None:
    assert "Signature" in refused(start(), issuer.token(OTHER_RSA_KEY), caplog)


def test_no_symmetric_algorithm_and_no_none(
    issuer: LocalIssuer, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    pem = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    # The old attack: the public key, which everybody knows, as the secret of an HMAC. PyJWT would not make one.

    def part(content: Any) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=")

    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "mallory", "exp": int(time.time()) + 60}
    signed = part({"alg": "HS256", "kid": "rsa"}) + b"." + part(claims)
    forged = signed + b"." + base64.urlsafe_b64encode(hmac.digest(pem, signed, hashlib.sha256)).rstrip(b"=")
    assert "HS256" in refused(start(), forged.decode(), caplog)
    unsigned = part({"alg": "none", "kid": "rsa"}) + b"." + part(claims) + b"."
    assert "none" in refused(start(), unsigned.decode(), caplog)
    issuer.keys = [{"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}]
    assert "shared" in refused(start(), issuer.token(key_id="shared"), caplog)


def test_another_algorithm_than_the_keys_own(
    issuer: LocalIssuer, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    refused(start(), issuer.token(algorithm="PS256"), caplog)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer a.b", "Bearer a.b.c"])
def test_what_is_no_token(start: Start, header: str) -> None:
    module = start()
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        module.handler({"authorizationToken": header, "methodArn": ARN}, None)


def test_keys_are_read_once_and_again_when_a_new_one_is_named(issuer: LocalIssuer, start: Start) -> None:
    module = start()
    for _ in range(3):
        ask(module, issuer.token())
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
    issuer.keys = [public(RSAAlgorithm, OTHER_RSA_KEY, "new")]
    module.ISSUER._tried_at -= 60  # a minute later
    assert ask(module, issuer.token(OTHER_RSA_KEY, "new"))["principalId"] == "alice"
    assert issuer.asked.count("/keys") == 2


def test_made_up_key_ids_are_no_flood_for_the_issuer(
    issuer: LocalIssuer, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    module = start()
    ask(module, issuer.token())
    for number in range(5):
        assert "no key" in refused(module, issuer.token(OTHER_RSA_KEY, f"made-up-{number}"), caplog)
    assert issuer.asked.count("/keys") == 1


def test_keys_outlive_an_issuer_that_is_away(issuer: LocalIssuer, start: Start) -> None:
    module = start()
    ask(module, issuer.token())
    issuer.down = True
    module.ISSUER._read_at -= 7200
    module.ISSUER._tried_at -= 7200
    assert ask(module, issuer.token())["principalId"] == "alice"
    assert len(issuer.asked) == 3, "it was asked"


def test_an_issuer_that_cannot_be_asked_is_no_refusal(issuer: LocalIssuer, start: Start) -> None:
    issuer.down = True
    with pytest.raises(Exception, match="cannot read"):  # API Gateway's 500, not 401: the token may be good
        ask(start(), issuer.token())


def test_an_issuer_that_calls_itself_something_else(issuer: LocalIssuer, start: Start) -> None:
    issuer.calls_itself = "https://elsewhere.example"
    with pytest.raises(Exception, match="calls itself"):
        ask(start(), issuer.token())


def test_addresses_that_are_not_https(start: Start) -> None:
    module = start(OIDC_ISSUER="http://issuer.example")
    with pytest.raises(Exception, match="not an https address"):
        ask(module, jwt.encode({"sub": "a"}, RSA_KEY, algorithm="RS256"))


def test_a_tenant_claim_that_is_missing_is_a_deny(issuer: LocalIssuer, start: Start) -> None:
    module = start(OIDC_TENANT_CLAIM="org")
    assert ask(module, issuer.token(org="acme"))["context"] == {"tenant": "acme"}
    assert ask(module, issuer.token(org=7))["context"] == {"tenant": "7"}
    for claims in ({}, {"org": ""}, {"org": ["acme"]}):
        answer = ask(module, issuer.token(**claims))
        assert answer["policyDocument"]["Statement"][0]["Effect"] == "Deny", claims
        assert answer["context"] == {}
