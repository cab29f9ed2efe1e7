"""The connection to DynamoDB: a botocore client, opened late and quickly, and the threads that its calls block.

botocore is imported when the first call is made (or by `open`), not before.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from hector.errors import StoreUnavailable
from hector.stores.dynamodb.failures import Throttled, translated
from hector.stores.dynamodb.patience import Patience

T = TypeVar("T")

THREADS = 32
CONNECT_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 5
ATTEMPTS = 4
_SESSION_KEYS: dict[str, Any] = {}
_LOCAL_KEYS: dict[str, Any] = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Connection:
    """Region and credentials come from where AWS's tools look for them, unless given."""

    def __init__(self, table: str, region: str | None, endpoint_url: str | None) -> None:
        self.table = table
        self._region = region
        self._endpoint_url = endpoint_url
        self._client: Any = None
        self._opening = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dynamodb")

    def open(self) -> Any:
        """The client. An entrance may call this while it starts, so that its first request does not wait for it."""
        with self._opening:
            if self._client is None:
                self._client = self._create()
            return self._client

    async def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation of the client; patient with a busy table for longer than the client is by itself.

        Raises ConditionFailed, StoreUnavailable, InputTooLarge.
        """
        patience = Patience()
        while True:
            try:
                answer: dict[str, Any] = await self.run(lambda client: getattr(client, operation)(**parameters))
                return answer
            except Throttled:
                if not await patience.wait():
                    raise

    async def run(self, function: Callable[[Any], T]) -> T:
        """Call a function with the client, in one of the threads, once. Raises as `call` does."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, function)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def _run(self, function: Callable[[Any], T]) -> T:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return function(self.open())
        except (BotoCoreError, ClientError) as error:
            raise translated(error, self.table, self._endpoint_url) from error

    def _create(self) -> Any:
        from botocore.config import Config
        from botocore.session import Session

        from hector.aws import ServiceLoader

        session = Session()
        session.register_component("data_loader", ServiceLoader("dynamodb", session.get_config_variable("data_path")))
        config = Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            max_pool_connections=THREADS,
            parameter_validation=False,
            tcp_keepalive=True,
        )
        region = self._region or session.get_config_variable("region") or os.environ.get("AWS_REGION")
        keys = _SESSION_KEYS
        if urlsplit(self._endpoint_url or "").hostname in _LOOPBACK:
            # DynamoDB Local takes any region and keys, but botocore insists on having some.
            region = region or "us-east-1"
            if "AWS_ACCESS_KEY_ID" not in os.environ:
                keys = _LOCAL_KEYS
        if not region:
            raise StoreUnavailable("DynamoDB needs a region: set AWS_REGION, or session_store.region.")
        try:
            return session.create_client(
                "dynamodb", region_name=region, endpoint_url=self._endpoint_url, config=config, **keys
            )
        except ValueError as error:
            raise StoreUnavailable(
                f"DynamoDB's endpoint is not a URL ({error}): correct session_store.endpoint_url, "
                "to something like http://127.0.0.1:8000, or AWS_ENDPOINT_URL_DYNAMODB."
            ) from error
