"""The event of a REST API's Lambda proxy integration ("Input format of a Lambda function for proxy integration")."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hector.emulator.http import Request
from hector.emulator.model import ACCOUNT, STAGE, Route

# What describes the client's connection and ends at the gateway
# (https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html).
_CONNECTION = {"connection", "expect", "te", "trailer", "transfer-encoding", "upgrade"}


def rest_event(request: Request, body: bytes, route: Route, path_parameters: Mapping[str, str]) -> dict[str, Any]:
    """The event for one request. A body of a binary media type comes as base64."""
    target = urlsplit(request.target)
    host = request.header("Host") or "localhost"
    headers: dict[str, list[str]] = {}
    sent = [(name, value) for name, value in request.headers if name.lower() not in _CONNECTION]
    for name, value in [*sent, ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Proto", "http")]:
        headers.setdefault(name, []).append(value)
    query = parse_qs(target.query, keep_blank_values=True)
    text, is_base64 = _text(body, route.is_binary(request.header("Content-Type")))
    return {
        "resource": route.resource,
        "path": target.path,
        "httpMethod": request.method,
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": {name: unquote(value) for name, value in path_parameters.items()} or None,
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "emulator",
            "domainName": host,
            "domainPrefix": host.split(".")[0],
            "extendedRequestId": uuid.uuid4().hex[:16],
            "httpMethod": request.method,
            "identity": {"sourceIp": "127.0.0.1", "userAgent": request.header("User-Agent"), "userArn": None},
            # The front door is at the root, like a custom domain: clients see no stage in the path.
            "path": target.path,
            "protocol": "HTTP/1.1",
            "requestId": str(uuid.uuid4()),
            "requestTimeEpoch": int(time.time() * 1000),
            "resourcePath": route.resource,
            "stage": STAGE,
        },
        "body": text,
        "isBase64Encoded": is_base64,
    }


def _text(body: bytes, binary: bool) -> tuple[str | None, bool]:
    if not body:
        return None, False
    if binary:
        return base64.b64encode(body).decode(), True
    return body.decode(errors="replace"), False
