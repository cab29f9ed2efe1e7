"""What goes wrong between an agent and its model, as errors with a stable code and a sentence that says what to do."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from enum import StrEnum
from math import isfinite
from time import time

from hector.errors import ModelError

MAX_REASON = 300


class Code(StrEnum):
    """The same for every kind of model server, so that a client needs to know one list: docs/models.md explains it."""

    NO_CREDENTIALS = "model_no_credentials"
    UNAUTHORIZED = "model_unauthorized"
    NOT_FOUND = "model_not_found"
    MISCONFIGURED = "model_misconfigured"
    THROTTLED = "model_throttled"
    OVERLOADED = "model_overloaded"
    UNREACHABLE = "model_unreachable"
    TIMEOUT = "model_timeout"
    DISCONNECTED = "model_disconnected"
    BAD_ANSWER = "model_bad_answer"
    REFUSED = "model_refused"
    FILTERED = "content_filtered"
    OVERFLOW = "context_overflow"
    UNSUPPORTED = "unsupported_input"
    SDK_MISSING = "sdk_missing"


_OVERFLOW = re.compile(
    r"context.{0,12}(length|window|size)|(prompt|input|message)s?( is| are)? too (long|large)|too many (input )?tokens"
    r"|maximum (context|number of (input )?tokens)",
    re.IGNORECASE | re.DOTALL,
)
_FILTERED = re.compile(r"content[ _](filter|management policy)|guardrail", re.IGNORECASE)
_TOO_LONG = "The conversation is longer than the model can take: start a new session, or lower memory in hector.yaml."
_GAVE_UP = (Code.TIMEOUT, "The model's server gave up on the request: try again.")
_BY_STATUS = {
    401: (Code.UNAUTHORIZED, "The model's server refused the credentials: check the key in hector.yaml."),
    403: (Code.UNAUTHORIZED, "The credentials may not use this model: check the key and its permissions."),
    404: (Code.NOT_FOUND, "The model's server does not know this model: check model and base_url in hector.yaml."),
    408: _GAVE_UP,
    413: (Code.OVERFLOW, _TOO_LONG),
    429: (Code.THROTTLED, "The model's server is taking no more requests right now: try again in a moment."),
    504: _GAVE_UP,
}
_OVERLOADED = (Code.OVERLOADED, "The model's server is overloaded or out of order: try again in a moment.")
_REFUSED = (Code.REFUSED, "The model's server refused the request.")


def refused(status: int, reason: str, *, retry_after: float | None = None) -> ModelError:
    """The error for an HTTP status of the model's server; `reason` is what the server said."""
    if status in (400, 413, 422) and _FILTERED.search(reason):
        return filtered(reason)
    if status in (400, 422) and _OVERFLOW.search(reason):
        code, advice = Code.OVERFLOW, _TOO_LONG
    else:
        code, advice = _BY_STATUS.get(status, _OVERLOADED if status >= 500 else _REFUSED)
    retry = code in (Code.THROTTLED, Code.OVERLOADED)  # what timed out may have been paid for
    said = f" It said {status}: {reason[:MAX_REASON]}" if reason else f" It said {status}."
    return ModelError(code, advice + said, retry=retry, retry_after=retry_after)


def filtered(reason: str = "") -> ModelError:
    said = f" It said: {reason[:MAX_REASON]}" if reason else ""
    return ModelError(
        Code.FILTERED, f"The model's content filter stopped the answer: put the question in other words.{said}"
    )


def incomplete(where: str) -> ModelError:
    return ModelError(Code.DISCONNECTED, f"{where} closed the stream before the answer was complete. Send it again.")


def not_understood(where: str, what: str) -> ModelError:
    return ModelError(
        Code.BAD_ANSWER,
        f"{where} sent something that is not understood ({what[:MAX_REASON]}): check its address, or send it again.",
    )


def misconfigured(message: str) -> ModelError:
    return ModelError(Code.MISCONFIGURED, message)


def no_credentials(message: str) -> ModelError:
    return ModelError(Code.NO_CREDENTIALS, message)


def unsupported(message: str) -> ModelError:
    return ModelError(Code.UNSUPPORTED, message)


def sdk_missing(package: str, extra: str) -> ModelError:
    return ModelError(
        Code.SDK_MISSING,
        f"This agent needs the package {package}, which is not installed here: "
        f"pip install 'hector-serverless[{extra}]'",
    )


def broken(error: Exception, where: str) -> ModelError | None:
    """The error for a connection that failed, as httpx, httpx2, urllib3 or botocore tell it; None: it is another one.

    They are told apart by the names of their classes: which of the libraries a vendor's SDK brings is its own affair.
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"ConnectError", "ConnectTimeout", "PoolTimeout", "EndpointConnectionError", "ConnectTimeoutError"}:
        return ModelError(
            Code.UNREACHABLE, f"{where} cannot be reached: check its address and the network.", retry=True
        )
    if names & {"TimeoutException", "ReadTimeoutError"}:
        return ModelError(Code.TIMEOUT, f"{where} did not answer in time: try again, or ask for less.")
    if names & {"TransportError", "HTTPClientError", "HTTPError", "OSError"}:
        kind = type(error).__name__
        return ModelError(Code.DISCONNECTED, f"The connection to {where} broke ({kind}). Send it again.")
    return None


def retry_after(header: str | None) -> float | None:
    """Seconds, out of a Retry-After header (RFC 9110, section 10.2.3): a number or a date."""
    if not header:
        return None
    try:
        seconds = float(header)
        return max(0.0, seconds) if isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time())
    except ValueError:
        return None
