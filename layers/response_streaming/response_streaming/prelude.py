"""The first bytes of a streamed HTTP answer: status and headers as JSON, then eight NUL bytes.

API Gateway and Function URLs read them before they pass anything on ("Set up a Lambda proxy integration with payload
response streaming in API Gateway"). They accept four keys and look no further than 16 KB.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
DELIMITER = bytes(8)
LIMIT = 16 * 1024

HeaderPairs = Iterable[tuple[bytes, bytes]]

# Named by RFC 9110 section 7.6.1: they describe the connection to the client, which belongs to the gateway.
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}


class PreludeTooLarge(ValueError):
    """Status and headers do not fit into the 16 KB that the gateway reads."""


def encode_prelude(status: int, headers: HeaderPairs, *, multi_value: bool = True) -> bytes:
    """The prelude of an answer, delimiter included.

    ``multi_value`` is for REST APIs: a header that occurs twice goes into ``multiValueHeaders``. Function URLs know no
    such key, so there its values are joined with a comma (RFC 9110 section 5.3). ``Set-Cookie`` cannot be joined and
    goes into ``cookies`` for both. Raises PreludeTooLarge.
    """
    values: dict[str, list[str]] = {}
    for raw_name, value in headers:
        name = raw_name.decode("latin-1").lower()
        if name not in _HOP_BY_HOP:
            values.setdefault(name, []).append(value.decode("latin-1"))
    cookies = values.pop("set-cookie", [])

    content: dict[str, object] = {"statusCode": status}
    repeated = {name: found for name, found in values.items() if len(found) > 1} if multi_value else {}
    content["headers"] = {name: ", ".join(found) for name, found in values.items() if name not in repeated}
    if repeated:
        content["multiValueHeaders"] = repeated
    if cookies:
        content["cookies"] = cookies

    prelude = json.dumps(content, separators=(",", ":")).encode() + DELIMITER
    if len(prelude) > LIMIT:
        largest = max(values, key=lambda name: len("".join(values[name])), default="set-cookie")
        raise PreludeTooLarge(
            f"Status and headers take {len(prelude)} bytes; the gateway reads {LIMIT} at most. "
            f"The largest header is {largest!r}: send less in it, or move it into the body."
        )
    return prelude
