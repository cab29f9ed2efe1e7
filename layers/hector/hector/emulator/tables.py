"""DynamoDB Local, as far as the emulator needs it: the template's tables, made anew if they are not there."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from hector.emulator.model import REGION
from hector.errors import ConfigError

USUAL = "http://127.0.0.1:8000"  # where DynamoDB Local listens if nobody says otherwise


def answers(url: str) -> bool:
    """Whether something like DynamoDB Local listens there: it refuses a request without an operation."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code == 400 and "amz" in str(answer.headers).lower()
    except (OSError, ValueError):
        return False
    return False


def client(url: str, service: str = "dynamodb") -> Any:
    """boto3's client for DynamoDB Local, or for its streams. Its key is the one that the functions have, because
    DynamoDB Local keeps the tables of each access key and region apart."""
    import boto3

    session = boto3.Session("emulator", "emulator", region_name=REGION)
    return session.client(service, endpoint_url=url)  # type: ignore[call-overload]


def make_tables(url: str, tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Makes the tables that are not there yet, and returns their names. Raises ConfigError."""
    if not answers(url):
        raise ConfigError(
            f"{url}: DynamoDB Local does not answer there. Start it, or name another place with --dynamodb."
        )
    dynamodb = client(url)
    try:
        there = set(dynamodb.list_tables()["TableNames"])
        missing = [name for name in tables if name not in there]
        for name in missing:
            dynamodb.create_table(TableName=name, **tables[name])
            dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    finally:
        dynamodb.close()
    return missing
