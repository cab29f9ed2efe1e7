"""When DynamoDB cannot be used: one sentence that names the setting and says what to do, and soon."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from hector.errors import HectorError, InputTooLarge, InvalidRequest, StoreUnavailable
from hector.model import Principal, Summary, TaskError, TaskState, new_session_id
from hector.stores.base import Lease, Outcome, Store
from hector.stores.dynamodb import DynamoDBStore, connection, patience
from hector.testing.bench import DONE, LEASE, Bench, nonce, pieces
from hector.testing.contract.staging import ended
from tests.contract.dynamodb.wire import Send, answered, client_of, sending

WHO = Principal("alice")
GAVE_UP = Outcome(TaskState.FAILED, 0)
VERBS: dict[str, Callable[[Store, Lease], Awaitable[object]]] = {
    "create_session": lambda store, lease: store.create_session(replace(lease.session, id=new_session_id())),
    "read_session": lambda store, lease: store.read_session(lease.session.principal, lease.session.id),
    "list_sessions": lambda store, lease: store.list_sessions(lease.session.principal),
    "claim": lambda store, lease: store.claim(
        lease.session.principal, lease.session.id, lease.task_id, lease=LEASE, nonce=nonce()
    ),
    "line_up": lambda store, lease: store.line_up(lease.session.principal, lease.task_id, most=1),
    "leave_line": lambda store, lease: store.leave_line(lease.session.principal, lease.task_id, GAVE_UP, nonce=nonce()),
    "append_events": lambda store, lease: store.append_events(lease, pieces(1, 1), extend=LEASE),
    "commit": lambda store, lease: store.commit(lease, DONE, nonce=nonce()),
    "read_history": lambda store, lease: store.read_history(lease.session.principal, lease.session.id, limit=5),
    "read_events": lambda store, lease: store.read_events(lease.session.principal, lease.task_id, after=0),
    "request_cancel": lambda store, lease: store.request_cancel(lease.session.principal, lease.task_id),
    "read_summary": lambda store, lease: store.read_summary(lease.session.principal, lease.session.id),
    "save_summary": lambda store, lease: store.save_summary(lease, Summary("text", 1)),
    "read_owner": lambda store, lease: store.read_owner(lease.session.id),
    "list_every_session": lambda store, lease: store.list_every_session(),
    "list_unfinished": lambda store, lease: store.list_unfinished(),
    "stage_turns": lambda store, lease: store.stage_turns(lease.session, [ended(lease.session, 1)]),
    "delete_session": lambda store, lease: store.delete_session(lease.session.principal, lease.session.id),
}


@pytest.fixture(autouse=True)
def nobodys_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No AWS settings, and no instance to ask for any."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


async def failure_of(store: DynamoDBStore) -> HectorError:
    with pytest.raises(HectorError) as raised:
        await store.read_session(WHO, new_session_id())
    await store.aclose()
    return raised.value


async def test_no_region() -> None:
    error = await failure_of(DynamoDBStore("table"))
    assert isinstance(error, StoreUnavailable)
    assert "AWS_REGION" in error.message
    assert "session_store.region" in error.message


async def test_no_credentials() -> None:
    error = await failure_of(DynamoDBStore("table", region="eu-west-1"))
    assert isinstance(error, StoreUnavailable)
    assert "AWS_PROFILE" in error.message


async def test_unknown_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    error = await failure_of(DynamoDBStore("table", region="eu-west-1"))
    assert isinstance(error, StoreUnavailable)
    assert "nobody" in error.message


async def test_nobody_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    error = await failure_of(DynamoDBStore("table", endpoint_url=url))
    assert isinstance(error, StoreUnavailable)
    assert url in error.message
    assert "session_store.endpoint_url" in error.message


async def test_an_address_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "READ_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(connection, "ATTEMPTS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        error = await failure_of(DynamoDBStore("table", endpoint_url=f"http://127.0.0.1:{silent.getsockname()[1]}"))
    assert isinstance(error, StoreUnavailable)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "nonsense"])
async def test_an_endpoint_that_is_no_url(url: str) -> None:
    error = await failure_of(DynamoDBStore("table", region="eu-west-1", endpoint_url=url))
    assert isinstance(error, StoreUnavailable)
    assert "session_store.endpoint_url" in error.message


async def test_no_such_table(dynamodb_local: str) -> None:
    name = f"missing-{secrets.token_hex(4)}"
    error = await failure_of(DynamoDBStore(name, endpoint_url=dynamodb_local))
    assert isinstance(error, StoreUnavailable)
    assert name in error.message
    assert "session_store.table" in error.message


async def test_a_table_of_something_else(dynamodb_local: str) -> None:
    store = DynamoDBStore(f"other-{secrets.token_hex(4)}", endpoint_url=dynamodb_local)
    client_of(store).create_table(
        TableName=store._connection.table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
    )
    with pytest.raises(StoreUnavailable, match="is not one of this product's"):
        await store.list_sessions(WHO)
    await store.aclose()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("AccessDeniedException", "UpdateItem"),
        ("UnrecognizedClientException", "AWS_ACCESS_KEY_ID"),
        ("ExpiredTokenException", "AWS_ACCESS_KEY_ID"),
        ("SomethingNewException", "SomethingNewException"),
    ],
)
async def test_refused(dynamodb: Bench, code: str, says: str) -> None:
    with (
        sending(dynamodb.store, lambda _, request, __: answered(request, 400, code, "why")),
        pytest.raises(StoreUnavailable) as raised,
    ):
        await dynamodb.store.read_session(WHO, new_session_id())
    assert says in raised.value.message


async def test_a_refused_transaction_names_permissions_that_there_are(dynamodb: Bench) -> None:
    task = await dynamodb.submitted(await dynamodb.session())

    def refuse(name: str, request: AWSPreparedRequest, send: Send) -> AWSResponse:
        return answered(request, 400, "AccessDeniedException") if name == "TransactWriteItems" else send(request)

    with sending(dynamodb.store, refuse), pytest.raises(StoreUnavailable) as raised:
        await dynamodb.store.request_cancel(dynamodb.principal, task.id)
    assert "UpdateItem" in raised.value.message
    assert "dynamodb:TransactWriteItems" not in raised.value.message


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "ThrottlingException"])
async def test_throttled_for_a_moment(dynamodb: Bench, code: str) -> None:
    session = await dynamodb.session()
    attempts = 0

    def throttle(_: str, request: AWSPreparedRequest, send: Send) -> AWSResponse:
        nonlocal attempts
        attempts += 1
        return answered(request, 400, code) if attempts == 1 else send(request)

    with sending(dynamodb.store, throttle):
        assert (await dynamodb.store.list_tasks(dynamodb.principal, session.id)).items == []
    assert attempts == 3


async def test_throttled_for_longer_than_the_client_is_patient(
    monkeypatch: pytest.MonkeyPatch, dynamodb: Bench
) -> None:
    monkeypatch.setattr(connection, "ATTEMPTS", 1)
    session, attempts = await dynamodb.session(), 0

    def throttle(_: str, request: AWSPreparedRequest, send: Send) -> AWSResponse:
        nonlocal attempts
        attempts += 1
        return answered(request, 400, "ThrottlingException") if attempts <= 4 else send(request)

    other = dynamodb.another()
    with sending(other, throttle):
        assert await other.read_owner(session.id) == dynamodb.principal
    assert attempts == 5


@pytest.mark.parametrize("verb", sorted(VERBS))
async def test_throttled_for_long(monkeypatch: pytest.MonkeyPatch, dynamodb: Bench, verb: str) -> None:
    monkeypatch.setattr(connection, "ATTEMPTS", 1)
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.1)
    lease, other = await dynamodb.claimed(await dynamodb.session()), dynamodb.another()
    with (
        sending(other, lambda _, request, __: answered(request, 400, "ThrottlingException")),
        pytest.raises(StoreUnavailable, match="busy"),
    ):
        await VERBS[verb](other, lease)


@pytest.mark.parametrize("verb", sorted(VERBS))
async def test_every_operation_says_that_there_is_no_table(dynamodb_local: str, dynamodb: Bench, verb: str) -> None:
    lease = await dynamodb.claimed(await dynamodb.session())
    store = DynamoDBStore("missing", endpoint_url=dynamodb_local, clock=dynamodb.clock)
    with pytest.raises(StoreUnavailable, match=r"session_store\.table"):
        await VERBS[verb](store, lease)
    await store.aclose()


@pytest.mark.parametrize("verb", sorted(VERBS))
async def test_every_operation_says_what_the_credentials_may_not(dynamodb: Bench, verb: str) -> None:
    lease = await dynamodb.claimed(await dynamodb.session())
    with (
        sending(dynamodb.store, lambda _, request, __: answered(request, 400, "AccessDeniedException", "why")),
        pytest.raises(StoreUnavailable, match=r"policy allows dynamodb:.*Scan"),
    ):
        await VERBS[verb](dynamodb.store, lease)


LARGE = "x" * 420_000


async def test_more_than_an_item_holds_is_refused_and_changes_nothing(dynamodb: Bench) -> None:
    """Messages, answers, logs and summaries overflow: see test_overflow.py. What is bounded elsewhere does not."""
    with pytest.raises(InputTooLarge):
        await dynamodb.session(metadata={"a": LARGE})
    assert (await dynamodb.store.list_sessions(dynamodb.principal)).items == []
    lease = await dynamodb.claimed(await dynamodb.session())
    with pytest.raises(InputTooLarge):
        await dynamodb.store.commit(lease, DONE._replace(error=TaskError("code", LARGE)), nonce=nonce())
    assert (await dynamodb.ended(lease)).turn == 1


async def test_a_principal_with_an_endless_name(dynamodb: Bench) -> None:
    dynamodb.principal = Principal("ä" * 600)
    with pytest.raises(InvalidRequest):
        await dynamodb.session()
