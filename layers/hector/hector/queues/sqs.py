"""The work queue on Amazon SQS: a standard queue, a message per task. botocore is imported with the first of them."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any
from urllib.parse import urlsplit

from hector.errors import QueueUnavailable
from hector.queues.base import LONGEST_DELAY_SECONDS

CONNECT_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 5
ATTEMPTS = 4


class SQSQueue:
    """`url` is the queue's, such as https://sqs.eu-west-1.amazonaws.com/123456789012/work."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Any = None
        self._opening = threading.Lock()

    async def send(self, task_id: str, *, delay: float = 0.0) -> None:
        seconds = min(math.ceil(delay), LONGEST_DELAY_SECONDS)
        await asyncio.to_thread(self._send, task_id, seconds)

    async def aclose(self) -> None:
        if self._client is not None:
            self._client.close()

    def _send(self, task_id: str, delay: int) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._open().send_message(QueueUrl=self._url, MessageBody=task_id, DelaySeconds=delay)
        except (BotoCoreError, ClientError, ValueError) as error:
            raise QueueUnavailable(
                f"The work queue {self._url!r} cannot be used ({error}): check HECTOR_QUEUE (or work_queue), "
                "and that the credentials' policy allows sqs:SendMessage on it."
            ) from error

    def _open(self) -> Any:
        with self._opening:
            if self._client is None:
                from botocore.config import Config
                from botocore.session import Session

                from hector.aws import ServiceLoader

                session = Session()
                session.register_component(
                    "data_loader", ServiceLoader("sqs", session.get_config_variable("data_path"))
                )
                url = urlsplit(self._url)
                config = Config(
                    retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                    connect_timeout=CONNECT_TIMEOUT_SECONDS,
                    read_timeout=READ_TIMEOUT_SECONDS,
                    tcp_keepalive=True,
                )
                self._client = session.create_client(
                    "sqs", region_name=_region(url.hostname), endpoint_url=f"{url.scheme}://{url.netloc}", config=config
                )
            return self._client


def _region(host: str | None) -> str | None:
    """The region that the queue's host names; else it is looked for where AWS's tools do."""
    parts = (host or "").split(".")
    return parts[1] if len(parts) > 3 and parts[0] == "sqs" else None
