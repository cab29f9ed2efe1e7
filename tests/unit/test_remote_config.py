"""HECTOR_CONFIG=s3://… and ssm://…: read through the real SDK, from moto's S3 and Parameter Store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from hector.config import load
from hector.config.settings import BedrockLLM, BuiltinLLM
from hector.errors import ConfigError

GOOD = "llms: {main: {type: builtin}}\nagents: {greeter: {llm: main, name: Grüße}}\n"
BAD = "llms: {main: {type: builtin}}\nagents:\n  greeter: {lmm: main}\n"


@pytest.fixture(autouse=True)
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in ("HECTOR_CONFIG", "HECTOR_STORE", "HECTOR_MODEL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield


def in_s3(text: str | bytes, key: str = "conf/hector.yaml") -> str:
    s3: Any = boto3.client("s3")
    s3.create_bucket(Bucket="configs", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="configs", Key=key, Body=text)
    s3.close()
    return f"s3://configs/{key}"


def in_ssm(text: str, name: str = "/hector/prod", kind: str = "String") -> str:
    ssm: Any = boto3.client("ssm")
    ssm.put_parameter(Name=name, Value=text, Type=kind)
    ssm.close()
    return f"ssm://{name}"


def problem(location: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load(location)
    assert raised.value.message.startswith(location)
    return raised.value.message


def test_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HECTOR_CONFIG", in_s3(GOOD.encode()))
    settings = load()
    assert settings.agents["greeter"].name == "Grüße"
    assert settings.folder == "", "type: python looks on the import path and in the working folder"


@pytest.mark.parametrize("name", ["/hector/prod", "hector"])
@pytest.mark.parametrize("kind", ["String", "SecureString"])
def test_parameter_store(monkeypatch: pytest.MonkeyPatch, name: str, kind: str) -> None:
    monkeypatch.setenv("HECTOR_CONFIG", in_ssm(GOOD, name, kind))
    assert load().agents["greeter"].name == "Grüße"


def test_the_store_can_still_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HECTOR_STORE", "dynamodb://table")
    assert load(in_s3(GOOD)).session_store.backend == "dynamodb"


def test_a_mistake_is_named_by_place_and_line() -> None:
    for location in (in_s3(BAD), in_ssm(BAD)):
        assert f"{location}:3: agents.greeter.lmm: unknown key 'lmm'; did you mean 'llm'?" in problem(location)


def test_what_is_not_there() -> None:
    in_s3(GOOD)
    assert "no such object" in problem("s3://configs/another.yaml")
    assert "no such bucket" in problem("s3://nobodys/hector.yaml")
    assert "no such parameter in this region" in problem("ssm://nothing")


@pytest.mark.parametrize("location", ["s3://configs", "s3://", "s3:///key", "ssm://", "ssm:///"])
def test_what_is_no_location(location: str) -> None:
    assert "is not of the form" in problem(location)


def test_what_is_no_text() -> None:
    assert "not UTF-8" in problem(in_s3(b"llms: \xff"))


@pytest.mark.parametrize(
    ("location", "code", "need"),
    [("s3://configs/a", "AccessDenied", "s3:GetObject"), ("ssm://a", "AccessDeniedException", "ssm:GetParameter")],
)
def test_what_may_not_be_read(monkeypatch: pytest.MonkeyPatch, location: str, code: str, need: str) -> None:
    from botocore.client import BaseClient
    from botocore.exceptions import ClientError

    def refuse(self: BaseClient, operation: str, parameters: Any) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse)
    assert f"the function's role needs {need}" in problem(location)


def test_no_credentials_and_no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    assert "You must specify a region" in problem("ssm://hector")


def test_without_the_sdk_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    assert "pip install 'hector-serverless[lambda]'" in problem("s3://configs/hector.yaml")


def test_the_sdk_is_imported_for_this_alone() -> None:
    code = "import sys, json, hector.config; hector.config.load(); print(json.dumps(list(sys.modules)))"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "layers" / "hector")}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert not {"botocore", "hector.config.remote"} & set(json.loads(result.stdout))


def test_without_any_file_the_model_of_the_environment_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(load().llms["builtin"], BuiltinLLM)
    monkeypatch.setenv("HECTOR_MODEL", "eu.amazon.nova-lite-v1:0")
    settings = load()
    assert settings.llms == {"bedrock": BedrockLLM(type="bedrock", model="eu.amazon.nova-lite-v1:0")}
    assert set(settings.agents) == {"assistant", "support_agent", "my_agent"}
    assert {agent.llm for agent in settings.agents.values()} == {"bedrock"}
    Path("hector.yaml").write_text(GOOD)
    assert "bedrock" not in load().llms, "a file says it all"


def test_a_file_may_name_the_model_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HECTOR_MODEL", "amazon.nova-lite-v1:0")
    text = 'llms: {main: {type: bedrock, model: "${HECTOR_MODEL}"}}\nagents: {greeter: {llm: main}}\n'
    assert load(in_ssm(text)).llms == {"main": BedrockLLM(type="bedrock", model="amazon.nova-lite-v1:0")}
