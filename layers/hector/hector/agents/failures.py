"""What goes wrong between an agent and its model, as errors with a stable code and a sentence that says what to do.

The same for every kind of model server, so that a client needs to know one list:

model_no_credentials, model_unauthorized   no key; a key that is refused
model_not_found, model_misconfigured       an unknown model; a setting that cannot work
model_throttled, model_overloaded          too many requests; the server is out of order for now
model_unreachable, model_timeout           no connection; no answer in time
model_disconnected, model_bad_answer       cut in the middle; not understood
model_refused                              the server refuses this request
content_filtered, context_overflow         stopped by a filter or guardrail; the conversation is too long
unsupported_input                          the model does not take a part of the message
sdk_missing                                the vendor's SDK is not installed
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time

from hector.errors import ModelError

MAX_REASON = 300
_OVERFLOW = re.compile(
    r"context.{0,12}(length|window|size)|(prompt|input|message)s?( is| are)? too (long|large)|too many (input )?tokens"
    r"|maximum (context|number of (input )?tokens)",
    re.IGNORECASE | re.DOTALL,
)
_FILTERED = re.compile(r"content[ _](filter|management policy)|guardrail", re.IGNORECASE)
_TOO_LONG = "The conversation is longer than the model can take: start a new session, or lower memory in hector.yaml."
_BY_STATUS = {
    401: ("model_unauthorized", "The model's server refused the credentials: check the key in hector.yaml."),
    403: ("model_unauthorized", "The credentials may not use this model: check the key and its permissions."),
    404: ("model_not_found", "The model's server does not know this model: check model and base_url in hector.yaml."),
    408: ("model_timeout", "The model's server gave up on the request: try again."),
    413: ("context_overflow", _TOO_LONG),
    429: ("model_throttled", "The model's server is taking no more requests right now: try again in a moment."),
}
_OVERLOADED = ("model_overloaded", "The model's server is overloaded or out of order: try again in a moment.")
_REFUSED = ("model_refused", "The model's server refused the request.")


def refused(status: int, reason: str, *, retry_after: float | None = None) -> ModelError:
    """The error for an HTTP status of the model's server; `reason` is what the server said."""
    if status in (400, 413, 422) and _FILTERED.search(reason):
        return filtered(reason)
    if status in (400, 422) and _OVERFLOW.search(reason):
        code, advice = "context_overflow", _TOO_LONG
    else:
        code, advice = _BY_STATUS.get(status, _OVERLOADED if status >= 500 else _REFUSED)
    retry = status == 429 or status >= 500
    said = f" It said {status}: {reason[:MAX_REASON]}" if reason else f" It said {status}."
    return ModelError(code, advice + said, retry=retry, retry_after=retry_after)


def filtered(reason: str = "") -> ModelError:
    said = f" It said: {reason[:MAX_REASON]}" if reason else ""
    return ModelError(
        "content_filtered", f"The model's content filter stopped the answer: put the question in other words.{said}"
    )


def incomplete(where: str) -> ModelError:
    return ModelError("model_disconnected", f"{where} closed the stream before the answer was complete. Send it again.")


def not_understood(where: str, what: str) -> ModelError:
    return ModelError(
        "model_bad_answer",
        f"{where} sent something that is not understood ({what[:MAX_REASON]}): check its address, or send it again.",
    )


def misconfigured(message: str) -> ModelError:
    return ModelError("model_misconfigured", message)


def no_credentials(message: str) -> ModelError:
    return ModelError("model_no_credentials", message)


def unsupported(message: str) -> ModelError:
    return ModelError("unsupported_input", message)


def sdk_missing(package: str, extra: str) -> ModelError:
    return ModelError(
        "sdk_missing",
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
            "model_unreachable", f"{where} cannot be reached: check its address and the network.", retry=True
        )
    if names & {"TimeoutException", "ReadTimeoutError"}:
        return ModelError("model_timeout", f"{where} did not answer in time: try again, or ask for less.")
    if names & {"TransportError", "HTTPClientError", "HTTPError", "OSError"}:
        kind = type(error).__name__
        return ModelError("model_disconnected", f"The connection to {where} broke ({kind}). Send it again.")
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
