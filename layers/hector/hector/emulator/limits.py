"""AWS's limits, each with the page that it comes from. What would break one there breaks it here.

Sizes are in bytes, times in seconds, rates in bytes per second.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from hector.errors import ConfigError

_DOCS = "https://docs.aws.amazon.com/"
_STREAMS = _DOCS + "apigateway/latest/developerguide/response-transfer-mode.html"
_PRELUDE = _DOCS + "apigateway/latest/developerguide/response-transfer-mode-lambda.html"
_GATEWAY = _DOCS + "apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html"
_LAMBDA = _DOCS + "lambda/latest/dg/gettingstarted-limits.html"
_LAMBDA_STREAMS = _DOCS + "lambda/latest/dg/configuration-response-streaming.html"
_ASYNCHRONOUS = _DOCS + "lambda/latest/dg/invocation-async-error-handling.html"
_RECURSION = _DOCS + "lambda/latest/dg/invocation-recursion.html"
_QUEUE = _DOCS + "AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"

MB = 1024 * 1024


def _limit(value: float, page: str, breach: str) -> Any:
    return field(default=value, metadata={"page": page, "breach": breach})


@dataclass(frozen=True)
class Limits:
    """Every limit that is enforced; a test makes one smaller with ``Limits(stream_idle_regional=0.5)``."""

    prelude: int = _limit(16 * 1024, _PRELUDE, "500: status, headers and 8 NUL bytes have to come first")
    stream_total: float = _limit(900, _STREAMS, "the stream is cut; 504 if nothing was sent")
    stream_idle_regional: float = _limit(300, _STREAMS, "the stream is cut; 504 if nothing was sent")
    stream_idle_edge: float = _limit(30, _STREAMS, "the same, behind an edge-optimised endpoint")
    stream_size: int = _limit(200 * MB, _LAMBDA_STREAMS, "the stream is cut")
    stream_uncapped: int = _limit(6 * MB, _LAMBDA_STREAMS, "what follows is slowed down to stream_rate")
    stream_rate: float = _limit(2 * MB, _LAMBDA_STREAMS, "what follows stream_uncapped comes no faster")
    buffered_timeout: float = _limit(29, _GATEWAY, "504")
    gateway_payload: int = _limit(10 * MB, _GATEWAY, "413: the body of a request")
    gateway_headers: int = _limit(10_240, _GATEWAY, "413: request line and header values together")
    request: int = _limit(6 * MB, _LAMBDA, "413: the event, as JSON")
    response: int = _limit(6 * MB, _LAMBDA, "502: a buffered answer; Function.ResponseSizeTooLarge for boto3")
    event: int = _limit(MB, _LAMBDA, "413: the payload of an asynchronous invocation")
    event_retries: int = _limit(2, _ASYNCHRONOUS, "an event is dropped after so many further attempts")
    event_retry_wait: float = _limit(60, _ASYNCHRONOUS, "before the first further attempt; twice that before the next")
    recursion: int = _limit(
        16, _RECURSION, "invocations by a chain of messages; the next is stopped, unless RecursiveLoop is Allow"
    )
    function_timeout: float = _limit(900, _LAMBDA, "refused at the start")
    environment: int = _limit(4096, _LAMBDA, "refused at the start: all variables of a function together")
    layers: int = _limit(5, _LAMBDA, "refused at the start")
    package: int = _limit(250 * MB, _LAMBDA, "refused at the start: code and layers together, unpacked")
    message: int = _limit(MB, _QUEUE, "InvalidParameterValue: a message of a queue")
    message_delay: float = _limit(900, _QUEUE, "InvalidParameterValue")
    message_visibility: float = _limit(43_200, _QUEUE, "InvalidParameterValue")

    @classmethod
    def page(cls, name: str) -> str:
        """The address of the page that says it."""
        return str(_fields()[name].metadata["page"])

    @classmethod
    def breach(cls, name: str) -> str:
        """What happens beyond it."""
        return str(_fields()[name].metadata["breach"])

    def replaced(self, values: dict[str, str]) -> Limits:
        """These limits with some changed, by name. Raises ConfigError."""
        changed: dict[str, Any] = {}
        for name, value in values.items():
            if name not in _fields():
                raise ConfigError(f"--limit {name}: no such limit; there are {', '.join(_fields())}.")
            try:
                changed[name] = int(value) if _fields()[name].type == "int" else float(value)
            except ValueError:
                raise ConfigError(
                    f"--limit {name}={value}: {value!r} is not a number like {getattr(self, name):g}."
                ) from None
        return dataclasses.replace(self, **changed)

    def say(self, name: str, what: str) -> str:
        """A line for people: what happened, against which limit, and who says so."""
        return f"limit {name} ({getattr(self, name):g}): {what} [{self.page(name)}]"


def _fields() -> dict[str, dataclasses.Field[Any]]:
    return {one.name: one for one in dataclasses.fields(Limits)}
