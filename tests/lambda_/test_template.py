"""template.yaml, checked after the transformation: SAM's lint lets through what silently deploys the wrong thing."""

from __future__ import annotations

import re
import tomllib
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from hector.emulator.transform import transform
from hector.web.sessions import SESSION_ROUTES
from hector.web.streams import STREAM_ROUTES
from hector.web.tasks import TASK_ROUTES
from tests.lambda_ import built

STREAMING_URI = re.compile(r"lambda:path/2021-11-15/functions/\$\{\w+\.Arn\}/response-streaming-invocations$")
BUFFERED_URI = re.compile(r"lambda:path/2015-03-31/functions/\$\{\w+\.Arn\}/invocations$")

EXPECTED = {
    ("POST", "/sessions"): ("CreateSession", "buffered"),
    ("GET", "/sessions"): ("CreateSession", "buffered"),
    ("GET", "/sessions/{id}"): ("CreateSession", "buffered"),
    ("PATCH", "/sessions/{id}"): ("CreateSession", "buffered"),
    ("DELETE", "/sessions/{id}"): ("CreateSession", "buffered"),
    ("GET", "/sessions/{id}/messages"): ("PostTask", "streaming"),
    ("POST", "/sessions/{id}/fork"): ("PostTask", "streaming"),
    ("POST", "/sessions/import"): ("PostTask", "streaming"),
    ("GET", "/sessions/{id}/export"): ("StreamResponse", "streaming"),
    ("POST", "/sessions/{id}/tasks"): ("PostTask", "streaming"),
    ("GET", "/tasks"): ("PostTask", "streaming"),
    ("GET", "/tasks/{id}"): ("PostTask", "streaming"),
    ("POST", "/tasks/{id}/cancel"): ("PostTask", "streaming"),
    ("GET", "/agents"): ("PostTask", "streaming"),
    ("GET", "/agents/{id}"): ("PostTask", "streaming"),
    ("POST", "/agents/{id}/message/send"): ("PostTask", "streaming"),
    ("GET", "/health"): ("PostTask", "streaming"),
    ("POST", "/sessions/{id}/tasks/stream"): ("StreamResponse", "streaming"),
    ("POST", "/agents/{id}/message/stream"): ("StreamResponse", "streaming"),
    ("GET", "/tasks/{id}/stream"): ("StreamResponse", "streaming"),
}
FUNCTIONS = sorted({function for function, _ in EXPECTED.values()})


@cache
def source() -> dict[str, Any]:
    template: dict[str, Any] = yaml_parse((built.ROOT / "template.yaml").read_text())
    return template


@cache
def made() -> dict[str, Any]:
    resources: dict[str, Any] = transform(source())["Resources"]
    return resources


def integrations(resources: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """(method, path) -> integration, CORS preflights aside."""
    (api,) = [item for item in resources.values() if item["Type"] == "AWS::ApiGateway::RestApi"]
    return {
        (method.upper(), path): operation["x-amazon-apigateway-integration"]
        for path, methods in api["Properties"]["Body"]["paths"].items()
        for method, operation in methods.items()
        if method != "options"
    }


def mode(integration: dict[str, Any]) -> str:
    """How the route would really answer; anything half configured is neither."""
    uri = integration["uri"]["Fn::Sub"]
    transfer = integration.get("responseTransferMode")
    if transfer == "STREAM" and STREAMING_URI.search(uri):
        return "streaming"
    if transfer is None and BUFFERED_URI.search(uri):
        return "buffered"
    return f"broken: {transfer} {uri}"


def test_lint() -> None:
    result = built.run_sam("validate", "--lint")
    assert result.returncode == 0, result.stdout + result.stderr


def test_build_and_deploy_agree_on_what_the_layers_are_for() -> None:
    config = tomllib.loads((built.ROOT / "samconfig.toml").read_text())["default"]
    said = dict(pair.split("=") for pair in config["global"]["parameters"]["parameter_overrides"].split())
    assert said == {name: source()["Parameters"][name]["Default"] for name in ("Architecture", "PythonRuntime")}
    others = [section for name, section in config.items() if name != "global"]
    assert not any("parameter_overrides" in section["parameters"] for section in others), "they could disagree"


def test_every_route_leads_where_it_should_and_answers_as_it_should() -> None:
    found = {
        route: (re.findall(r"\$\{(\w+)\.Arn\}", integration["uri"]["Fn::Sub"])[0], mode(integration))
        for route, integration in integrations(made()).items()
    }
    assert found == EXPECTED


def test_the_template_has_the_applications_routes() -> None:
    applications = {"CreateSession": SESSION_ROUTES, "PostTask": TASK_ROUTES, "StreamResponse": STREAM_ROUTES}
    served = {
        (route.method, re.sub(r"\{\w+\}", "{id}", route.path)): function
        for function, routes in applications.items()
        for route in routes
    }
    assert served == {route: function for route, (function, _) in EXPECTED.items()}


def test_streaming_routes_name_a_timeout_that_api_gateway_accepts() -> None:
    for route, integration in integrations(made()).items():
        if EXPECTED[route][1] == "streaming":
            assert 29_000 <= integration["timeoutInMillis"] <= 900_000, route


@pytest.mark.parametrize("value", ["STREAM", "BANANA"])
def test_a_misspelled_transfer_mode_would_be_noticed(value: str) -> None:
    template = deepcopy(source())
    template["Resources"]["StreamResponse"]["Properties"]["Events"]["Turn"]["Properties"]["ResponseTransferMode"] = (
        value
    )
    found = integrations(transform(template)["Resources"])
    assert mode(found["POST", "/sessions/{id}/tasks/stream"]) != "streaming"


def test_path_parts_are_ones_that_api_gateway_takes() -> None:
    names: dict[str, set[str]] = {}
    for _, path in integrations(made()):
        parts = path.removeprefix("/").split("/")
        for index, part in enumerate(parts):
            assert re.fullmatch(r"[A-Za-z0-9._:-]+|\{[A-Za-z0-9._-]+\+?\}", part), path
            if part.startswith("{"):
                names.setdefault("/".join(parts[:index]), set()).add(part)
    # Siblings under one parent have to call their parameter the same.
    assert all(len(found) == 1 for found in names.values()), names


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    function = made()[name]["Properties"]
    assert function["Handler"] == "app.handler"
    assert (built.ROOT / source()["Resources"][name]["Properties"]["CodeUri"] / "app.py").exists()
    assert function["Runtime"] == {"Ref": "PythonRuntime"}
    assert function["Architectures"] == [{"Ref": "Architecture"}]
    variables = function["Environment"]["Variables"]
    assert variables["HECTOR_STORE"] == {"Fn::Sub": "dynamodb://${Table}"}
    layers = [re.sub(r"[0-9a-f]{10}$", "", layer["Ref"]) for layer in function["Layers"]]
    if any(EXPECTED[route] == (name, "streaming") for route in EXPECTED):
        assert variables["AWS_LAMBDA_EXEC_WRAPPER"] == "/opt/response-streaming"
        assert layers == ["HectorLayer", "ResponseStreamingLayer"]
        assert function["Timeout"] == 900
    else:
        assert "AWS_LAMBDA_EXEC_WRAPPER" not in variables
        assert layers == ["HectorLayer"]
        assert function["Timeout"] <= 29, "the gateway gives up after 29 seconds"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_may_do_no_more_than_they_need(name: str) -> None:
    role = made()[f"{name}Role"]["Properties"]
    statements = [item for policy in role["Policies"] for item in policy["PolicyDocument"]["Statement"]]
    assert len(statements) == 1
    verbs = ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "BatchGetItem", "BatchWriteItem"]
    assert statements[0]["Action"] == [f"dynamodb:{verb}" for verb in verbs]
    assert statements[0]["Resource"] == [
        {"Fn::GetAtt": ["Table", "Arn"]},
        {"Fn::Sub": "${Table.Arn}/index/activity"},
    ]
    managed = {str(arn).rsplit("/", 1)[-1].rstrip("'}]") for arn in role["ManagedPolicyArns"]}
    assert managed <= {"AWSLambdaBasicExecutionRole", "AWSXrayWriteOnlyAccess", "AWSXRayDaemonWriteAccess"}


def test_the_table() -> None:
    table = made()["Table"]["Properties"]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    (index,) = table["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "activity"
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["owner_key", "activity"]
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    assert made()["Table"]["DeletionPolicy"] == "Retain"


def test_the_api_is_regional() -> None:
    (api,) = [item for item in made().values() if item["Type"] == "AWS::ApiGateway::RestApi"]
    assert api["Properties"]["EndpointConfiguration"]["Types"] == ["REGIONAL"], "edge-optimised streams end after 30 s"


def test_browsers_may_send_what_the_api_reads() -> None:
    (api,) = [item for item in made().values() if item["Type"] == "AWS::ApiGateway::RestApi"]
    preflight = api["Properties"]["Body"]["paths"]["/tasks/{id}/stream"]["options"]["x-amazon-apigateway-integration"]
    allowed = preflight["responses"]["default"]["responseParameters"][
        "method.response.header.Access-Control-Allow-Headers"
    ]
    assert {"Last-Event-ID", "Idempotency-Key", "Prefer", "A2A-Version"} <= set(allowed.strip("'").split(","))
