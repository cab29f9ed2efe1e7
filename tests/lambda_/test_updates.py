"""What another value of a parameter changes in a stack that is deployed already.

SAM names versions and deployments by a template's text, in which no parameter has a value yet: what it makes is the
same for all values, and CloudFormation leaves an alias and a stage where they are unless something else has them move.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from samtranslator.model import apigateway

from hector.emulator.transform import transform
from tests.lambda_.stack import Stack, deployed, source
from tests.lambda_.test_choices import COGNITO, OIDC, REDIS, VPC
from tests.lambda_.test_template import LAYERS, functions

EVERY = set(LAYERS)
HECTOR = EVERY - {"Authorize"}
IN_REDIS = HECTOR - {"TableStream"}
CASES: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
    # what is deployed, what is deployed next, whose configuration is another one then
    (OIDC, {"Architecture": "x86_64"}, EVERY),
    (OIDC, {"PythonRuntime": "python3.12"}, EVERY),
    (OIDC, {"Stage": "dev"}, set()),
    (OIDC, {"ConfigLocation": "ssm://hector"}, HECTOR),
    (OIDC, {"BedrockModel": "amazon.nova-lite-v1:0"}, HECTOR),
    (OIDC, REDIS, IN_REDIS),
    (OIDC | REDIS, {"RedisUrl": "redis://other.example:6379/0", "Revision": "2"}, IN_REDIS | {"Authorize"}),
    (OIDC, VPC, HECTOR),
    (OIDC | VPC, {"SubnetIds": "subnet-1"}, HECTOR),
    (OIDC | VPC, {"SecurityGroupIds": "sg-2"}, HECTOR),
    (OIDC, {"DeletionProtection": "true"}, set()),
    (OIDC, {"Authorizer": "none"}, set()),
    (OIDC, COGNITO, set()),
    (COGNITO, {"UserPoolArn": "arn:aws:cognito-idp:eu-central-1:123456789012:userpool/eu-central-1_b"}, set()),
    (OIDC, {"OidcIssuer": "https://other.example"}, {"Authorize"}),
    (OIDC, {"OidcAudience": "other"}, {"Authorize"}),
    (OIDC, {"OidcTenantClaim": "org"}, {"Authorize"}),
    (OIDC, {"ApiKeys": "required"}, set()),
    (OIDC, {"ThrottleRate": 7}, set()),
    (OIDC, {"ThrottleBurst": 7}, set()),
    (OIDC, {"FunctionUrl": "yes"}, set()),
    (OIDC, {"StartUp": "snapstart"}, EVERY - {"HandleEvent", "TableStream"}),
    (OIDC, {"StartUp": "provisioned"}, set()),
    (OIDC | {"StartUp": "provisioned"}, {"StartUp": "snapstart"}, EVERY - {"HandleEvent", "TableStream"}),
    (OIDC | {"StartUp": "provisioned"}, {"ProvisionedConcurrency": 7}, set()),
    (OIDC, {"WorkerConcurrency": 7}, set()),
    (OIDC, {"Revision": "2"}, EVERY),
    (OIDC, {"LogLevel": "DEBUG"}, EVERY),
    (OIDC, {"LogRetentionDays": 7}, set()),
    (OIDC, {"AccessLogs": "off"}, set()),
    (OIDC, {"AlarmTopicArn": "arn:aws:sns:eu-central-1:123456789012:alarms"}, set()),
]


def configurations(stack: Stack) -> dict[str, Any]:
    """Function -> what a version of it would be of: its properties, and those of its layers."""
    return {
        name: (function, [stack.resources[layer]["Properties"] for layer in function["Layers"]])
        for name, function in functions(stack.resources).items()
    }


def versions(stack: Stack) -> dict[str, tuple[str, str]]:
    """Function -> its version's logical id and description; another one of either is another version."""
    return {
        item["Properties"]["FunctionName"]: (name, item["Properties"]["Description"])
        for name, item in stack.resources.items()
        if item["Type"] == "AWS::Lambda::Version"
    }


def differing(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before.keys() & after.keys() if before[name] != after[name]}


@pytest.mark.parametrize(("now", "then", "changed"), CASES, ids=[", ".join(case[1]) for case in CASES])
def test_a_function_has_a_new_version_exactly_if_its_configuration_changes(
    now: dict[str, Any], then: dict[str, Any], changed: set[str]
) -> None:
    """Without one, the alias stays with what was; and one of a function that is the same is refused by Lambda."""
    before, after = deployed(**now), deployed(**now | then)
    assert differing(configurations(before), configurations(after)) == changed
    assert differing(versions(before), versions(after)) == changed


def test_every_parameter_is_among_these() -> None:
    assert {name for _, then, _ in CASES for name in then} == set(source()["Parameters"])


def test_another_description_is_another_version() -> None:
    version = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", "AWS::Lambda::Version").schema
    assert "/properties/Description" in version["createOnlyProperties"]
    for item in deployed(**OIDC).resources.values():
        if item["Type"] == "AWS::Lambda::Version":
            assert item["DeletionPolicy"] == item["UpdateReplacePolicy"] == "Retain", "streams run in it, for a while"
        elif item["Type"] == "AWS::Lambda::Function":
            assert "DeletionPolicy" not in item


def test_the_longest_descriptions_are_short_enough() -> None:
    version = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", "AWS::Lambda::Version").schema
    longest = {
        "ConfigLocation": "s3://" + "b" * 60 + "/hector.yml",
        "BedrockModel": "m" * 50,
        "SubnetIds": ",".join(["subnet-0123456789abcdef0"] * 3),
        "SecurityGroupIds": ",".join(["sg-0123456789abcdef0"] * 2),
        "OidcIssuer": "https://" + "i" * 112,
        "OidcAudience": "a" * 60,
        "OidcTenantClaim": "c" * 36,
        "Revision": "r" * 10,
    }
    declared = source()["Parameters"]
    assert {name: len(value) for name, value in longest.items()} == {
        name: one["MaxLength"] for name, one in declared.items() if "MaxLength" in one
    }
    others = {"Authorizer": "oidc", "Architecture": "x86_64", "LogLevel": "DEBUG", "StartUp": "snapstart"}
    described = versions(deployed(**longest, **others))
    assert described.keys() == EVERY
    for name, (_, description) in described.items():
        assert len(description) <= version["properties"]["Description"]["maxLength"], name


def test_a_secret_is_in_no_description() -> None:
    stack = deployed(**OIDC, **REDIS)
    for _, description in versions(stack).values():
        assert "secret" not in description
    assert source()["Parameters"]["RedisUrl"]["NoEcho"] is True
    assert "HECTOR_STORE" not in functions(stack.resources)["Authorize"]["Environment"]["Variables"]


def test_the_api_is_deployed_anew_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another authoriser changes nothing of the text, and would never reach the stage."""
    seconds = iter(range(100))
    monkeypatch.setattr(apigateway, "time", SimpleNamespace(time=lambda: next(seconds)))
    ids = []
    for choice in ({}, {}, {"Authorizer": "iam"}, OIDC, COGNITO, {"ApiKeys": "required"}):
        resources = transform(source(), choice)["Resources"]
        (deployment,) = [name for name, item in resources.items() if item["Type"] == "AWS::ApiGateway::Deployment"]
        assert resources["ApiStage"]["Properties"]["DeploymentId"] == {"Ref": deployment}
        ids.append(deployment)
    assert len(set(ids)) == len(ids)
