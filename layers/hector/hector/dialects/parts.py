"""The parts of a message as requests have them, checked and turned into the model's. Errors name the field."""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import b64decode
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from hector.errors import InputTooLarge, InvalidRequest
from hector.model import Message, Part, Role

MAX_MESSAGE_BYTES = 1024 * 1024
"""Texts and files together, files as base64."""

MAX_URL_LENGTH = 2048
MAX_NAME_LENGTH = 255
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}", re.ASCII | re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTENTS = ("text", "raw", "url")


def input_part(media_type: str, content: str) -> Part:
    """The part that a task's `input` stands for. Raises InvalidRequest."""
    media_type = _media_type(media_type, "input.type")
    if media_type.startswith("text/"):
        return Part(_text(content, "input.content"), media_type)
    wrong = f"input.content is not base64: it must be base64, as {media_type} is no text/… type."
    return Part(raw=_decoded(content, "input.content", wrong), media_type=media_type)


def part_of(data: dict[str, Any], field: str, *, nul: bool = False) -> Part:
    """The part of a message; `data` has `type`, `text`, `raw`, `url`, `mediaType`, `filename`.

    A text may hold NUL characters only with `nul`. Raises InvalidRequest.
    """
    given = [name for name in _CONTENTS if data[name] is not None]
    if not given:
        missing = f"{field}.raw" if data["type"] == "file" else f"{field}.text"
        raise InvalidRequest(f"{missing} is missing: a part is one of text, raw and url.", field=missing)
    if len(given) > 1:
        raise InvalidRequest(f"{field} has {' and '.join(given)}: send one of them.", field=f"{field}.{given[1]}")
    if data["type"] is not None and (data["type"] == "text") != (given == ["text"]):
        raise InvalidRequest(f"{field}.type is {data['type']}, but the part has {given[0]}.", field=f"{field}.type")
    name = data["filename"]
    if name is not None and (not 0 < len(name) <= MAX_NAME_LENGTH or _CONTROL.search(name)):
        raise InvalidRequest(
            f"{field}.filename must have 1 to {MAX_NAME_LENGTH} characters, none of them control characters.",
            field=f"{field}.filename",
        )
    if data["mediaType"] is None and given != ["text"]:
        raise InvalidRequest(
            f"{field}.mediaType is missing: say what the file is, such as image/png.", field=f"{field}.mediaType"
        )
    media_type = _media_type(data["mediaType"] or "text/plain", f"{field}.mediaType")
    match given:
        case ["text"]:
            text = data["text"] if nul else _text(data["text"], f"{field}.text")
            return Part(text, media_type, filename=name)
        case ["raw"]:
            return Part(raw=_decoded(data["raw"], f"{field}.raw"), media_type=media_type, filename=name)
        case _:
            return Part(url=_url(data["url"], f"{field}.url"), media_type=media_type, filename=name)


def message_of(parts: Sequence[tuple[Part, str]], role: Role = Role.USER) -> Message:
    """The message of these parts, each with the field that it came from. Raises InputTooLarge."""
    size = 0
    for part, field in parts:
        size += len((part.text or part.url or "").encode()) + (len(part.raw or b"") + 2) // 3 * 4
        if size > MAX_MESSAGE_BYTES:
            advice = "" if part.text is not None else ", files as base64: send a large file by its url"
            raise InputTooLarge(f"The message is larger than {MAX_MESSAGE_BYTES:,} bytes{advice}.", field=field)
    return Message(role, tuple(part for part, _ in parts))


def fingerprint(part: Part) -> list[str | None]:
    """What tells this part from another one, for idempotency keys."""
    if part.text is not None and part.filename is None:
        return [part.media_type, part.text]
    digest = None if part.raw is None else hashlib.sha256(part.raw).hexdigest()
    return [part.media_type, part.text, part.url, part.filename, digest]


def _text(text: str, field: str) -> str:
    if "\0" in text:
        raise InvalidRequest("The text holds a NUL character.", field=field)
    return text


def _media_type(text: str, field: str) -> str:
    """In small letters. A text is characters here, whatever the parameters of its type say: they are dropped."""
    if text[:5].lower() == "text/":
        text = text.partition(";")[0].rstrip(" \t")
    if not _MEDIA_TYPE.fullmatch(text):
        raise InvalidRequest(f"{field} must be a media type, such as text/plain or image/png.", field=field)
    return text.lower()


def _decoded(text: str, field: str, wrong: str | None = None) -> bytes:
    """Base64 with either alphabet, padded or not, as ProtoJSON has it."""
    standard = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(wrong or f"{field} is not base64.", field=field) from None
    if not raw:
        raise InvalidRequest(f"{field} is empty.", field=field)
    return raw


def _url(text: str, field: str) -> str:
    try:
        url = urlsplit(text)
    except ValueError:
        url = urlsplit("")
    if url.scheme not in ("https", "http", "s3") or not url.netloc or _CONTROL.search(text) or " " in text:
        raise InvalidRequest(f"{field} must be a URL that begins with https://, http:// or s3://.", field=field)
    if len(text) > MAX_URL_LENGTH:
        raise InvalidRequest(f"{field} is longer than {MAX_URL_LENGTH:,} characters.", field=field)
    return text
