"""awslambdaric with streamed answers: what runs in the process instead of Lambda's own bootstrap.

Everything but the delivery of a streamed answer is awslambdaric's: polling, logging, X-Ray, SnapStart, error reports.
"""

from __future__ import annotations

import gc
import os
import site
import sys
from pathlib import Path
from typing import Any

from awslambdaric import bootstrap
from awslambdaric.lambda_config import LambdaConfigProvider
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller

from response_streaming.asgi import StreamingRuntime
from response_streaming.connection import RuntimeApiConnection
from response_streaming.exchange import Exchange
from response_streaming.loop import process_loop
from response_streaming.prelude import CONTENT_TYPE


class StreamingMarshaller(LambdaMarshaller):  # type: ignore[misc]
    """Passes an Exchange through; everything else becomes JSON as usual."""

    def marshal_response(self, response: object) -> tuple[Any, str]:
        if isinstance(response, Exchange):
            return response, CONTENT_TYPE
        result: tuple[Any, str] = super().marshal_response(response)
        return result


class StreamingRuntimeClient(LambdaRuntimeClient):  # type: ignore[misc]
    """Delivers an Exchange chunk by chunk; everything else in one piece as usual.

    A lost or refusing Runtime API raises RuntimeApiError, which ends the process, as any other failed call does here.
    """

    marshaller = StreamingMarshaller()
    _loaded = False

    def wait_next_invocation(self) -> object:
        if not self._loaded:
            self._loaded = True
            gc.freeze()
            gc.enable()
        return super().wait_next_invocation()

    def post_invocation_result(
        self,
        invoke_id: str,
        result_data: object,
        content_type: str = "application/json",
        invocation_id: str | None = None,
    ) -> None:
        if isinstance(result_data, Exchange):
            connection = RuntimeApiConnection(self.lambda_runtime_address, invoke_id, invocation_id)
            process_loop().run_until_complete(result_data.deliver(connection))
        else:
            super().post_invocation_result(invoke_id, result_data, content_type, invocation_id)


def main(arguments: list[str]) -> None:
    """Serves invocations until Lambda ends the process. ``arguments[1]`` is the handler, ``module.name``."""
    config = LambdaConfigProvider(arguments)
    if config.is_multi_concurrent:
        sys.exit("response_streaming serves one invocation at a time: unset AWS_LAMBDA_MAX_CONCURRENCY.")
    _add_site_packages()
    StreamingRuntime.active = True
    bootstrap.run(config.handler, StreamingRuntimeClient(config.api_address, config.use_thread_polling))


def _add_site_packages() -> None:
    """Layers may also use python/lib/pythonX.Y/site-packages, which AWS's bootstrap adds when it starts Python."""
    layer = os.environ.get("RESPONSE_STREAMING_LAYER", "/opt")
    folder = Path(layer, "python", "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
    if folder.is_dir():
        site.addsitedir(str(folder))
