"""The event sources of a transformed template: queues, tables' streams, schedules."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from hector.emulator.filters import check
from hector.emulator.intrinsics import Scope
from hector.emulator.model import QueueSource, Schedule, TableSource
from hector.errors import ConfigError

_UNITS = {"minute": 60, "hour": 3600, "day": 86_400}


def sources(scope: Scope) -> tuple[tuple[QueueSource | TableSource, ...], list[str]]:
    """The event source mappings, and those that nothing here delivers."""
    found: list[QueueSource | TableSource] = []
    notes: list[str] = []
    for name, resource in scope.resources("AWS::Lambda::EventSourceMapping").items():
        made = scope.resolve(resource["Properties"])
        source = str(made.get("EventSourceArn", ""))
        if made.get("Enabled") in (False, "false"):
            notes.append(f"{name}: the mapping is disabled")
        elif ":sqs:" in source:
            found.append(_queue_source(source.rsplit(":", 1)[-1], made))
        elif ":dynamodb:" in source:
            found.append(_table_source(source.split("/")[1], made))
        else:
            notes.append(f"{name}: events of {source or 'this source'} are not delivered")
    return tuple(found), notes


def schedules(scope: Scope) -> tuple[tuple[Schedule, ...], list[str]]:
    """The schedules with rate(…), and the rules that nothing here delivers."""
    found: list[Schedule] = []
    notes: list[str] = []
    for name, resource in scope.resources("AWS::Events::Rule", "AWS::Scheduler::Schedule").items():
        made = scope.resolve(resource["Properties"])
        expression = str(made.get("ScheduleExpression", ""))
        rate = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
        if made.get("State", "ENABLED") != "ENABLED":
            notes.append(f"{name}: the schedule is disabled")
        elif rate is None:
            notes.append(f"{name}: {expression or 'a rule for events'} is not delivered; only rate(…) is")
        else:
            targets = made.get("Targets") or [made["Target"]]
            found += [
                Schedule(name, _function(target["Arn"]), int(rate[1]) * _UNITS[rate[2]], target.get("Input"))
                for target in targets
            ]
    return tuple(found), notes


def _queue_source(queue: str, made: Mapping[str, Any]) -> QueueSource:
    scaling = made.get("ScalingConfig") or {}
    return QueueSource(
        queue,
        _function(made["FunctionName"]),
        batch=int(made.get("BatchSize", 10)),
        concurrency=int(scaling.get("MaximumConcurrency", 5)),
        item_failures=_reports_items(made),
        filters=_filters(made),
    )


def _table_source(table: str, made: Mapping[str, Any]) -> TableSource:
    retries = int(made.get("MaximumRetryAttempts", -1))
    failures = ((made.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination")
    return TableSource(
        table,
        _function(made["FunctionName"]),
        batch=int(made.get("BatchSize", 100)),
        from_start=made.get("StartingPosition") == "TRIM_HORIZON",
        filters=_filters(made),
        retries=None if retries < 0 else retries,
        bisect=bool(made.get("BisectBatchOnFunctionError")),
        item_failures=_reports_items(made),
        failures=str(failures).rsplit(":", 1)[-1] if failures else None,
    )


def _reports_items(made: Mapping[str, Any]) -> bool:
    return "ReportBatchItemFailures" in (made.get("FunctionResponseTypes") or [])


def _filters(made: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    listed = (made.get("FilterCriteria") or {}).get("Filters") or []
    try:
        patterns = tuple(json.loads(one["Pattern"]) for one in listed)
    except ValueError as error:
        raise ConfigError(f"template: a filter's pattern is no JSON: {error}") from None
    for pattern in patterns:
        check(pattern)
    return patterns


def _function(reference: str) -> str:
    """A function's name out of its name, its ARN, or the ARN of one of its aliases."""
    return reference.split(":function:")[-1].split(":")[0]
