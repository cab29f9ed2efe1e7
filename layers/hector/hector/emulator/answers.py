"""How the front door words answers: what a function's answer becomes, and the gateway's own errors."""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from hector.emulator.http import HeaderList, Request
from hector.emulator.model import GatewayResponse, Route

# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html (REST APIs, headers)
REMAPPED = {
    *("authorization", "connection", "content-length", "content-md5", "date", "host", "max-forwards", "server"),
    *("trailer", "user-agent", "www-authenticate"),
}
DROPPED = {"expect", "proxy-authenticate", "te", "transfer-encoding", "upgrade", "via"}

# https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html
DELIMITER = bytes(8)
_PRELUDE_KEYS = {"statusCode", "headers", "multiValueHeaders", "cookies"}
# https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
_PROXY_KEYS = {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}


class Refusal(Exception):
    """The gateway answers by itself. ``kind`` is a gateway response type, ``reason`` for whoever runs the emulator."""

    def __init__(self, kind: str, status: int, message: str, reason: str = "") -> None:
        super().__init__(reason or message)
        self.kind, self.status, self.message = kind, status, message


def bad_answer(status: int, reason: str) -> Refusal:
    """The function failed, or its answer is not in the form that its route demands."""
    kind = "API_CONFIGURATION_ERROR" if status == 500 else "DEFAULT_5XX"
    return Refusal(kind, status, "Internal server error", reason)


def read_prelude(raw: bytes) -> tuple[int, HeaderList]:
    """Status and headers of a streamed answer. Raises Refusal."""
    try:
        content = json.loads(raw)
        if unknown := set(content) - _PRELUDE_KEYS:
            raise bad_answer(500, f"unknown keys in the prelude: {sorted(unknown)}")
        return int(content["statusCode"]), _headers(content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise bad_answer(500, f"the prelude is not what a stream begins with: {raw[:200]!r}") from error


def read_proxy_answer(content: bytes, request: Request, route: Route) -> tuple[int, HeaderList, bytes]:
    """Status, headers and body of a buffered answer. Raises Refusal."""
    try:
        answer = json.loads(content)
        unknown = set(answer) - _PROXY_KEYS
        status, text = int(answer["statusCode"]), answer.get("body") or ""
        headers = _headers(answer)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise bad_answer(502, f"malformed Lambda proxy response: {content[:200]!r}") from error
    if unknown or not isinstance(text, str):
        what = f"unknown keys {sorted(unknown)}" if unknown else "the body is no string"
        raise bad_answer(502, f"malformed Lambda proxy response: {what}")
    if not (answer.get("isBase64Encoded") and route.is_binary(request.header("Accept"))):
        return status, headers, text.encode()
    try:
        return status, headers, base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise bad_answer(500, "the body is said to be base64 and is not") from error


def own_answer(
    refusal: Refusal, responses: Mapping[str, GatewayResponse], request: Request
) -> tuple[int, HeaderList, bytes]:
    """Status, headers and body of an error of the gateway's own, in the template's words if it has some.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
    """
    default = responses.get(f"DEFAULT_{refusal.status // 100}XX", GatewayResponse())
    response = responses.get(refusal.kind, default)
    headers: HeaderList = [("Content-Type", response.content_type)]
    for name, value in response.headers.items():
        if value.startswith("'"):
            headers.append((name, value.strip("'")))
        elif (sent := request.header(value.removeprefix("method.request.header."))) is not None:
            headers.append((name, sent))
    template = response.template or '{"message":$context.error.messageString}'
    known = {
        "context.error.messageString": json.dumps(refusal.message),
        "context.error.message": refusal.message,
        "context.error.responseType": refusal.kind,
        "context.requestId": str(uuid.uuid4()),
    }
    text = re.sub(r"\$(?:\{([a-zA-Z.]+)\}|([a-zA-Z.]+))", lambda found: known.get(found[1] or found[2], ""), template)
    return response.status or default.status or refusal.status, headers, text.encode()


def _headers(content: Mapping[str, Any]) -> HeaderList:
    found: HeaderList = [(name, str(value)) for name, value in (content.get("headers") or {}).items()]
    for name, values in (content.get("multiValueHeaders") or {}).items():
        found += [(name, str(value)) for value in values]
    found += [("set-cookie", cookie) for cookie in content.get("cookies") or []]
    return [
        (f"x-amzn-Remapped-{name}" if name.lower() in REMAPPED else name, value)
        for name, value in found
        if name.lower() not in DROPPED
    ]
