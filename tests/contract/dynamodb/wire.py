"""Looks at, and interferes with, the HTTP calls of a DynamoDB store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError

from hector.stores.base import Store
from hector.stores.dynamodb import DynamoDBStore

Send = Callable[[AWSPreparedRequest], AWSResponse]


def client_of(store: Store) -> Any:
    assert isinstance(store, DynamoDBStore)
    return store._connection.open()


@contextmanager
def sending(store: Store, instead: Callable[[str, AWSPreparedRequest, Send], AWSResponse]) -> Iterator[None]:
    """`instead` gets the operation's name, the request, and what sends it."""
    session = client_of(store)._endpoint.http_session
    send = session.send

    def intercepted(request: AWSPreparedRequest) -> AWSResponse:
        target = request.headers["X-Amz-Target"]
        operation = (target.decode() if isinstance(target, bytes) else target).partition(".")[2]
        return instead(operation, request, send)

    session.send = intercepted
    try:
        yield
    finally:
        session.send = send


@contextmanager
def batch_reads(store: Store) -> Iterator[list[tuple[str, str]]]:
    """The keys of the rows that are read in batches meanwhile."""
    read: list[tuple[str, str]] = []

    def look(name: str, request: AWSPreparedRequest, send: Send) -> AWSResponse:
        if name == "BatchGetItem":
            assert isinstance(request.body, bytes)
            for wanted in json.loads(request.body)["RequestItems"].values():
                read.extend((key["pk"]["S"], key["sk"]["S"]) for key in wanted["Keys"])
        return send(request)

    with sending(store, look):
        yield read


@contextmanager
def losing_answers(store: Store, operation: str, *, skip: int = 0, times: int = 1) -> Iterator[list[str]]:
    """The write takes effect, but its answer is lost. Yields what was sent, lost answers with a `!`."""
    sent: list[str] = []
    met = 0

    def lose(name: str, request: AWSPreparedRequest, send: Send) -> AWSResponse:
        nonlocal met
        answer = send(request)
        sent.append(name)
        if name == operation:
            met += 1
            if skip < met <= skip + times:
                sent[-1] += "!"
                raise ConnectionClosedError(endpoint_url=request.url)
        return answer

    with sending(store, lose):
        yield sent


def answered(
    request: AWSPreparedRequest, status: int, code: str, message: str = "", *, body: Any = None
) -> AWSResponse:
    """An answer of the engine: an error, or else this body."""
    error = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}
    content = json.dumps(error if body is None else body).encode()

    class Raw:
        def stream(self, *_: object, **__: object) -> Iterator[bytes]:
            yield content

    return AWSResponse(
        request.url, status, HTTPHeaders.from_dict({"Content-Type": "application/x-amz-json-1.0"}), Raw()
    )
