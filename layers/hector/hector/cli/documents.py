"""What the API answers, as JSON objects; whatever else may answer at an address is told apart by what it lacks."""

from __future__ import annotations

import json
from typing import Any

import httpx

from hector.cli.exits import Refused


class Document(dict[str, Any]):
    """A JSON object, also within another. Reading a field that it lacks raises Refused."""

    def __missing__(self, field: str) -> Any:
        raise Refused(f"The server is not of this version, or not of this API: an answer of it has no {field}.")


def document(response: httpx.Response, *fields: str) -> Document:
    """The object that an answer is, which has these fields. Raises Refused."""
    try:
        read = json.loads(response.content, object_hook=Document)
    except ValueError:
        raise stranger(response) from None
    if not isinstance(read, Document) or any(field not in read for field in fields):
        raise stranger(response)
    return read


def stranger(response: httpx.Response) -> Refused:
    return Refused(f"What answers at {response.url} is not this API. Is the address of the server right?")
