"""What schemathesis has to be told: how a body of newline-delimited JSON is written, and read."""

from __future__ import annotations

from typing import Any

import schemathesis

NDJSON = "application/x-ndjson"


@schemathesis.serializer(NDJSON)
def write(ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    return str(value).encode("utf-8", "replace")


@schemathesis.deserializer(NDJSON)
def read(ctx: Any, response: schemathesis.Response) -> str:
    return response.content.decode()
