"""The template's parameters: what each choice makes of the stack."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.lambda_.stack import Stack, deployed, nested
from tests.lambda_.test_template import EXPECTED, LAYERS, functions, integrations

OIDC = {"Authorizer": "oidc", "OidcIssuer": "https://issuer.example", "OidcAudience": "hector"}
COGNITO = {
    "Authorizer": "cognito",
    "UserPoolArn": "arn:aws:cognito-idp:eu-central-1:123456789012:userpool/eu-central-1_a",
}
REDIS = {"SessionStore": "redis", "RedisUrl": "rediss://:secret@cache.example:6379/0"}
VPC = {"SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1"}
ANSWERING = ("CreateSession", "PostTask", "StreamResponse")


def body(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = stack.resources["Api"]["Properties"]["Body"]
    return found


def security(stack: Stack) -> dict[tuple[str, str], list[str]]:
    """(method, path) -> what a caller needs."""
    return {
        (method.upper(), path): [name for requirement in operation["security"] for name in requirement]
        for path, methods in body(stack)["paths"].items()
        for method, operation in methods.items()
        if method != "options"
    }


@pytest.mark.parametrize("keys", ["optional", "required"])
@pytest.mark.parametrize(
    ("parameters", "needed", "kind"),
    [
        ({"Authorizer": "none"}, None, None),
        ({"Authorizer": "iam"}, "Iam", "awsSigv4"),
        (COGNITO, "Cognito", "cognito_user_pools"),
        (OIDC, "Oidc", "custom"),
    ],
)
def test_authorizers(parameters: dict[str, str], needed: str | None, kind: str | None, keys: str) -> None:
    stack = deployed(**parameters, ApiKeys=keys)
    assert stack.refused == []
    wanted = [name for name in (needed, "ApiKey" if keys == "required" else None) if name]
    assert security(stack) == dict.fromkeys(EXPECTED, wanted), "every route, API Gateway knows no other way"
    definitions = body(stack)["securityDefinitions"]
    assert list(definitions) == wanted, "API Gateway makes an authorizer of each"
    if needed is not None:
        assert definitions[needed]["x-amazon-apigateway-authtype"] == kind
    assert ("Authorize" in stack.resources) is (needed == "Oidc")
    assert any(name.startswith("AuthorizerLayer") for name in stack.resources) is (needed == "Oidc")


def test_cognito_names_the_pool() -> None:
    authorizer = body(deployed(**COGNITO))["securityDefinitions"]["Cognito"]["x-amazon-apigateway-authorizer"]
    assert authorizer == {"type": "cognito_user_pools", "providerARNs": [COGNITO["UserPoolArn"]]}


def test_oidc_asks_the_function_and_may() -> None:
    stack = deployed(**OIDC, OidcTenantClaim="org")
    authorizer = body(stack)["securityDefinitions"]["Oidc"]["x-amazon-apigateway-authorizer"]
    assert authorizer["type"] == "token"
    assert authorizer["authorizerResultTtlInSeconds"] == 300
    permission = stack.resources["AuthorizePermission"]["Properties"]
    assert permission["Principal"] == "apigateway.amazonaws.com"
    assert permission["SourceArn"].endswith(":Api/authorizers/*")
    variables = functions(stack.resources)["Authorize"]["Environment"]["Variables"]
    assert variables["OIDC_ISSUER"] == OIDC["OidcIssuer"]
    assert variables["OIDC_AUDIENCE"] == "hector"
    assert variables["OIDC_TENANT_CLAIM"] == "org"


def test_only_this_api_may_call_the_functions() -> None:
    resources = deployed().resources
    for name in ANSWERING:
        permission = resources[f"{name}Permission"]["Properties"]
        assert permission["Principal"] == "apigateway.amazonaws.com"
        assert permission["SourceArn"] == "arn:aws:execute-api:eu-central-1:123456789012:Api/*/*/*"


def test_dynamodb_is_the_default_and_no_vpc() -> None:
    stack = deployed()
    for function in functions(stack.resources).values():
        assert function["Environment"]["Variables"]["HECTOR_STORE"] == "dynamodb://Table"
        assert "VpcConfig" not in function
    assert "TableName" in stack.outputs


def test_redis_in_a_vpc() -> None:
    stack = deployed(**REDIS, **VPC, **OIDC)
    assert stack.refused == []
    assert set(functions(stack.resources)) == set(LAYERS) - {"TableStream"}
    assert not any("DynamoDB" in item["Type"] for item in stack.resources.values())
    assert "TableStreamRemoved" not in stack.resources
    assert "TableName" not in stack.outputs
    for name, function in functions(stack.resources).items():
        vpc = {"SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
        assert function.get("VpcConfig") == (None if name == "Authorize" else vpc), "an issuer is on the internet"
        if name != "Authorize":
            assert function["Environment"]["Variables"]["HECTOR_STORE"] == REDIS["RedisUrl"]


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"SessionStore": "redis"}, "RedisUrl"),
        ({"SubnetIds": "subnet-1"}, "SecurityGroupIds"),
        ({"SecurityGroupIds": "sg-1"}, "SubnetIds"),
        ({"Authorizer": "cognito"}, "UserPoolArn"),
        ({"Authorizer": "oidc"}, "OidcIssuer"),
        ({"Authorizer": "oidc", "OidcIssuer": "https://issuer.example"}, "OidcAudience"),
        ({"StartUp": "snapstart", "PythonRuntime": "python3.11"}, "python3.12"),
        ({"FunctionUrl": "yes", "SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1"}, "SubnetIds"),
    ],
)
def test_half_a_choice_is_refused_before_anything_is_made(parameters: dict[str, str], why: str) -> None:
    (refusal,) = deployed(**parameters).refused
    assert why in refusal


@pytest.mark.parametrize(
    "parameters",
    [
        {"ConfigLocation": "hector.yaml"},
        {"ConfigLocation": "s3://bucket"},
        {"OidcIssuer": "http://issuer.example"},
        {"RedisUrl": "cache.example:6379"},
        {"SubnetIds": "subnet-1, subnet-2"},
        {"SecurityGroupIds": "default"},
        {"ConfigLocation": "s3://bucket/" + "k" * 65},
        {"Stage": "my-stage"},
        {"BedrockModel": "a/b"},
        {"Architecture": "arm"},
        {"LogRetentionDays": 2},
    ],
)
def test_values_that_cannot_be_right_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        deployed(**parameters)


@pytest.mark.parametrize("choice", ["plain", "snapstart", "provisioned"])
def test_cold_starts(choice: str) -> None:
    stack = deployed(StartUp=choice, ProvisionedConcurrency=5)
    assert stack.refused == []
    waited_for = {"ApplyOn": "PublishedVersions" if choice == "snapstart" else "None"}
    for name, function in functions(stack.resources).items():
        assert function.get("SnapStart") == (waited_for if name in ANSWERING else None)
    aliases = {
        item["Properties"]["FunctionName"]: item["Properties"].get("ProvisionedConcurrencyConfig")
        for item in stack.resources.values()
        if item["Type"] == "AWS::Lambda::Alias"
    }
    warm = {"ProvisionedConcurrentExecutions": 5}
    assert aliases == {
        name: warm if choice == "provisioned" and name in ANSWERING else None for name in functions(stack.resources)
    }


def test_a_function_url() -> None:
    assert "StreamResponseUrl" not in deployed().resources
    stack = deployed(FunctionUrl="yes")
    url = stack.resources["StreamResponseUrl"]["Properties"]
    assert (url["AuthType"], url["InvokeMode"]) == ("AWS_IAM", "RESPONSE_STREAM")
    assert "StreamUrl" in stack.outputs


@pytest.mark.parametrize("choice", ["with-role", "on", "off"])
def test_access_logs(choice: str) -> None:
    stack = deployed(AccessLogs=choice, LogRetentionDays=14)
    assert ("AccessLogsAccount" in stack.resources) is (choice == "with-role")
    assert ("AccessLog" in stack.resources) is (choice != "off")
    setting = stack.resources["ApiStage"]["Properties"].get("AccessLogSetting")
    if choice == "off":
        assert setting is None
        return
    assert setting["DestinationArn"] == "<AccessLog.Arn>"
    if choice == "with-role":  # a stage with access logs is refused until the account has a role for them
        assert stack.resources["AccessLog"]["Properties"]["Tags"][0]["Value"] == "AccessLogsAccount"
        assert stack.resources["AccessLogsRole"]["DeletionPolicy"] == "Retain", "other APIs may use it by then"
    fields = json.loads(setting["Format"])
    assert fields["requestId"] == "$context.requestId"
    contents = [value for value in fields.values() if "body" in value.lower() or "querystring" in value.lower()]
    assert contents == [], "what was said is nobody's business"


@pytest.mark.parametrize("error", [None, "UNAUTHORIZED"])
def test_a_line_of_the_access_log_is_json_with_and_without_an_error(error: str | None) -> None:
    """A bare dash stands for what there is not, also for a string that would bring its own quotes."""
    filled = {"$context.error.responseType": error, "$context.error.messageString": error and f'"{error}"'}
    written = re.sub(
        r"\$context\.[\w.]+",
        lambda found: filled.get(found[0], "1") or "-",
        deployed().resources["ApiStage"]["Properties"]["AccessLogSetting"]["Format"],
    )
    assert json.loads(written)["error"] == (error or "-")


def test_throttling_and_the_usage_plan() -> None:
    stack = deployed(ThrottleRate=7, ThrottleBurst=11)
    (every,) = stack.resources["ApiStage"]["Properties"]["MethodSettings"]
    assert (every["ResourcePath"], every["HttpMethod"]) == ("/*", "*")
    assert (every["ThrottlingRateLimit"], every["ThrottlingBurstLimit"]) == (7, 11)
    assert "DataTraceEnabled" not in every, "it would log what was said"
    assert "MetricsEnabled" not in every, "a bill for each route; what is alarmed and shown is the whole stage's"
    plan = stack.resources["UsagePlan"]["Properties"]
    assert plan["Throttle"] == {"RateLimit": 7, "BurstLimit": 11}
    assert plan["ApiStages"] == [{"ApiId": "Api", "Stage": "ApiStage"}]


@pytest.mark.parametrize("target", ["python3.11 x86_64", "python3.12 arm64", "python3.13 x86_64"])
def test_architecture_and_python(target: str) -> None:
    runtime, architecture = target.split()
    stack = deployed(PythonRuntime=runtime, Architecture=architecture)
    for function in functions(stack.resources).values():
        assert (function["Runtime"], function["Architectures"]) == (runtime, [architecture])
    layers = [item["Properties"] for item in stack.resources.values() if item["Type"] == "AWS::Lambda::LayerVersion"]
    assert len(layers) == 2
    for layer in layers:
        assert (layer["CompatibleRuntimes"], layer["CompatibleArchitectures"]) == ([runtime], [architecture])


def test_log_level() -> None:
    """Lambda may leave out what is below INFO only: it takes a line of metrics for INFO."""
    for level, leaves_out in {"DEBUG": "DEBUG", "INFO": "INFO", "WARN": "INFO", "ERROR": "INFO"}.items():
        for function in functions(deployed(LogLevel=level).resources).values():
            assert function["LoggingConfig"]["ApplicationLogLevel"] == leaves_out
            assert function["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == level
    authorize = functions(deployed(LogLevel="ERROR", **OIDC).resources)["Authorize"]
    assert authorize["LoggingConfig"]["ApplicationLogLevel"] == "ERROR", "it measures nothing"


def test_alarms_are_sent_where_the_parameter_says() -> None:
    def alarms(**parameters: str) -> dict[str, Any]:
        resources = nested("Observability", **parameters).resources
        return {name: item["Properties"] for name, item in resources.items() if item["Type"].endswith("::Alarm")}

    topic = "arn:aws:sns:eu-central-1:123456789012:alarms"
    for alarm in alarms(AlarmTopicArn=topic).values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
        assert alarm["TreatMissingData"] == "notBreaching"
        assert alarm["AlarmDescription"]
    assert all(alarm["AlarmActions"] == [] for alarm in alarms().values())
    assert alarms().keys() - alarms(**REDIS).keys() == {
        "CleanUpLags",
        "CleanUpFailed",
        "TableThrottles",
        "ActivityThrottles",
    }


def test_a_sweep_that_always_fails_is_alarmed() -> None:
    rule, tried = (deployed().resources[f"HandleEvent{name}"]["Properties"] for name in ("Sweep", "EventInvokeConfig"))
    alarm = nested("Observability").resources["HandleEventErrors"]["Properties"]
    assert (rule["ScheduleExpression"], alarm["Statistic"]) == ("rate(1 minute)", "Sum")
    failures = alarm["Period"] // 60 * (1 + tried["MaximumRetryAttempts"])
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert failures > alarm["Threshold"]


def test_only_what_can_be_sent_again_is_said_to_be() -> None:
    """The worker takes ids of tasks; what table_stream gave up is none, and would be deleted as such."""
    resources = nested("Observability").resources
    queues = {
        name: resources[name]["Properties"]["Dimensions"][0]["Value"]
        for name in ("DeadLettersArrived", "CleanUpFailed")
    }
    assert queues == {"DeadLettersArrived": "<DeadLetters.QueueName>", "CleanUpFailed": "<TableFailures.QueueName>"}
    assert "redrive" in resources["DeadLettersArrived"]["Properties"]["AlarmDescription"]
    assert "redrive" not in resources["CleanUpFailed"]["Properties"]["AlarmDescription"]


def test_metrics_of_the_api_are_those_that_cost_nothing() -> None:
    """By API and stage; others there are only where MetricsEnabled is set."""
    resources = nested("Observability").resources
    metrics = [one["MetricStat"]["Metric"] for one in resources["ServerErrors"]["Properties"]["Metrics"][:2]]
    assert [[one["Name"] for one in metric["Dimensions"]] for metric in metrics] == [["ApiName", "Stage"]] * 2
    assert '"Resource"' not in resources["Board"]["Properties"]["DashboardBody"]


@pytest.mark.parametrize("store", [{}, REDIS], ids=["dynamodb", "redis"])
def test_the_dashboard_shows_what_is_there(store: dict[str, str]) -> None:
    stack = nested("Observability", **store)
    board = json.loads(stack.resources["Board"]["Properties"]["DashboardBody"])
    titles = [widget["properties"]["title"] for widget in board["widgets"]]
    assert ("Table" in titles) is (not store)
    assert {"Turns", "Time to the first token", "Tokens", "Open streams", "Work queue"} <= set(titles)
    corners = [(widget["x"], widget["y"]) for widget in board["widgets"]]
    assert len(set(corners)) == len(corners), "one over the other"
    assert "${" not in json.dumps(board)


def test_what_is_shown_and_alarmed_is_what_is_measured() -> None:
    from hector.telemetry import Measure

    resources = nested("Observability").resources
    board = resources["Board"]["Properties"]["DashboardBody"]
    assert all(f'"{measure}"' in board for measure in Measure)
    ours = [item for item in resources.values() if item["Properties"].get("Namespace") == "Hector"]
    assert [item["Properties"]["MetricName"] for item in ours] == [Measure.LOST_WORKERS]
    assert ours[0]["Properties"]["Dimensions"] == [{"Name": "service", "Value": "hector"}]
    for function in functions(deployed().resources).values():
        assert function["Environment"]["Variables"]["HECTOR_STACK"] == "hector"


def test_every_route_is_there_whatever_is_chosen() -> None:
    for parameters in ({}, OIDC, COGNITO, {**REDIS, **VPC}, {"StartUp": "snapstart"}):
        assert set(integrations(deployed(**parameters).resources)) == set(EXPECTED)
