"""One streamed answer to the Runtime API: an HTTP/1.1 POST whose chunks leave as they are written.

The contract is AWS's page "Building a custom runtime for AWS Lambda", section "Streaming responses".
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import traceback

from response_streaming.prelude import CONTENT_TYPE

ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
ERROR_BODY = "Lambda-Runtime-Function-Error-Body"
ACCEPTED = 202

# Trailers are headers: keep them far from the sizes at which HTTP servers give up.
_MESSAGE_LIMIT = 2_000
_FRAMES = 12


class RuntimeApiError(Exception):
    """The Runtime API could not be reached, went away, or refused the answer. Never caused by the application."""


class RuntimeApiConnection:
    """The POST …/response of one invocation, on a connection of its own that is closed afterwards.

    ``address`` is ``host:port`` as in AWS_LAMBDA_RUNTIME_API. Every method raises OSError when the connection is lost.
    """

    def __init__(self, address: str, invoke_id: str, invocation_id: str | None = None) -> None:
        self.address = address
        self.path = f"/2018-06-01/runtime/invocation/{invoke_id}/response"
        self._invocation_id = invocation_id
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, prelude: bytes, first: bytes) -> None:
        """Connects and sends the request's headers, the prelude and the body's first bytes."""
        host, _, port = self.address.rpartition(":")
        self._reader, self._writer = await asyncio.open_connection(host.strip("[]"), int(port))
        # A token is a few bytes: without this the kernel would hold it back for the next one.
        self._writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writer.write(self._request_head() + _chunk(prelude + first))
        await self._writer.drain()

    async def write(self, data: bytes) -> None:
        """Sends one chunk; waits while the Runtime API reads slower than the application writes."""
        assert self._writer is not None
        if data:  # an empty chunk would end the body
            self._writer.write(_chunk(data))
            await self._writer.drain()

    async def end(self) -> None:
        """Ends the body and waits for 202. Raises RuntimeApiError on another answer."""
        await self._finish(b"0\r\n\r\n")

    async def fail(self, error: BaseException) -> None:
        """Ends the body with the two trailers that mark the invocation as failed, and waits for 202."""
        name = type(error).__name__
        stack = traceback.format_tb(error.__traceback__)[-_FRAMES:]
        report = {"errorMessage": str(error)[:_MESSAGE_LIMIT], "errorType": name, "stackTrace": stack}
        body = base64.b64encode(json.dumps(report).encode()).decode()
        trailers = f"{ERROR_TYPE}: Function.{name}\r\n{ERROR_BODY}: {body}\r\n"
        await self._finish(f"0\r\n{trailers}\r\n".encode("ascii", "replace"))

    def close(self) -> None:
        """Closes the connection; may be called at any time."""
        if self._writer is not None:
            self._writer.close()

    async def _finish(self, ending: bytes) -> None:
        assert self._writer is not None
        self._writer.write(ending)
        await self._writer.drain()
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("The Runtime API closed the connection without an answer.") from error
        status = int(head.split(b" ", 2)[1])
        if status != ACCEPTED:
            raise RuntimeApiError(f"The Runtime API answered {status} to {self.path}: {head.splitlines()[0].decode()}")

    def _request_head(self) -> bytes:
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {self.address}",
            f"Content-Type: {CONTENT_TYPE}",
            "Lambda-Runtime-Function-Response-Mode: streaming",
            "Transfer-Encoding: chunked",
            f"Trailer: {ERROR_TYPE}, {ERROR_BODY}",
            "Connection: close",
        ]
        if self._invocation_id:
            lines.append(f"Lambda-Runtime-Invocation-Id: {self._invocation_id}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
