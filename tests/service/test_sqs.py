"""The work queue on SQS, through the real botocore."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from hector.errors import QueueUnavailable
from hector.queues.sqs import SQSQueue


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with mock_aws():
        yield boto3.client("sqs", region_name="eu-west-1")


async def test_a_message_is_the_id_of_a_task_and_nothing_else(sqs: Any) -> None:
    url = sqs.create_queue(QueueName="work")["QueueUrl"]
    queue = SQSQueue(url)
    await asyncio.gather(*(queue.send(f"task-{number}") for number in range(5)))
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])["Messages"]
    assert sorted(message["Body"] for message in received) == [f"task-{number}" for number in range(5)]
    assert not any("MessageAttributes" in message for message in received)
    await queue.aclose()


async def test_a_delay_is_whole_seconds_and_bounded(sqs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = SQSQueue(sqs.create_queue(QueueName="work")["QueueUrl"])
    client, sent = queue._open(), []
    monkeypatch.setattr(client, "send_message", lambda **message: sent.append(message["DelaySeconds"]))
    for delay in (0, 0.2, 20, 10_000):
        await queue.send("task", delay=delay)
    assert sent == [0, 1, 20, 900]


async def test_a_queue_that_is_not_there_is_one_clear_error(sqs: Any) -> None:
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/nowhere"
    with pytest.raises(QueueUnavailable) as raised:
        await SQSQueue(url).send("task")
    for named in (url, "HECTOR_QUEUE", "sqs:SendMessage"):
        assert named in raised.value.message
