"""A stream's fast reader, in a process of its own: `python -m benchmarks.reader PORT PATH [BODY]`.

Prints how many events came, and the seconds from the request until the server closed the connection.
"""

from __future__ import annotations

import json
import socket
import sys
import time

DATA = b"\ndata: "


def request(path: str, body: str | None = None) -> bytes:
    """A POST of that JSON, or a GET if there is none."""
    method = "GET" if body is None else "POST"
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nA2A-Version: 1.0\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n"
    return f"{head}\r\n{body or ''}".encode()


def read(port: int, path: str, body: str | None = None) -> tuple[int, float]:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        began = time.perf_counter()
        connection.sendall(request(path, body))
        first = received = connection.recv(1 << 20)
        if b" 200 " not in first.split(b"\r\n", 1)[0]:
            raise RuntimeError(first.decode(errors="replace"))
        events = 0
        kept = b""
        while received:
            text = kept + received
            events += text.count(DATA)
            kept = text[-(len(DATA) - 1) :]
            received = connection.recv(1 << 20)
        return events, time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps(read(int(sys.argv[1]), *sys.argv[2:])))
