"""The least that a streamed answer can cost in Python: asyncio writes the same chunks to the same socket.

`python bare_chunks.py HOST:PORT COUNT`
"""

from __future__ import annotations

import asyncio
import socket
import sys

CHUNK = b'id: 12345\nevent: message\ndata: {"task_id":"7","message":{"parts":[{"text":" computing"}]}}\n\n'


async def main(address: str, count: int) -> None:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    writer.write(b"POST /response HTTP/1.1\r\nHost: peer\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(count):
        writer.write(b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
