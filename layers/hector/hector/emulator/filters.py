"""Lambda's event filtering: which records reach a function.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from hector.errors import ConfigError

_COMPARED = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_ABSENT = object()


_RULES = {"exists", "anything-but", "prefix", "suffix", "equals-ignore-case", "numeric"}


def check(pattern: Mapping[str, Any]) -> None:
    """A pattern asks for nothing that is not known here. Raises ConfigError."""
    for key, wanted in pattern.items():
        if isinstance(wanted, Mapping):
            check(wanted)
            continue
        if not isinstance(wanted, list):
            raise ConfigError(f"template: a filter's pattern gives {key} a plain value; values stand in a list.")
        for rule in wanted:
            if key == "$or":
                check(rule)
            elif isinstance(rule, Mapping) and (unknown := rule.keys() - _RULES):
                raise ConfigError(f"template: the emulator does not know the filter rule {min(unknown)!r}.")


def passes(record: Mapping[str, Any], patterns: Sequence[Mapping[str, Any]]) -> bool:
    """Whether one of the patterns, which have been checked, takes the record; without patterns every record passes."""
    return not patterns or any(_matches(record, pattern) for pattern in patterns)


def _matches(value: Any, pattern: Mapping[str, Any]) -> bool:
    return all(_matches_key(value, key, wanted) for key, wanted in pattern.items())


def _matches_key(value: Any, key: str, wanted: Any) -> bool:
    if key == "$or":
        return any(_matches(value, one) for one in wanted)
    found = value.get(key, _ABSENT) if isinstance(value, Mapping) else _ABSENT
    if isinstance(wanted, Mapping):
        return _matches(found, wanted)
    return any(_matches_one(found, rule) for rule in wanted)


def _matches_one(found: Any, rule: Any) -> bool:
    if isinstance(found, list):
        return any(_matches_one(item, rule) for item in found)
    if not isinstance(rule, Mapping):
        return found is not _ABSENT and found == rule and isinstance(found, bool) == isinstance(rule, bool)
    ((name, argument),) = rule.items()
    match name:
        case "exists":
            return (found is not _ABSENT) == bool(argument)
        case "anything-but":
            return found is not _ABSENT and found not in (argument if isinstance(argument, list) else [argument])
        case "prefix":
            return isinstance(found, str) and found.startswith(argument)
        case "suffix":
            return isinstance(found, str) and found.endswith(argument)
        case "equals-ignore-case":
            return isinstance(found, str) and found.casefold() == str(argument).casefold()
        case "numeric":
            pairs = zip(argument[::2], argument[1::2], strict=True)
            return isinstance(found, int | float) and all(_COMPARED[sign](found, bound) for sign, bound in pairs)
    raise AssertionError(name)
