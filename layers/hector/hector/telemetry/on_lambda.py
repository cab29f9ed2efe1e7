"""Powertools for AWS Lambda: log lines as JSON with correlation ids, metrics in the embedded format; and X-Ray.

Powertools is imported with the first log line, or when an invocation is over, never while a function starts or a token
waits: it takes a tenth of a second on a cold start.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from typing import TYPE_CHECKING

from hector import telemetry
from hector.model import Task, session_id_of
from hector.telemetry import Listener, Measure, Times

if TYPE_CHECKING:
    from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

logger = logging.getLogger(__name__)

NAMESPACE = "Hector"
_TALKATIVE = ("boto3", "botocore", "urllib3", "httpcore", "httpx", "anthropic", "openai", "aws_lambda_powertools")
"""At level DEBUG these log requests whole, with all that was said, or every value."""


def listen() -> None:
    """For the rest of this process, which is one of Lambda's."""
    if importlib.util.find_spec("aws_lambda_powertools") is None:
        logger.warning("There are no metrics: pip install 'hector-serverless[lambda]' brings Powertools.")
        return
    service = os.environ.get("HECTOR_STACK") or os.environ.get("AWS_LAMBDA_FUNCTION_NAME") or "hector"
    root = logging.getLogger()
    if level := os.environ.get("POWERTOOLS_LOG_LEVEL"):
        root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.INFO, root.level))
    for handler in root.handlers:  # Lambda's own, which is there before the function
        handler.setFormatter(LogLines(service))
    telemetry.listen(LambdaListener(service))


class LambdaListener(Listener):
    def __init__(self, service: str) -> None:
        self._service = service
        self._sums: dict[Measure, float] = {}
        self._first_tokens: list[float] = []
        self._turns: list[tuple[Task, Times]] = []

    def count(self, measure: Measure, value: float) -> None:
        if measure is Measure.FIRST_TOKEN:
            self._first_tokens.append(value)
        else:
            self._sums[measure] = self._sums.get(measure, 0) + value

    def turn_ended(self, task: Task, times: Times) -> None:
        self._turns.append((task, times))

    def flush(self) -> None:
        turns, self._turns = self._turns, []
        for task, times in turns:
            self._tell(task, times)
        if self._sums or self._first_tokens:
            self._put_metrics()

    def _tell(self, task: Task, times: Times) -> None:
        from hector.telemetry.xray import send_subsegment

        told: dict[str, str | int] = {
            "task_id": task.id,
            "session_id": task.session_id,
            "agent_id": task.agent_id,
            "state": task.state.value,
            "events": task.last_event,
            "ms": round((times.ended - times.began) * 1000),
        }
        if task.error is not None:
            told["error_code"] = task.error.code
        if times.first_token is not None:
            told["first_token_ms"] = round(times.first_token * 1000 - task.created_at)
        if task.usage is not None:
            told |= {"input_tokens": task.usage.input_tokens, "output_tokens": task.usage.output_tokens}
        logger.info("turn ended", extra=told)
        send_subsegment("turn", times.began, times.ended, failed=task.error is not None, annotations=told)

    def _put_metrics(self) -> None:
        from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

        metrics = EphemeralMetrics(namespace=NAMESPACE, service=self._service)
        for measure, value in self._sums.items():
            metrics.add_metric(measure.value, MetricUnit.Count, value)
        for value in self._first_tokens:
            metrics.add_metric(Measure.FIRST_TOKEN.value, MetricUnit.Milliseconds, value)
        self._sums.clear()
        self._first_tokens.clear()
        metrics.flush_metrics()


class LogLines(logging.Formatter):
    """Powertools' JSON, a line each, with the ids of request, task and session."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service
        self._powertools: LambdaPowertoolsFormatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._powertools is None:
            from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

            self._powertools = LambdaPowertoolsFormatter(utc=True)
            self._powertools.append_keys(service=self._service)
        if request_id := telemetry.REQUEST.get():
            record.correlation_id = request_id
        if task_id := telemetry.TASK.get():
            record.task_id = task_id
            record.session_id = session_id_of(task_id)
        return self._powertools.format(record) + "\n"  # as Lambda's own formatters do: its sink adds none
