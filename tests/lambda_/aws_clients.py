"""boto3's clients for an emulator, called in threads because they block."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import boto3
from botocore.config import Config


def client(service: str, url: str) -> Any:
    session = boto3.Session("emulator", "emulator", region_name="us-east-1")
    options = Config(retries={"total_max_attempts": 1}, read_timeout=30)
    return session.client(service, endpoint_url=url, config=options)  # type: ignore[call-overload]


async def call(operation: Any, **parameters: Any) -> Any:
    return await asyncio.to_thread(functools.partial(operation, **parameters))
