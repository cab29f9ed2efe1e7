"""SQS's JSON protocol, for boto3: what ``AWS_ENDPOINT_URL_SQS`` leads to.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from hector.emulator.http import HttpConnection, Request
from hector.emulator.limits import Limits
from hector.emulator.model import ACCOUNT
from hector.emulator.queues import Message, Queue

_TARGET = "AmazonSQS."
_SECONDS_OF_LONG_POLLING = 20
_MOST_MESSAGES = 10

Json = dict[str, Any]


class SqsError(Exception):
    """``code`` is the error's name in the JSON protocol, ``legacy`` the one that boto3 shows."""

    def __init__(self, code: str, message: str, legacy: str | None = None) -> None:
        super().__init__(message)
        self.code, self.legacy = code, legacy or code


class SqsService:
    """Answers requests whose target is one of SQS's operations. Queues' URLs begin with ``address``."""

    def __init__(self, queues: Mapping[str, Queue], limits: Limits, address: Callable[[], str]) -> None:
        self._queues, self._limits, self._address = queues, limits, address
        self._operations: dict[str, Callable[[Json], Any]] = {
            "ChangeMessageVisibility": self._change_visibility,
            "ChangeMessageVisibilityBatch": lambda given: self._each(given, self._change_visibility),
            "DeleteMessage": self._delete,
            "DeleteMessageBatch": lambda given: self._each(given, self._delete),
            "GetQueueAttributes": self._attributes,
            "GetQueueUrl": lambda given: {"QueueUrl": self._url(self._named(given["QueueName"]))},
            "ListQueues": self._list,
            "PurgeQueue": self._purge,
            "ReceiveMessage": self._receive,
        }

    @staticmethod
    def takes(request: Request) -> bool:
        return (request.header("X-Amz-Target") or "").startswith(_TARGET)

    async def answer(self, request: Request, body: bytes, connection: HttpConnection) -> None:
        operation = (request.header("X-Amz-Target") or "").removeprefix(_TARGET)
        try:
            given = json.loads(body or b"{}")
            answer = await self.call(operation, given, trace=request.header("X-Amzn-Trace-Id"))
        except SqsError as error:
            content = {"__type": f"com.amazonaws.sqs#{error.code}", "message": str(error)}
            headers = [_JSON, ("x-amzn-query-error", f"{error.legacy};Sender")]
            await connection.respond(400, headers, json.dumps(content).encode())
        else:
            await connection.respond(200, [_JSON], json.dumps(answer).encode())

    async def call(self, operation: str, given: Json, *, trace: str | None = None) -> Json:
        """One operation, and the trace header that it came with. Raises SqsError."""
        send = partial(self._send, trace=trace)
        operations = self._operations | {
            "SendMessage": send,
            "SendMessageBatch": lambda given: self._each(given, send),
        }
        if operation not in operations:
            raise SqsError("InvalidAction", f"The emulator has no SQS operation {operation}.")
        try:
            answer = operations[operation](given)
        except KeyError as error:
            raise SqsError("MissingParameter", f"{operation} needs {error}.") from None
        if operation == "ReceiveMessage":
            answer = await answer
        return answer or {}

    def _named(self, name: str) -> Queue:
        if name not in self._queues:
            known = ", ".join(self._queues) or "none"
            text = f"The specified queue does not exist: {name}. The template has: {known}"
            raise SqsError("QueueDoesNotExist", text, "AWS.SimpleQueueService.NonExistentQueue")
        return self._queues[name]

    def _queue(self, given: Json) -> Queue:
        return self._named(given["QueueUrl"].rsplit("/", 1)[-1])

    def _send(self, given: Json, *, trace: str | None) -> Json:
        queue, body = self._queue(given), given["MessageBody"]
        attributes = given.get("MessageAttributes") or {}
        self._check("message", len(body.encode()) + sum(_size(name, one) for name, one in attributes.items()))
        delay = given.get("DelaySeconds")
        self._check("message_delay", delay or 0)
        if not body:
            raise SqsError("MissingParameter", "The request must contain the parameter MessageBody.")
        message = queue.send(body, delay=delay, attributes=attributes, trace=trace)
        answer = {"MessageId": message.id, "MD5OfMessageBody": _md5(body.encode())}
        return {**answer, "MD5OfMessageAttributes": _attributes_md5(attributes)} if attributes else answer

    async def _receive(self, given: Json) -> Json:
        queue = self._queue(given)
        most = given.get("MaxNumberOfMessages", 1)
        wait = given.get("WaitTimeSeconds", queue.settings.wait)
        visibility = given.get("VisibilityTimeout")
        self._check("message_visibility", visibility or 0)
        if not 1 <= most <= _MOST_MESSAGES or not 0 <= wait <= _SECONDS_OF_LONG_POLLING:
            text = f"MaxNumberOfMessages is 1 to {_MOST_MESSAGES}, WaitTimeSeconds 0 to {_SECONDS_OF_LONG_POLLING}."
            raise SqsError("InvalidParameterValue", text)
        wanted = {*given.get("AttributeNames", ()), *given.get("MessageSystemAttributeNames", ())}
        names = set(given.get("MessageAttributeNames", ()))
        received = await queue.receive(most, wait=wait, visibility=visibility)
        return {"Messages": [_shown(one, wanted, names) for one in received]} if received else {}

    def _delete(self, given: Json) -> None:
        self._queue(given).delete([given["ReceiptHandle"]])

    def _change_visibility(self, given: Json) -> None:
        queue, seconds = self._queue(given), given["VisibilityTimeout"]
        self._check("message_visibility", seconds)
        message = queue.find(given["ReceiptHandle"])
        if message is None:
            raise SqsError("ReceiptHandleIsInvalid", "The input receipt handle is invalid: received again, or deleted.")
        queue.hide(message, seconds)

    def _attributes(self, given: Json) -> Json:
        queue, settings = self._queue(given), self._queue(given).settings
        known: dict[str, object] = {
            "QueueArn": queue.arn,
            "VisibilityTimeout": int(settings.visibility),
            "DelaySeconds": int(settings.delay),
            "ReceiveMessageWaitTimeSeconds": int(settings.wait),
            **queue.counts(),
        }
        if queue.dead_letters is not None:
            target = {"deadLetterTargetArn": queue.dead_letters.arn, "maxReceiveCount": settings.max_receives}
            known["RedrivePolicy"] = json.dumps(target)
        wanted = set(given.get("AttributeNames", ()))
        chosen = {name: str(value) for name, value in known.items() if name in wanted or "All" in wanted}
        return {"Attributes": chosen} if chosen else {}

    def _list(self, given: Json) -> Json:
        prefix = given.get("QueueNamePrefix", "")
        return {"QueueUrls": [self._url(queue) for name, queue in self._queues.items() if name.startswith(prefix)]}

    def _purge(self, given: Json) -> None:
        self._queue(given).messages.clear()

    def _each(self, given: Json, operation: Callable[[Json], Json | None]) -> Json:
        """An operation for every entry of a batch."""
        done: list[Json] = []
        failed: list[Json] = []
        for entry in given["Entries"]:
            try:
                answer = operation({"QueueUrl": given["QueueUrl"], **entry}) or {}
            except SqsError as error:
                failed.append({"Id": entry["Id"], "SenderFault": True, "Code": error.legacy, "Message": str(error)})
            else:
                done.append({"Id": entry["Id"], **answer})
        return {"Successful": done, "Failed": failed}

    def _url(self, queue: Queue) -> str:
        return f"{self._address()}/{ACCOUNT}/{queue.name}"

    def _check(self, limit: str, value: float) -> None:
        if not 0 <= value <= getattr(self._limits, limit):
            raise SqsError("InvalidParameterValue", self._limits.say(limit, f"{value:g} was asked for"))


_JSON = ("Content-Type", "application/x-amz-json-1.0")


def _shown(message: Message, wanted: set[str], names: set[str]) -> Json:
    shown: Json = {
        "MessageId": message.id,
        "ReceiptHandle": message.receipt,
        "Body": message.body,
        "MD5OfBody": _md5(message.body.encode()),
    }
    system = system_attributes(message)
    if chosen := {name: value for name, value in system.items() if name in wanted or "All" in wanted}:
        shown["Attributes"] = chosen
    every = bool(names & {"All", ".*"})
    if picked := {name: value for name, value in message.attributes.items() if every or name in names}:
        shown |= {"MessageAttributes": picked, "MD5OfMessageAttributes": _attributes_md5(picked)}
    return shown


def system_attributes(message: Message) -> dict[str, str]:
    """What SQS itself says of a message that was received."""
    said = {
        "ApproximateReceiveCount": str(message.receives),
        "SentTimestamp": str(message.sent_ms),
        "SenderId": ACCOUNT,
        "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
    }
    return said if message.trace is None else {**said, "AWSTraceHeader": message.trace}


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _size(name: str, attribute: Mapping[str, Any]) -> int:
    return len(name.encode()) + len(attribute["DataType"]) + len(_value(attribute))


def _value(attribute: Mapping[str, Any]) -> bytes:
    if "BinaryValue" in attribute:
        return base64.b64decode(attribute["BinaryValue"])
    return str(attribute.get("StringValue", "")).encode()


def _attributes_md5(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """As "Calculating the MD5 message digest for message attributes" says, so that clients can check it."""
    content = b""
    for name, attribute in sorted(attributes.items()):
        for part in (name.encode(), attribute["DataType"].encode()):
            content += struct.pack(">I", len(part)) + part
        value = _value(attribute)
        content += (b"\2" if "BinaryValue" in attribute else b"\1") + struct.pack(">I", len(value)) + value
    return _md5(content)
