"""The client is the one that botocore would make, and made sooner."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.loaders import JSONFileLoader, Loader
from botocore.session import Session

from hector.stores.dynamodb import DynamoDBStore
from tests.contract.dynamodb.wire import answered, client_of

REGIONS = ["us-east-1", "eu-west-1", "ap-southeast-5", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "eusc-de-east-1"]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def called(client: Any) -> tuple[str, str]:
    """The address that a client calls, and the scope that it signs for."""
    seen: list[AWSPreparedRequest] = []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        seen.append(request)
        return answered(request, 200, "")

    client.meta.events.register("before-send.dynamodb", answer)
    client.get_item(TableName="table", Key={"pk": {"S": "1"}})
    authorization = str(seen[0].headers["Authorization"])
    return seen[0].url, authorization.partition("/")[2].partition(",")[0]


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("setting", [None, "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
async def test_calls_what_an_ordinary_client_calls(
    monkeypatch: pytest.MonkeyPatch, region: str, setting: str | None
) -> None:
    if setting:
        monkeypatch.setenv(setting, "true")
    store = DynamoDBStore("table", region=region)
    ordinary = Session().create_client("dynamodb", region_name=region)
    assert called(client_of(store)) == called(ordinary)
    await store.aclose()


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
async def test_takes_region_and_endpoint_from_the_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "sa-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
    store = DynamoDBStore("table")
    url, scope = called(client_of(store))
    assert url == "http://127.0.0.1:1/"
    assert "sa-east-1" in scope
    await store.aclose()


def test_nothing_is_imported_before_it_is_needed() -> None:
    program = (
        "import sys, hector.stores.dynamodb as d; d.DynamoDBStore('table'); "
        "print([name for name in ('boto3', 'botocore', 'urllib3', 'pydantic', 'fastapi') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_reads_none_of_what_other_services_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is most of the time that an ordinary client takes (`python -m benchmarks startup`)."""
    read: list[str] = []
    listed: list[str] = []
    load_file, list_services = JSONFileLoader.load_file, Loader.list_available_services

    def reads(self: Any, path: str) -> Any:
        read.append(path)
        return load_file(self, path)

    def lists(self: Any, kind: str) -> Any:
        listed.append(kind)
        return list_services(self, kind)

    monkeypatch.setattr(JSONFileLoader, "load_file", reads)
    monkeypatch.setattr(Loader, "list_available_services", lists)
    Session().create_client("dynamodb", region_name="eu-west-1")
    assert any("endpoints" in path for path in read), "as an ordinary client does"
    assert listed
    read.clear()
    listed.clear()
    client_of(DynamoDBStore("table", region="eu-west-1"))
    assert not any(path.endswith("/endpoints") for path in read)
    assert not listed
