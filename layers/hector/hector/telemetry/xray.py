"""A subsegment of this invocation's trace, sent to Lambda's X-Ray daemon when it is over.

Written out, because the X-Ray SDK, which Powertools' Tracer needs, takes a quarter of a second to import and is in
maintenance. The format: https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Mapping

_HEADER = b'{"format": "json", "version": 1}\n'


def send_subsegment(
    name: str, began: float, ended: float, *, failed: bool, annotations: Mapping[str, str | int]
) -> None:
    """Nothing is sent if this invocation is not traced. Times are in seconds since 1970."""
    trace = dict(part.split("=", 1) for part in os.environ.get("_X_AMZN_TRACE_ID", "").split(";") if "=" in part)
    host, _, port = os.environ.get("AWS_XRAY_DAEMON_ADDRESS", "").rpartition(":")
    if not host or trace.get("Sampled") != "1" or not {"Root", "Parent"} <= trace.keys():
        return
    document = {
        "type": "subsegment",
        "id": secrets.token_hex(8),
        "trace_id": trace["Root"],
        "parent_id": trace["Parent"],
        "name": name,
        "start_time": began,
        "end_time": ended,
        "fault": failed,
        "annotations": annotations,
    }
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.setblocking(False)
        try:
            daemon.sendto(_HEADER + json.dumps(document).encode(), (host, int(port)))
        except OSError:
            return  # a trace is not worth a turn
