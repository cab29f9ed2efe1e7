"""The REST APIs of a transformed template: routes, preflights, and the errors that the gateway words by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hector.emulator.checks import check_path, check_siblings
from hector.emulator.intrinsics import Scope
from hector.emulator.model import Api, GatewayResponse, Route

_METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "x-amazon-apigateway-any-method"}
_MOCK_HEADER = "method.response.header."
_ERROR_HEADER = "gatewayresponse.header."


def apis(scope: Scope) -> tuple[Api, list[str]]:
    """All REST APIs as one, and what of them is not served. Raises ConfigError for a path that cannot be deployed."""
    routes: list[Route] = []
    responses: dict[str, GatewayResponse] = {}
    notes: list[str] = []
    edge = False
    for name, resource in scope.resources("AWS::ApiGateway::RestApi").items():
        made = scope.resolve(resource["Properties"])
        body = made.get("Body") or {"paths": {}}
        types = (made.get("EndpointConfiguration") or {}).get("Types") or ["EDGE"]
        edge = edge or "EDGE" in types
        for path in body["paths"]:
            check_path(path)
        check_siblings(body["paths"])
        routes += _routes(body)
        responses |= dict(_responses(body.get("x-amazon-apigateway-gateway-responses") or {}))
        if guards := sorted(body.get("securityDefinitions") or {}):
            notes.append(f"{name}: authorisers are not asked ({', '.join(guards)}): every request passes")
    return Api(tuple(routes), responses, edge), notes


def _routes(body: Mapping[str, Any]) -> Iterator[Route]:
    binary = tuple(body.get("x-amazon-apigateway-binary-media-types", ()))
    for resource, methods in body["paths"].items():
        for method in methods.keys() & _METHODS:
            integration = methods[method].get("x-amazon-apigateway-integration", {})
            verb = "ANY" if method.startswith("x-") else method.upper()
            if str(integration.get("type")).lower() == "mock":
                yield Route(verb, resource, "", mock=_mock_headers(integration))
                continue
            # .../functions/<arn of a function or its alias>/invocations
            target = re.search(r"/functions/(?:arn:[^/]*:function:)?([^/:]+)(?::[^/]*)?/", str(integration.get("uri")))
            if target is not None:
                streams = integration.get("responseTransferMode") == "STREAM"
                timeout = integration.get("timeoutInMillis", 29_000) / 1000
                yield Route(verb, resource, target[1], streams, timeout, binary)


def _mock_headers(integration: Mapping[str, Any]) -> dict[str, str]:
    parameters = integration.get("responses", {}).get("default", {}).get("responseParameters") or {}
    return {name.removeprefix(_MOCK_HEADER): value.strip("'") for name, value in parameters.items()}


def _responses(described: Mapping[str, Any]) -> Iterator[tuple[str, GatewayResponse]]:
    for kind, one in described.items():
        parameters = one.get("responseParameters") or {}
        headers = {
            name.removeprefix(_ERROR_HEADER): value
            for name, value in parameters.items()
            if name.startswith(_ERROR_HEADER)
        }
        content_type, template = next(iter((one.get("responseTemplates") or {}).items()), ("application/json", None))
        status = int(one["statusCode"]) if one.get("statusCode") else None
        yield kind, GatewayResponse(status, headers, template, content_type)
