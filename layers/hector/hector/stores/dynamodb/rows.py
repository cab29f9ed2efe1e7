"""Rows of plain values ⇄ items as DynamoDB's API writes them: strings, whole numbers, booleans and lists by name."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
Key = tuple[str, str]
"""A session's id and a sort key."""


def typed(row: Row) -> dict[str, dict[str, Any]]:
    return {name: _typed(value) for name, value in row.items()}


def plain(item: dict[str, dict[str, Any]]) -> Row:
    return {name: _plain(value) for name, value in item.items()}


def _typed(value: str | int | bool | list[str]) -> dict[str, Any]:
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case list():
            return {"L": [_typed(entry) for entry in value]}
        case _:
            raise TypeError(f"{type(value).__name__} has no place in an item")


def _plain(value: dict[str, Any]) -> Any:
    [(kind, content)] = value.items()
    match kind:
        case "N":
            return int(content)
        case "L":
            return [_plain(entry) for entry in content]
        case _:
            return content
