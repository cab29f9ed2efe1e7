"""AWS's event stream encoding: how a streamed invocation reaches boto3.

A message is prelude, headers, payload and checksum; every number is big-endian
(https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html names the layout).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any
from zlib import crc32

_STRING = 7  # the type of a header whose value is text


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message."""
    encoded = b"".join(_header(name, value) for name, value in headers.items())
    lengths = struct.pack(">II", 16 + len(encoded) + len(payload), len(encoded))
    prelude = lengths + struct.pack(">I", crc32(lengths))
    content = prelude + encoded + payload
    return content + struct.pack(">I", crc32(content))


def payload_chunk(data: bytes) -> bytes:
    """A piece of a function's answer."""
    return message(_event("PayloadChunk", "application/octet-stream"), data)


def invoke_complete(failure: Mapping[str, Any] | None, log: str | None) -> bytes:
    """The end of a function's answer; ``failure`` has ``errorType`` and more, ``log`` is base64."""
    content: dict[str, str] = {}
    if failure is not None:
        content = {"ErrorCode": str(failure.get("errorType")), "ErrorDetails": json.dumps(failure)}
    if log is not None:
        content["LogResult"] = log
    return message(_event("InvokeComplete", "application/json"), json.dumps(content).encode())


def _event(kind: str, content_type: str) -> dict[str, str]:
    return {":event-type": kind, ":content-type": content_type, ":message-type": "event"}


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", _STRING, len(text)) + text
