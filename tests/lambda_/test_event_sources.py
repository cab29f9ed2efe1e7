"""Queues, schedules and a table's stream, from a template of their own to a function that writes down what it gets."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from hector.emulator import Emulator, Limits
from hector.emulator.filters import passes
from hector.emulator.model import Schedule
from hector.emulator.tables import client as dynamodb_client
from hector.emulator.template import load
from hector.errors import ConfigError
from tests.lambda_ import built
from tests.lambda_.aws_clients import call, client
from tests.lambda_.conftest import TOYS
from tests.support import wait_until

TEMPLATE = f"""
Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    Runtime: {built.RUNTIME}
    Architectures: [{built.ARCHITECTURE}]
Resources:
  Work:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: !Sub "${{AWS::StackName}}-work"
      VisibilityTimeout: 5
      RedrivePolicy: {{deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 2}}
  Dead: {{Type: AWS::SQS::Queue}}
  Sender:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: toys
      Handler: worker.sender
      Timeout: 20
      Environment: {{Variables: {{QUEUE: !Ref Work}}}}
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: toys
      Handler: worker.handler
      Timeout: 5
      Environment: {{Variables: {{QUEUE: !Ref Work}}}}
      Events:
        Work:
          Type: SQS
          Properties: {{Queue: !GetAtt Work.Arn, BatchSize: 1, FunctionResponseTypes: [ReportBatchItemFailures]}}
        Sweep: {{Type: Schedule, Properties: {{Schedule: rate(1 minute)}}}}
        Told: {{Type: Schedule, Properties: {{Schedule: rate(2 hours), Input: '{{"hello": 1}}'}}}}
        Nightly: {{Type: Schedule, Properties: {{Schedule: "cron(0 3 * * ? *)"}}}}
        Asleep: {{Type: Schedule, Properties: {{Schedule: rate(1 minute), Enabled: false}}}}
        Expired:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt Table.StreamArn
            StartingPosition: LATEST
            MaximumRetryAttempts: 1
            BisectBatchOnFunctionError: true
            DestinationConfig: {{OnFailure: {{Destination: !GetAtt Dead.Arn}}}}
            FilterCriteria:
              Filters: [Pattern: '{{"eventName": ["REMOVE"], "dynamodb": {{"Keys": {{"sk": {{"S": ["hot"]}}}}}}}}']
  Once:
    Type: AWS::Serverless::Function
    Properties: {{CodeUri: toys, Handler: worker.handler, EventInvokeConfig: {{MaximumRetryAttempts: 0}}}}
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{{AttributeName: pk, AttributeType: S}}, {{AttributeName: sk, AttributeType: S}}]
      KeySchema: [{{AttributeName: pk, KeyType: HASH}}, {{AttributeName: sk, KeyType: RANGE}}]
      StreamSpecification: {{StreamViewType: NEW_AND_OLD_IMAGES}}
"""
URL = "https://sqs.us-east-1.amazonaws.com/000000000000/emulator-work"


class Deployed:
    """The emulator, and what the worker has written down."""

    def __init__(self, aws: Emulator, seen: Path) -> None:
        self.aws, self._seen = aws, seen
        self.sqs = client("sqs", aws.url)

    async def send(self, text: str, **options: Any) -> Any:
        return await call(self.sqs.send_message, QueueUrl=URL, MessageBody=text, **options)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._seen.read_text().splitlines()] if self._seen.exists() else []

    def records(self, body: str) -> list[dict[str, Any]]:
        return [one for event in self.events() for one in event.get("Records", []) if one.get("body") == body]


Deploy = Callable[..., Awaitable[Deployed]]


def written(folder: Path, template: str = TEMPLATE) -> Path:
    (folder / "toys").symlink_to(TOYS)
    (folder / "template.yaml").write_text(template)
    return folder / "template.yaml"


@pytest.fixture
async def deploy(tmp_path: Path) -> AsyncIterator[Deploy]:
    async def start(template: str = TEMPLATE, **options: Any) -> Deployed:
        table = f"emulated-{uuid.uuid4().hex[:8]}"
        aws = Emulator.from_template(
            written(tmp_path, template),
            resources={"Table": table},
            environment={"SEEN": str(tmp_path / "seen")},
            **options,
        )
        return Deployed(await stack.enter_async_context(aws), tmp_path / "seen")

    async with AsyncExitStack() as stack:
        yield start


async def test_a_function_sends_and_another_receives(deploy: Deploy) -> None:
    deployed = await deploy()
    sent = await call(
        client("lambda", deployed.aws.url).invoke, FunctionName="Sender", Payload=json.dumps({"text": "hello"})
    )
    message = json.loads(sent["Payload"].read())["sent"]
    await wait_until(lambda: bool(deployed.records("hello")), 15)
    (record,) = deployed.records("hello")
    assert record["messageId"] == message
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"] == "arn:aws:sqs:us-east-1:000000000000:emulator-work"
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    await wait_until(lambda: deployed.aws.queues["emulator-work"].messages == [])


async def test_what_fails_is_delivered_again_and_then_a_dead_letter(deploy: Deploy) -> None:
    deployed = await deploy()
    await deployed.send("fail", MessageAttributes={"colour": {"DataType": "String", "StringValue": "red"}})
    await deployed.send("break")
    await deployed.send("fine")
    await wait_until(lambda: len(deployed.aws.queues["Dead"].messages) == 2, 30)
    for text in ("fail", "break"):
        counts = [record["attributes"]["ApproximateReceiveCount"] for record in deployed.records(text)]
        assert counts == ["1", "2"]
    assert len(deployed.records("fine")) == 1
    attributes = deployed.records("fail")[0]["messageAttributes"]
    assert (attributes["colour"]["stringValue"], attributes["colour"]["dataType"]) == ("red", "String")
    await wait_until(lambda: deployed.aws.queues["emulator-work"].messages == [])


async def test_a_function_decides_when_its_message_comes_again(deploy: Deploy) -> None:
    deployed = await deploy()
    await deployed.send("hide")
    await wait_until(lambda: len(deployed.records("hide")) == 2, 20)
    first, second = (record["attributes"] for record in deployed.records("hide"))
    assert second["ApproximateReceiveCount"] == "2"
    assert second["ApproximateFirstReceiveTimestamp"] == first["ApproximateFirstReceiveTimestamp"]
    await wait_until(lambda: deployed.aws.queues["emulator-work"].messages == [])


async def test_a_function_that_sends_itself_messages_is_stopped_unless_it_may(
    deploy: Deploy, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    deployed = await deploy()
    await deployed.send("loop")
    await wait_until(lambda: len(deployed.aws.queues["Dead"].messages) == 1, 30)
    assert len(deployed.records("loop")) == Limits().recursion
    assert "limit recursion (16): Worker sends itself messages; 'loop'" in capfd.readouterr().err
    await wait_until(lambda: deployed.aws.queues["emulator-work"].messages == [])  # the last worker is done, too
    await deployed.send("loop")
    await wait_until(lambda: len(deployed.records("loop")) > Limits().recursion + 1, 15)  # another chain


async def test_a_function_that_may_loop(deploy: Deploy) -> None:
    allowed = TEMPLATE.replace(
        "Handler: worker.handler\n      Timeout: 5",
        "Handler: worker.handler\n      Timeout: 5\n      RecursiveLoop: Allow",
        1,
    )
    deployed = await deploy(template=allowed)
    await deployed.send("loop")
    await wait_until(lambda: len(deployed.records("loop")) > Limits().recursion + 3, 30)
    assert deployed.aws.queues["Dead"].messages == []


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[tuple[Any, str]]:
    """boto3's client, and a queue that no function gets messages of."""
    limits = Limits(message=1000, message_delay=60, message_visibility=600)
    async with Emulator(stack=load(written(tmp_path)), limits=limits, environment={"SEEN": "/dev/null"}) as aws:
        sqs = client("sqs", aws.url)
        yield sqs, (await call(sqs.get_queue_url, QueueName="Dead"))["QueueUrl"]


async def test_a_queue_speaks_sqs(queue: tuple[Any, str]) -> None:
    sqs, url = queue
    assert (await call(sqs.list_queues, QueueNamePrefix="De"))["QueueUrls"] == [url]
    attributes = {"n": {"DataType": "Number", "StringValue": "1"}, "b": {"DataType": "Binary", "BinaryValue": b"\0"}}
    entries = [{"Id": str(number), "MessageBody": f"m{number}"} for number in range(3)]
    assert len((await call(sqs.send_message_batch, QueueUrl=url, Entries=entries))["Successful"]) == 3
    await call(sqs.send_message, QueueUrl=url, MessageBody="later", DelaySeconds=60)
    await call(sqs.send_message, QueueUrl=url, MessageBody="more", MessageAttributes=attributes)
    wanted = {"MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["All"]}
    messages = (await call(sqs.receive_message, QueueUrl=url, **wanted))["Messages"]
    assert [message["Body"] for message in messages] == ["m0", "m1", "m2", "more"]
    assert messages[0]["Attributes"]["ApproximateReceiveCount"] == "1"
    assert messages[3]["MessageAttributes"]["b"]["BinaryValue"] == b"\0"
    counted = (await call(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["All"]))["Attributes"]
    assert counted["ApproximateNumberOfMessages"] == "0"
    assert counted["ApproximateNumberOfMessagesNotVisible"] == "4"
    assert counted["ApproximateNumberOfMessagesDelayed"] == "1"
    assert counted["QueueArn"].endswith(":Dead")
    await call(sqs.delete_message, QueueUrl=url, ReceiptHandle=messages[0]["ReceiptHandle"])
    hidden = {"QueueUrl": url, "ReceiptHandle": messages[1]["ReceiptHandle"], "VisibilityTimeout": 0}
    await call(sqs.change_message_visibility, **hidden)
    again = await call(sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
    assert [message["Body"] for message in again["Messages"]] == ["m1"]
    with pytest.raises(ClientError) as stale:
        await call(sqs.change_message_visibility, **hidden)
    assert stale.value.response["Error"]["Code"] == "ReceiptHandleIsInvalid"
    await call(sqs.purge_queue, QueueUrl=url)
    assert "Messages" not in await call(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=0)


async def test_the_message_digests_are_those_of_aws(queue: tuple[Any, str]) -> None:
    sqs, url = queue
    attributes = {"a": {"DataType": "String", "StringValue": "b"}}
    sent = await call(sqs.send_message, QueueUrl=url, MessageBody="x", MessageAttributes=attributes)
    # As moto, which many test against, computes them too.
    from moto.sqs.models import Message

    other = Message("id", "x", system_attributes={})
    other.message_attributes = attributes
    assert sent["MD5OfMessageBody"] == other.body_md5
    assert sent["MD5OfMessageAttributes"] == other.attribute_md5


async def test_what_a_queue_refuses(queue: tuple[Any, str]) -> None:
    sqs, url = queue
    refusals: list[tuple[Any, dict[str, Any], str]] = [
        (sqs.get_queue_url, {"QueueName": "nowhere"}, "AWS.SimpleQueueService.NonExistentQueue"),
        (sqs.send_message, {"QueueUrl": url, "MessageBody": "x" * 1001}, "InvalidParameterValue"),
        (sqs.send_message, {"QueueUrl": url, "MessageBody": ""}, "MissingParameter"),
        (sqs.send_message, {"QueueUrl": url, "MessageBody": "x", "DelaySeconds": 61}, "InvalidParameterValue"),
        (sqs.receive_message, {"QueueUrl": url, "MaxNumberOfMessages": 11}, "InvalidParameterValue"),
        (sqs.receive_message, {"QueueUrl": url, "VisibilityTimeout": 601}, "InvalidParameterValue"),
        (sqs.create_queue, {"QueueName": "new"}, "InvalidAction"),
    ]
    for operation, parameters, code in refusals:
        with pytest.raises(ClientError) as refused:
            await call(operation, **parameters)
        assert refused.value.response["Error"]["Code"] == code


async def test_a_schedule_is_kept(deploy: Deploy) -> None:
    deployed = await deploy(speed=120)  # a minute is half a second, two hours are one minute
    await wait_until(lambda: len(deployed.events()) >= 2, 15)
    event = deployed.events()[0]
    assert event["source"] == "aws.events"
    assert event["detail-type"] == "Scheduled Event"
    assert event["resources"][0].startswith("arn:aws:events:us-east-1:000000000000:rule/WorkerSweep")


@pytest.mark.parametrize(("function", "attempts"), [("Worker", 3), ("Once", 1)])
async def test_a_failed_event_is_tried_again_as_often_as_the_template_says(
    deploy: Deploy, function: str, attempts: int, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed = await deploy(limits=Limits(event_retry_wait=0.1))
    breaking = json.dumps({"Records": [{"body": "break"}]})
    invoke = client("lambda", deployed.aws.url).invoke
    await call(invoke, FunctionName=function, InvocationType="Event", Payload=breaking)
    told = ""

    def given_up() -> bool:
        nonlocal told
        told += capsys.readouterr().err
        return f"{function} failed and its event is dropped" in told

    await wait_until(given_up, 30)
    assert len(deployed.records("break")) == attempts


def test_what_is_scheduled_and_what_is_not(tmp_path: Path) -> None:
    stack = load(written(tmp_path))
    assert stack.schedules == (
        Schedule("WorkerSweep", "Worker", 60),
        Schedule("WorkerTold", "Worker", 7200, '{"hello": 1}'),
    )
    notes = "\n".join(stack.notes)
    assert "WorkerNightly: cron(0 3 * * ? *) is not delivered; only rate(…) is" in notes
    assert "WorkerAsleep: the schedule is disabled" in notes


async def test_a_tables_changes_are_filtered_and_delivered(deploy: Deploy, dynamodb_local: str) -> None:
    deployed = await deploy(dynamodb=dynamodb_local)
    (table,) = deployed.aws.stack.tables
    dynamodb = dynamodb_client(dynamodb_local)

    def change() -> None:
        for pk in ("one", "break"):
            for sk in ("hot", "cold"):
                key = {"pk": {"S": pk}, "sk": {"S": sk}}
                dynamodb.put_item(TableName=table, Item={**key, "data": {"B": b"\0\1"}})
                dynamodb.update_item(
                    TableName=table,
                    Key=key,
                    UpdateExpression="SET lease = :l",
                    ExpressionAttributeValues={":l": {"N": "1"}},
                )
                dynamodb.delete_item(TableName=table, Key=key)

    await asyncio.to_thread(change)
    await wait_until(lambda: len(deployed.aws.queues["Dead"].messages) == 1, 30)
    records = [record for event in deployed.events() for record in event["Records"]]
    keys = {record["dynamodb"]["Keys"]["pk"]["S"] for record in records}
    assert keys == {"one", "break"}
    assert {(one["eventName"], one["dynamodb"]["Keys"]["sk"]["S"]) for one in records} == {("REMOVE", "hot")}
    assert records[0]["dynamodb"]["OldImage"]["data"] == {"B": "AAE="}
    assert records[0]["eventSourceARN"].startswith("arn:aws:dynamodb:")
    dynamodb.close()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"a": ["x"]}, True),
        ({"a": ["y", "x"]}, True),
        ({"a": ["y"]}, False),
        ({"b": {"c": [1]}}, True),
        ({"b": {"c": [True]}}, False),
        ({"b": {"d": [1]}}, False),
        ({"b": {"d": [{"exists": False}]}}, True),
        ({"a": [{"prefix": "x"}], "b": {"c": [{"numeric": [">", 0, "<=", 1]}]}}, True),
        ({"a": [{"anything-but": ["x"]}]}, False),
        ({"a": [{"suffix": "z"}]}, False),
        ({"a": [{"equals-ignore-case": "X"}]}, True),
        ({"$or": [{"a": ["y"]}, {"b": {"c": [1]}}]}, True),
        ({"n": [None]}, True),
        ({"m": [None]}, False),
        ({"l": ["q"]}, True),
    ],
)
def test_filters(pattern: dict[str, Any], expected: bool) -> None:
    assert passes({"a": "x", "b": {"c": 1}, "n": None, "l": ["p", "q"]}, [pattern]) is expected


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("VisibilityTimeout: 5", "VisibilityTimeout: 4", r"visibility timeout \(4 s\) is shorter than the timeout of"),
        ("QueueName: !Sub", "FifoQueue: true\n      QueueName: !Sub", "first-in-first-out queues are not emulated"),
        ("CodeUri: toys", "CodeUri: nowhere", "nowhere is not there. Build it: sam build"),
        (f"Runtime: {built.RUNTIME}", "Runtime: python3.9", f"is for python3.9 on {built.ARCHITECTURE}; this is"),
        ('"REMOVE"', '{"wild": "*"}', "does not know the filter rule 'wild'"),
        ('["REMOVE"]', '"REMOVE"', "a filter's pattern gives eventName a plain value"),
    ],
)
def test_what_cannot_be_run(tmp_path: Path, old: str, new: str, reason: str) -> None:
    assert old in TEMPLATE
    template = written(tmp_path, TEMPLATE.replace(old, new))
    with pytest.raises(ConfigError, match=reason):
        load(template)
