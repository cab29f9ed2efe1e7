"""Lambda's own API, as boto3 calls it: invoke, events, and answers that stream."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from hector.emulator import Limits
from hector.emulator.invocation import TOO_LARGE
from tests.lambda_.aws_clients import call, client
from tests.lambda_.conftest import StartToy
from tests.lambda_.test_streaming_runtime import v1_event
from tests.support import wait_until

EVENT = json.dumps(v1_event("/")).encode()


def read_stream(url: str, event: bytes = EVENT) -> tuple[list[tuple[float, bytes]], dict[str, Any]]:
    """Each chunk with the time when it came, and the end."""
    answer = client("lambda", url).invoke_with_response_stream(FunctionName="Toy", Payload=event)
    assert answer["StatusCode"] == 200
    chunks, end = [], {}
    for part in answer["EventStream"]:
        if "PayloadChunk" in part:
            chunks.append((time.monotonic(), part["PayloadChunk"]["Payload"]))
        else:
            end = part["InvokeComplete"]
    return chunks, end


async def test_a_stream_comes_chunk_by_chunk(toy: StartToy) -> None:
    aws = await toy("ticks", warm=1)
    chunks, end = await asyncio.to_thread(read_stream, aws.url)
    body = b"".join(data for _, data in chunks).partition(bytes(8))[2]
    assert body == b"".join(b"data: %d\n\n" % number for number in range(6))
    assert end == {}
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(chunks)]
    assert sum(gap > 0.1 for gap in gaps) >= 4, gaps  # a busy machine may delay one and so shorten the next


async def test_a_failure_in_mid_stream_is_the_errorcode(toy: StartToy) -> None:
    aws = await toy("late_failure")
    chunks, end = await asyncio.to_thread(read_stream, aws.url)
    assert chunks[-1][1].endswith(b"data: one\n\n")
    assert end["ErrorCode"] == "Function.ConnectionResetError"
    assert json.loads(end["ErrorDetails"])["errorMessage"] == "the model's server went away"


async def test_a_failure_before_the_first_byte_is_an_errorcode_too(toy: StartToy) -> None:
    aws = await toy("early_failure")
    chunks, end = await asyncio.to_thread(read_stream, aws.url)
    assert chunks == []
    assert end["ErrorCode"] == "ConnectionError"


async def test_a_killed_process_is_an_errorcode(toy: StartToy) -> None:
    aws = await toy("ticks")
    reading = asyncio.create_task(asyncio.to_thread(read_stream, aws.url))
    await wait_until(lambda: bool(aws.invocations) and b"data: 0" in aws.invocations[0].content, 15)
    aws.instances("Toy")[0].kill()
    chunks, end = await reading
    assert b"data: 0" in b"".join(data for _, data in chunks)
    assert end["ErrorCode"] == "Runtime.ExitError"


async def test_invoke_gives_the_answer_and_the_log(toy: StartToy) -> None:
    aws = await toy("toy.plain", streams=False)
    answer = await call(client("lambda", aws.url).invoke, FunctionName="Toy", Payload=b"{}", LogType="Tail")
    assert answer["StatusCode"] == 200
    assert "FunctionError" not in answer
    assert json.loads(json.loads(answer["Payload"].read())["body"])["plain"] is True
    base64.b64decode(answer["LogResult"])
    arn = "arn:aws:lambda:us-east-1:000000000000:function:Toy:live"
    assert (await call(client("lambda", aws.url).invoke, FunctionName=arn))["StatusCode"] == 200


async def test_invoke_tells_of_a_failure(toy: StartToy) -> None:
    aws = await toy("toy.plain_failure", streams=False)
    answer = await call(client("lambda", aws.url).invoke, FunctionName="Toy", Payload=b"{}")
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"].read())["errorMessage"] == "no such thing"


async def test_invoke_buffers_a_stream_and_refuses_a_large_one(toy: StartToy) -> None:
    aws = await toy("ticks", limits=Limits(response=100))
    answer = await call(client("lambda", aws.url).invoke, FunctionName="Toy", Payload=EVENT)
    assert json.loads(answer["Payload"].read())["errorType"] == TOO_LARGE


async def test_an_event_is_accepted_at_once_and_tried_three_times(toy: StartToy) -> None:
    aws = await toy("toy.plain_failure", streams=False, limits=Limits(event_retry_wait=0.1, event_retries=2))
    service = client("lambda", aws.url)
    answer = await call(service.invoke, FunctionName="Toy", Payload=b'{"a": 1}', InvocationType="Event")
    assert answer["StatusCode"] == 202
    await wait_until(lambda: len(aws.invocations) == 3, 15)
    await asyncio.sleep(0.5)
    assert [invocation.event for invocation in aws.invocations] == [b'{"a": 1}'] * 3
    fine = await toy("toy.plain", streams=False)
    await call(client("lambda", fine.url).invoke, FunctionName="Toy", InvocationType="Event")
    await wait_until(lambda: len(fine.invocations) == 1, 15)
    assert (await call(service.invoke, FunctionName="Toy", InvocationType="DryRun"))["StatusCode"] == 204


async def test_refusals(toy: StartToy) -> None:
    aws = await toy("ticks", limits=Limits(request=2000, event=100), concurrency=1)
    service = client("lambda", aws.url)
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"FunctionName": "Nobody"}, "ResourceNotFoundException"),
        ({"FunctionName": "Toy", "Payload": b'"' + b"x" * 2000 + b'"'}, "RequestTooLargeException"),
        (
            {"FunctionName": "Toy", "Payload": b'"' + b"x" * 100 + b'"', "InvocationType": "Event"},
            "RequestTooLargeException",
        ),
        ({"FunctionName": "Toy", "Payload": b"{"}, "InvalidRequestContentException"),
    ]
    for parameters, code in refusals:
        with pytest.raises(ClientError) as refused:
            await call(service.invoke, **parameters)
        assert refused.value.response["Error"]["Code"] == code
    assert aws.invocations == []
    running = asyncio.create_task(asyncio.to_thread(read_stream, aws.url))
    await wait_until(lambda: len(aws.invocations) == 1, 15)
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        await call(service.invoke, FunctionName="Toy", Payload=EVENT)
    await running
