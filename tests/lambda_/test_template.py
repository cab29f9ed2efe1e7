"""template.yaml, checked after the transformation: SAM's lint lets through what silently deploys the wrong thing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from copy import deepcopy
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from hector.emulator.transform import transform
from hector.web.sessions import SESSION_ROUTES
from hector.web.streams import STREAM_ROUTES
from hector.web.tasks import TASK_ROUTES
from tests.lambda_ import built
from tests.lambda_.stack import deployed, made, source

ALIAS = r"\$\{\w+\.Arn\}(:live)?"
STREAMING_URI = re.compile(rf"lambda:path/2021-11-15/functions/{ALIAS}/response-streaming-invocations$")
BUFFERED_URI = re.compile(rf"lambda:path/2015-03-31/functions/{ALIAS}/invocations$")

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


def test_cfn_lint() -> None:
    files = ["template.yaml", *map(str, sorted((built.ROOT / "infra").glob("*.yaml")))]
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--non-zero-exit-code", "informational", *files]
    result = subprocess.run(command, cwd=built.ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_build_and_deploy_agree_on_what_the_layers_are_for() -> None:
    config = tomllib.loads((built.ROOT / "samconfig.toml").read_text())
    assert config.keys() == {"version", "default", "dev", "prod"}
    for name in ("default", "dev", "prod"):
        sections = dict(config[name])
        said = dict(pair.split("=") for pair in sections.pop("global")["parameters"]["parameter_overrides"].split())
        defaults = {name: source()["Parameters"][name]["Default"] for name in ("Architecture", "PythonRuntime")}
        assert said.items() >= defaults.items()
        assert not any("parameter_overrides" in section["parameters"] for section in sections.values()), "they disagree"
        assert sections["build"]["parameters"]["cached"] is False, "the cache does not see the package's sources"
        assert "CAPABILITY_AUTO_EXPAND" in sections["deploy"]["parameters"]["capabilities"]
        assert deployed(**said).refused == []


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


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("responseTransferMode", "BUFFERED"),
        ("responseTransferMode", "RESPONSE_STREAM"),
        ("uri", {"Fn::Sub": "arn:aws:apigateway:x:lambda:path/2015-03-31/functions/${StreamResponse.Arn}/invocations"}),
    ],
)
def test_a_half_configured_stream_would_be_noticed(key: str, value: Any) -> None:
    template = deepcopy(source())
    paths = template["Resources"]["Api"]["Properties"]["DefinitionBody"]["paths"]
    paths["/sessions/{id}/tasks/stream"]["post"]["x-amazon-apigateway-integration"][key] = value
    found = integrations(transform(template)["Resources"])
    assert mode(found["POST", "/sessions/{id}/tasks/stream"]).startswith("broken")


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


LAYERS = {
    "CreateSession": ["HectorLayer", "ResponseStreamingLayer"],
    "PostTask": ["HectorLayer", "ResponseStreamingLayer"],
    "StreamResponse": ["HectorLayer", "ResponseStreamingLayer"],
    "HandleEvent": ["HectorLayer", "ResponseStreamingLayer"],
    "TableStream": ["HectorLayer", "ResponseStreamingLayer"],
    "Authorize": ["AuthorizerLayer"],
}
TIMEOUTS = {
    "CreateSession": 29,  # the gateway gives up after 29 seconds
    "PostTask": 900,
    "StreamResponse": 900,
    "HandleEvent": 900,
    "TableStream": 300,
    "Authorize": 10,
}


def functions(resources: dict[str, Any]) -> dict[str, Any]:
    return {name: item["Properties"] for name, item in resources.items() if item["Type"] == "AWS::Lambda::Function"}


def test_there_are_these_functions() -> None:
    assert set(functions(made())) == set(LAYERS)
    assert set(functions(deployed().resources)) == set(LAYERS) - {"Authorize"}


@pytest.mark.parametrize("name", LAYERS)
def test_the_code_of_a_function_is_there(name: str) -> None:
    assert (built.ROOT / source()["Resources"][name]["Properties"]["CodeUri"] / "app.py").exists()


@pytest.mark.parametrize("name", LAYERS)
def test_functions(name: str) -> None:
    function = functions(deployed(Authorizer="oidc", OidcIssuer="https://issuer.example").resources)[name]
    assert function["Handler"] == "app.handler"
    assert function["Runtime"] == "python3.13"
    assert function["Architectures"] == ["arm64"]
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["Timeout"] == TIMEOUTS[name]
    assert [re.sub(r"[0-9a-f]{10}$", "", layer) for layer in function["Layers"]] == LAYERS[name]
    assert function["LoggingConfig"]["LogFormat"] == "JSON"
    assert function["LoggingConfig"]["LogGroup"] == f"{name}Log"
    variables = function["Environment"]["Variables"]
    assert variables.get("HECTOR_STORE") == (None if name == "Authorize" else "dynamodb://Table")
    streams = any(EXPECTED[route] == (name, "streaming") for route in EXPECTED)
    assert variables.get("AWS_LAMBDA_EXEC_WRAPPER") == ("/opt/response-streaming" if streams else None)
    runs_turns = name in ("PostTask", "StreamResponse", "HandleEvent")
    assert variables.get("HECTOR_QUEUE") == ("WorkQueue" if runs_turns else None)


def test_what_leads_to_a_function_leads_to_its_alias() -> None:
    """SnapStart and provisioned concurrency are an alias's; whoever calls the function itself has neither."""
    resources = deployed(Authorizer="oidc", OidcIssuer="https://issuer.example", FunctionUrl="yes").resources
    aliases = {item["Properties"]["FunctionName"] for item in resources.values() if item["Type"].endswith("::Alias")}
    assert aliases == set(LAYERS)
    for integration in integrations(resources).values():
        assert re.search(r"functions/<\w+\.Arn>:live/", integration["uri"])
    body = resources["Api"]["Properties"]["Body"]
    authorizer = body["securityDefinitions"]["Oidc"]["x-amazon-apigateway-authorizer"]
    assert "functions/<Authorize.Arn>:live/" in authorizer["authorizerUri"]
    permitted = [item["Properties"] for item in resources.values() if item["Type"] == "AWS::Lambda::Permission"]
    assert {item["FunctionName"] for item in permitted} == {
        "CreateSessionAliaslive",
        "PostTaskAliaslive",
        "StreamResponseAliaslive",
        "AuthorizeAliaslive",
        "HandleEventAliaslive",
    }
    mappings = [item["Properties"] for item in resources.values() if item["Type"].endswith("::EventSourceMapping")]
    assert {item["FunctionName"] for item in mappings} == {"HandleEventAliaslive", "TableStreamAliaslive"}
    assert resources["StreamResponseUrl"]["Properties"]["TargetFunctionArn"] == "StreamResponseAliaslive"


@pytest.mark.parametrize("layer", ["HectorLayer", "ResponseStreamingLayer", "AuthorizerLayer"])
def test_a_new_layer_publishes_new_versions_of_its_functions(layer: str) -> None:
    """The code is in the layers: without this, an alias would stay with the version before."""
    changed = deepcopy(source())
    changed["Resources"][layer]["Properties"]["Description"] = "another one"

    def versions(resources: dict[str, Any]) -> dict[str, str]:
        found = {name: item for name, item in resources.items() if item["Type"] == "AWS::Lambda::Version"}
        return {item["Properties"]["FunctionName"]["Ref"]: name for name, item in found.items()}

    before, after = versions(made()), versions(transform(changed)["Resources"])
    assert {name for name in before if before[name] != after[name]} == {
        name for name, layers in LAYERS.items() if layer in layers
    }


def test_the_table() -> None:
    resource = deployed(DeletionProtection="true").resources["Table"]
    table = resource["Properties"]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True}
    (index,) = table["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "activity"
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["owner_key", "activity"]
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    # RetainExceptOnCreate would let the roll-back of a first deployment fail at DeletionProtection.
    assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"
    assert table["DeletionProtectionEnabled"] == "true"
    assert deployed().resources["Table"]["Properties"]["DeletionProtectionEnabled"] == "false"


def test_only_the_removal_of_a_hot_record_wakes_table_stream() -> None:
    from hector.stores.dynamodb.items import hot_key

    mapping = deployed().resources["TableStreamRemoved"]["Properties"]
    (pattern,) = [json.loads(found["Pattern"]) for found in mapping["FilterCriteria"]["Filters"]]
    assert pattern == {"eventName": ["REMOVE"], "dynamodb": {"Keys": {"sk": {"S": [hot_key("session")[1]]}}}}
    assert mapping["EventSourceArn"] == "<Table.StreamArn>"
    assert mapping["DestinationConfig"] == {"OnFailure": {"Destination": "<TableFailures.Arn>"}}
    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_work_queue() -> None:
    resources = deployed(WorkerConcurrency=7).resources
    queue, mapping = resources["WorkQueue"]["Properties"], resources["HandleEventWork"]["Properties"]
    assert mapping["EventSourceArn"] == "<WorkQueue.Arn>"
    assert resources["HandleEvent"]["Properties"]["RecursiveLoop"] == "Allow", "an id is sent until its turn has come"
    assert mapping["BatchSize"] == 1, "a turn's failure must not bring another turn back"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 7}
    timeout = resources["HandleEvent"]["Properties"]["Timeout"]
    assert queue["VisibilityTimeout"] > timeout == 900, "a record must not come back while its turn may be running"
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == "<DeadLetters.Arn>"
    retention = resources["DeadLetters"]["Properties"]["MessageRetentionPeriod"]
    assert retention == 14 * 86_400 > queue["MessageRetentionPeriod"]
    rule = resources["HandleEventSweep"]["Properties"]
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    assert rule["Targets"][0]["Arn"] == "HandleEventAliaslive"
    tried = resources["HandleEventEventInvokeConfig"]["Properties"]
    assert (tried["FunctionName"], tried["Qualifier"]) == ("HandleEvent", "live"), "what the schedule's target is"
    assert (tried["MaximumRetryAttempts"], tried["MaximumEventAgeInSeconds"]) == (0, 60), "the next sweep is at hand"


def test_the_api_has_one_stage_and_is_regional() -> None:
    stages = [name for name, item in made().items() if item["Type"] == "AWS::ApiGateway::Stage"]
    deployments = [item["Properties"] for item in made().values() if item["Type"] == "AWS::ApiGateway::Deployment"]
    assert stages == ["ApiStage"]
    assert not any("StageName" in deployment for deployment in deployments), "another stage, which nothing throttles"
    api = made()["Api"]["Properties"]
    assert api["EndpointConfiguration"]["Types"] == ["REGIONAL"], "edge-optimised streams end after 30 s"


ALLOWED = {"Authorization", "Content-Type", "Last-Event-ID", "Idempotency-Key", "Prefer", "A2A-Version"}
SIGNED = {"X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-Sha256"}  # what Authorizer=iam needs of a browser
EXPOSED = "Location,Content-Location,Retry-After,Preference-Applied"


def test_browsers_may_send_what_the_api_reads() -> None:
    for path, methods in made()["Api"]["Properties"]["Body"]["paths"].items():
        preflight = methods["options"]["x-amazon-apigateway-integration"]["responses"]["default"]
        headers = {key.rpartition(".")[2]: value.strip("'") for key, value in preflight["responseParameters"].items()}
        assert set(headers["Access-Control-Allow-Headers"].split(",")) >= ALLOWED | SIGNED, path
        assert set(headers["Access-Control-Allow-Methods"].split(",")) >= {verb.upper() for verb in methods}, path
        assert "security" not in methods["options"], "a browser asks without credentials"


def test_the_applications_own_answers_allow_the_same() -> None:
    from hector.web.cors import CORS

    said: dict[str, Any] = dict(CORS.kwargs)
    assert set(said["allow_headers"]) == ALLOWED
    assert ",".join(said["expose_headers"]) == EXPOSED


@pytest.mark.parametrize("authorizer", ["none", "iam"])
def test_the_gateways_own_errors_are_problem_details_that_browsers_can_read(authorizer: str) -> None:
    responses = deployed(Authorizer=authorizer).resources["Api"]["Properties"]["Body"][
        "x-amazon-apigateway-gateway-responses"
    ]
    assert {"DEFAULT_4XX", "DEFAULT_5XX", "UNAUTHORIZED", "ACCESS_DENIED", "THROTTLED"} < responses.keys()
    for name, response in responses.items():
        headers = {key.rpartition(".")[2]: value.strip("'") for key, value in response["responseParameters"].items()}
        assert headers["Content-Type"] == "application/problem+json", name
        assert headers["Access-Control-Allow-Origin"] == "*", name
        assert headers["Access-Control-Expose-Headers"] == EXPOSED, name
        ((media_type, template),) = response["responseTemplates"].items()
        assert media_type == "application/json", "the only template that any Accept header gets"
        # What the gateway fills in: https://docs.aws.amazon.com/apigateway/latest/developerguide/
        # api-gateway-mapping-template-reference.html, messageString is the quoted message.
        body = json.loads(template.replace("$context.error.messageString", '"a message"'))
        assert body["type"] == "about:blank"
        assert body["title"]
        assert body["detail"]
        assert body["code"] == body["code"].lower()
        if not name.startswith("DEFAULT_"):
            assert body["status"] == response["statusCode"], name
            assert HTTPStatus(body["status"]).phrase in (body["title"], "Request Entity Too Large")
    assert responses["MISSING_AUTHENTICATION_TOKEN"]["statusCode"] == (403 if authorizer == "iam" else 404)
    assert responses["THROTTLED"]["responseParameters"]["gatewayresponse.header.Retry-After"] == "'1'"
