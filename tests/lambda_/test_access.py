"""infra/access.yaml: each function may do what it needs, on the resources that it needs, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.lambda_.stack import deployed, nested
from tests.lambda_.test_template import functions

TRACES = ({"xray:PutTraceSegments", "xray:PutTelemetryRecords"}, {"*"})
TABLE = (
    {
        f"dynamodb:{verb}"
        for verb in ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "BatchGetItem", "BatchWriteItem")
    },
    {"<Table.Arn>", "<Table.Arn>/index/activity"},
)
HAND_OVER = ({"sqs:SendMessage"}, {"<WorkQueue.Arn>"})
SWEEP = ({"dynamodb:Scan"}, {"<Table.Arn>/index/activity"})
WORK = (
    {f"sqs:{verb}" for verb in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")},
    {"<WorkQueue.Arn>"},
)
EXPECTED: dict[str, dict[str, tuple[set[str], set[str]]]] = {
    "CreateSession": {"Traces": TRACES, "Table": TABLE},
    "PostTask": {"Traces": TRACES, "Table": TABLE, "HandOver": HAND_OVER},
    "StreamResponse": {"Traces": TRACES, "Table": TABLE, "HandOver": HAND_OVER},
    "HandleEvent": {"Traces": TRACES, "Table": TABLE, "HandOver": HAND_OVER, "Work": WORK, "Sweep": SWEEP},
    "TableStream": {
        "Traces": TRACES,
        "CleanUp": (
            {"dynamodb:GetItem", "dynamodb:Query", "dynamodb:DeleteItem"},
            {"<Table.Arn>"},
        ),
        "Stream": (
            {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"},
            {"<Table.StreamArn>"},
        ),
        "ListStreams": ({"dynamodb:ListStreams"}, {"*"}),
        "Failures": ({"sqs:SendMessage"}, {"<TableFailures.Arn>"}),
    },
    "Authorize": {"Traces": TRACES},
}
TURNS = {"PostTask", "StreamResponse", "HandleEvent"}


def many(value: Any) -> set[str]:
    return {value} if isinstance(value, str) else set(value)


def statements(**parameters: Any) -> dict[str, dict[str, Any]]:
    """function -> Sid -> statement, of the role that the function has."""
    roles = nested("Access", **parameters).resources
    found: dict[str, dict[str, Any]] = {}
    for name, role in roles.items():
        (policy,) = role["Properties"]["Policies"]
        assert "ManagedPolicyArns" not in role["Properties"], "those name no resources"
        items = policy["PolicyDocument"]["Statement"]
        assert all(item["Effect"] == "Allow" for item in items)
        found[name] = {item["Sid"]: item for item in items}
        assert len(found[name]) == len(items), "two statements with one Sid"
    return found


def allowed(**parameters: Any) -> dict[str, dict[str, tuple[set[str], set[str]]]]:
    return {
        name: {sid: (many(item["Action"]), many(item["Resource"])) for sid, item in items.items()}
        for name, items in statements(**parameters).items()
    }


def with_logs(expected: dict[str, dict[str, tuple[set[str], set[str]]]]) -> dict[str, Any]:
    actions = {"logs:CreateLogStream", "logs:PutLogEvents"}
    groups = {name: re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower() for name in expected}
    arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/hector/hector"
    return {name: {**items, "Logs": (actions, {f"{arn}/{groups[name]}:*"})} for name, items in expected.items()}


def test_what_each_function_may_do() -> None:
    assert allowed() == with_logs(EXPECTED)


def test_every_function_has_a_role_of_its_own_and_sam_adds_none() -> None:
    stack = deployed(Authorizer="oidc", OidcIssuer="https://issuer.example")
    for name, function in functions(stack.resources).items():
        assert function["Role"] == f"<Access.Outputs.{name}>"
    assert set(nested("Access").outputs) == set(functions(stack.resources))
    roles = {name for name, item in stack.resources.items() if item["Type"] == "AWS::IAM::Role"}
    assert roles == {"AccessLogsRole"}, "the gateway's"


def test_only_lambda_takes_these_roles() -> None:
    for role in nested("Access").resources.values():
        (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_logs_go_to_the_groups_that_may_be_written() -> None:
    resources = deployed(Authorizer="oidc", OidcIssuer="https://issuer.example", LogRetentionDays=7).resources
    groups = {name: item["Properties"] for name, item in resources.items() if item["Type"] == "AWS::Logs::LogGroup"}
    assert {item["RetentionInDays"] for item in groups.values()} == {7}
    for name, items in allowed().items():
        ((arn, *_),) = [items["Logs"][1]]
        assert arn.endswith(f"log-group:{groups[f'{name}Log']['LogGroupName']}:*")


@pytest.mark.parametrize("model", ["anthropic.claude-sonnet-4-5", "eu.amazon.nova-lite-v1:0"])
def test_turns_may_call_the_model_of_the_parameter_and_no_other(model: str) -> None:
    found = statements(BedrockModel=model)
    calls = {"bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"}
    profile = f"arn:aws:bedrock:eu-central-1:123456789012:inference-profile/{model}"
    for name, items in found.items():
        assert ("Model" in items) is ("Profile" in items) is (name in TURNS)
        if name in TURNS:
            assert many(items["Model"]["Action"]) == many(items["Profile"]["Action"]) == calls
            assert many(items["Model"]["Resource"]) == {f"arn:aws:bedrock:*::foundation-model/{model}", profile}
            # Behind a profile are models in several regions; they may be called through it alone.
            assert items["Profile"]["Condition"] == {"StringEquals": {"bedrock:InferenceProfileArn": profile}}
    variables = functions(deployed(BedrockModel=model).resources)["PostTask"]["Environment"]["Variables"]
    assert variables["HECTOR_MODEL"] == model


@pytest.mark.parametrize(
    ("location", "action", "arn"),
    [
        ("s3://bucket/conf/hector.yaml", "s3:GetObject", "arn:aws:s3:::bucket/conf/hector.yaml"),
        ("ssm://hector", "ssm:GetParameter", "arn:aws:ssm:eu-central-1:123456789012:parameter/hector"),
        ("ssm:///hector/prod", "ssm:GetParameter", "arn:aws:ssm:eu-central-1:123456789012:parameter/hector/prod"),
    ],
)
def test_the_configuration_may_be_read_where_it_is(location: str, action: str, arn: str) -> None:
    found = allowed(ConfigLocation=location)
    for name, items in found.items():
        assert items.get("Config") == (None if name == "Authorize" else ({action}, {arn})), name
    variables = functions(deployed(ConfigLocation=location).resources)["PostTask"]["Environment"]["Variables"]
    assert variables["HECTOR_CONFIG"] == location


def test_in_a_vpc_functions_may_have_network_interfaces() -> None:
    found = allowed(SubnetIds="subnet-1,subnet-2", SecurityGroupIds="sg-1")
    assert {name for name, items in found.items() if "Vpc" in items} == set(EXPECTED) - {"Authorize"}
    for items in found.values():
        assert all(action.startswith("ec2:") for action in items.get("Vpc", (set(), set()))[0])


def test_a_star_stands_only_where_there_is_nothing_to_name() -> None:
    everything = allowed(SubnetIds="subnet-1", BedrockModel="m", ConfigLocation="s3://bucket/key")
    starred = {sid for items in everything.values() for sid, (_, resources) in items.items() if "*" in resources}
    assert starred == {"Traces", "Vpc", "ListStreams"}
    assert not any(
        "*" in action for items in everything.values() for actions, _ in items.values() for action in actions
    )


def test_with_redis_nobody_may_touch_a_table() -> None:
    found = allowed(SessionStore="redis", RedisUrl="rediss://cache.example:6379/0")
    assert set(found) == set(EXPECTED) - {"TableStream"}
    assert not any(sid in ("Table", "Sweep") for items in found.values() for sid in items)


def test_the_store_uses_no_other_operation_than_those() -> None:
    from hector.stores.dynamodb.failures import _USED

    assert {f"dynamodb:{operation}" for operation in _USED} == TABLE[0] | SWEEP[0]
